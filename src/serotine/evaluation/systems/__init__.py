"""Systems to evaluate: late interaction, a pooled dense model, an index, BM25."""
