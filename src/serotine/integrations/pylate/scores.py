"""`scores`: PyLate's scoring functions on the MaxSim kernels, with gradients.

Two rules differ from PyLate's, both on purpose. Masked tokens never win: PyLate multiplies them by 0, so that a
document whose real tokens all score below 0 gains by being padded. A document with every token masked scores -inf.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from serotine import maxsim
from serotine.integrations.pylate.ignored import explain_ignored

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ColBERTScores", "SimilarityFunction", "colbert_kd_scores", "colbert_scores", "colbert_scores_pairwise"]

_WITHOUT_EFFECT = {"backend": (None, "call serotine.maxsim.use for a path on the CPU; CUDA tensors go to Triton")}


def colbert_scores(
    queries_embeddings: Any,
    documents_embeddings: Any,
    queries_mask: Tensor | None = None,
    documents_mask: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Every query with every document: (queries, query tokens, dim) and (documents, tokens, dim).

    Args:
        queries_embeddings: tensor, array, or list of (tokens, dim).
        documents_embeddings: likewise.
        queries_mask: (queries, query tokens), 0 for padding.
        documents_mask: (documents, tokens), likewise.
        backend: without effect.

    Returns:
        (queries, documents) float32.
    """
    _explain(backend)
    return maxsim.colbert_scores(queries_embeddings, documents_embeddings, queries_mask, documents_mask)


def colbert_scores_pairwise(queries_embeddings: Any, documents_embeddings: Any, backend: str | None = None) -> Tensor:
    """Query i with document i; lists may be of texts of different lengths. Returns (pairs,) float32."""
    _explain(backend)
    return maxsim.colbert_scores_pairwise(queries_embeddings, documents_embeddings)


def colbert_kd_scores(
    queries_embeddings: Any,
    documents_embeddings: Any,
    queries_mask: Tensor | None = None,
    documents_mask: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Every query with its own documents, (queries, documents each, tokens, dim).

    Args:
        queries_embeddings: (queries, query tokens, dim).
        documents_embeddings: (queries, documents each, tokens, dim).
        queries_mask: (queries, query tokens), 0 for padding.
        documents_mask: (queries, documents each, tokens), likewise.
        backend: without effect.

    Returns:
        (queries, documents each) float32.
    """
    _explain(backend)
    return maxsim.colbert_kd_scores(queries_embeddings, documents_embeddings, queries_mask, documents_mask)


class ColBERTScores:
    """What the contrastive losses score with: every query with every group of N documents.

    Documents are (groups, N, tokens, dim); column ``j * N + n`` of the result, (queries, groups * N), is document n of
    group j.
    """

    def __call__(
        self,
        queries_embeddings: Any,
        documents_embeddings: Any,
        queries_mask: Tensor | None = None,
        documents_mask: Tensor | None = None,
    ) -> Tensor:
        """Masks as in `colbert_scores`."""
        return maxsim.colbert_scores(queries_embeddings, documents_embeddings, queries_mask, documents_mask)


class SimilarityFunction(Enum):
    """The similarities there are: one."""

    MAXSIM = "MaxSim"

    @staticmethod
    def to_similarity_fn(similarity_function: str | SimilarityFunction) -> Callable[..., Tensor]:
        """`colbert_scores`, by its name.

        Raises:
            ValueError: another name.
        """
        SimilarityFunction(similarity_function)
        return colbert_scores

    @staticmethod
    def to_similarity_pairwise_fn(similarity_function: str | SimilarityFunction) -> Callable[..., Tensor]:
        """`colbert_scores_pairwise`, likewise."""
        SimilarityFunction(similarity_function)
        return colbert_scores_pairwise

    @staticmethod
    def possible_values() -> list[str]:
        """Their names."""
        return [one.value for one in SimilarityFunction]


def _explain(backend: str | None) -> None:
    explain_ignored("scores", _WITHOUT_EFFECT, {"backend": backend}, stacklevel=3)
