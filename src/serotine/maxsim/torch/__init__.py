"""MaxSim on torch tensors: CPU, CUDA and Apple MPS, with gradients.

The same three layouts as `serotine.maxsim`, from tensors to tensors, under the same contract on every device.
Importing this package imports torch; `serotine.maxsim` alone does not.

Each layout comes as three functions: scores; scores with the winning token of every query token
(``_with_argmax``); scores through which gradients flow (``_train``). `score` and `top_k` are for everyday use.
`colbert_scores`, `colbert_scores_pairwise` and `colbert_kd_scores` give the same kernels the scoring
signatures of sentence-transformers and PyLate. `score_xtr` and `xtr_scores` count retrieved tokens only.
"""

from serotine.maxsim.torch import kernels
from serotine.maxsim.torch.colbert import colbert_kd_scores, colbert_scores, colbert_scores_pairwise
from serotine.maxsim.torch.kernels import *  # noqa: F403
from serotine.maxsim.torch.numpy_bridge import through_numpy
from serotine.maxsim.torch.scoring import score
from serotine.maxsim.torch.selection import top_k
from serotine.maxsim.torch.xtr import score_xtr, xtr_scores

__all__ = [
    "colbert_kd_scores",
    "colbert_scores",
    "colbert_scores_pairwise",
    "score",
    "score_xtr",
    "through_numpy",
    "top_k",
    "xtr_scores",
]
__all__ += kernels.__all__
