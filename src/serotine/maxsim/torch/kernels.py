"""The nine scoring functions: three layouts, each as scores, with winners, and with gradients."""

from serotine.maxsim.torch.contrastive import (
    score_contrastive,
    score_contrastive_train,
    score_contrastive_with_argmax,
)
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
