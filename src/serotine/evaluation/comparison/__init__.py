"""Comparison of systems: differences by query, their significance, and the passages behind them."""
