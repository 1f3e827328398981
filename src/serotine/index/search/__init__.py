"""How a query is answered: options, plan, fusion, explanation."""
