"""MaxSim on torch tensors: CPU, CUDA and Apple MPS, with gradients.

The same three layouts as `serotine.maxsim`, for tensors in and tensors out. The contract of `serotine.maxsim`
holds on every device. Importing this package imports torch; `serotine.maxsim` alone never does.

Each layout comes as three functions: scores; scores with the winning token of every query token
(``_with_argmax``); scores through which gradients flow (``_train``). `score` and `top_k` are for people.
`colbert_scores`, `colbert_scores_pairwise` and `colbert_kd_scores` put the same kernels behind the scoring
signatures of sentence-transformers and PyLate.
"""

from serotine.maxsim.torch.colbert import colbert_kd_scores, colbert_scores, colbert_scores_pairwise
from serotine.maxsim.torch.contrastive import (
    score_contrastive,
    score_contrastive_train,
    score_contrastive_with_argmax,
)
from serotine.maxsim.torch.numpy_bridge import through_numpy
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
from serotine.maxsim.torch.people import score
from serotine.maxsim.torch.selection import top_k

__all__ = [
    "colbert_kd_scores",
    "colbert_scores",
    "colbert_scores_pairwise",
    "score",
    "score_candidates_padded",
    "score_candidates_padded_train",
    "score_candidates_padded_with_argmax",
    "score_contrastive",
    "score_contrastive_train",
    "score_contrastive_with_argmax",
    "score_pairs_packed",
    "score_pairs_packed_train",
    "score_pairs_packed_with_argmax",
    "through_numpy",
    "top_k",
]
