"""Triton kernels of MaxSim: one tile kernel for every layout, one gather kernel for every gradient.

Import this package only where torch and triton are installed; `serotine.maxsim` does not import it. Call
`serotine.maxsim.torch`, which checks shapes and picks the device; the functions here take validated tensors on one
device and return raw results and flags.
"""

from serotine.maxsim.triton.gather import gather_sum
from serotine.maxsim.triton.score import score_candidates_padded, score_contrastive, score_pairs_packed

__all__ = ["gather_sum", "score_candidates_padded", "score_contrastive", "score_pairs_packed"]
