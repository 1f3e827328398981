"""Immutable files of an index: segments, codebooks, and the durable writes beneath them."""
