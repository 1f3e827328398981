"""How an index grows: codebooks, encoding of segments, merging, maintenance."""
