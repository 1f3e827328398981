"""MaxSim kernels for late-interaction retrieval: CPU through Serotine's compiled core, CUDA through Triton.

score(q, d) = sum over query tokens of the best dot product with a document token. Names, shapes and order of
arguments are those of erikkaum/maxsim; the contract of `serotine.maxsim` holds: fp32 accumulation, padding never
wins, an empty document scores -inf, ties go to the lowest token.

The compiled core of the installed ``serotine`` package scores CPU tensors. Without it, plain torch does, slower and
under the same contract, with one RuntimeWarning; `cpu_backend` returns which of the two it is.
"""

from serotine.maxsim.torch.contrastive import (
    score_contrastive,
    score_contrastive_train,
    score_contrastive_with_argmax,
)
from serotine.maxsim.torch.hf_kernel.cpu import cpu_backend
from serotine.maxsim.torch.packed import (
    score_pairs_packed,
    score_pairs_packed_train,
    score_pairs_packed_with_argmax,
)
from serotine.maxsim.torch.padded import (
    score_candidates_padded,
    score_candidates_padded_train,
    score_candidates_padded_with_argmax,
)

__all__ = [
    "cpu_backend",
    "score_candidates_padded",
    "score_candidates_padded_train",
    "score_candidates_padded_with_argmax",
    "score_contrastive",
    "score_contrastive_train",
    "score_contrastive_with_argmax",
    "score_pairs_packed",
    "score_pairs_packed_train",
    "score_pairs_packed_with_argmax",
]
