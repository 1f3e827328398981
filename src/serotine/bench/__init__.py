"""Measuring Serotine beside its peers, in one interleaved run, speed always with its error."""
