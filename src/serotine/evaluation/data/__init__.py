"""Collections: BEIR, MIRACL, the hub and ir_datasets, and the rules that their benchmarks fix."""
