"""`scores`: PyLate's scoring functions on the MaxSim kernels, with gradients.

Two rules differ from PyLate's on purpose. Masked tokens never win; PyLate multiplies their similarities by 0, so that
padding raises the score of a document whose real tokens all score below 0. A document with every token masked scores
-inf.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from serotine import maxsim
from serotine.errors import check_count
from serotine.integrations.pylate.ignored_parameters import warn_ignored

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ColBERTScores",
    "SimilarityFunction",
    "XTRKDScores",
    "XTRScores",
    "colbert_kd_scores",
    "colbert_scores",
    "colbert_scores_pairwise",
    "xtr_kd_scores",
    "xtr_scores",
]

_IGNORED = {"backend": (None, "call serotine.maxsim.use to choose a CPU kernel; CUDA tensors use Triton")}
_IGNORED_BY_XTR = {"document_chunk_size": (None, "the loss's score_mini_batch_size bounds what is scored at once")}


def colbert_scores(
    queries_embeddings: Any,
    documents_embeddings: Any,
    queries_mask: Tensor | None = None,
    documents_mask: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Score every query with every document.

    Args:
        queries_embeddings: tensor or array (queries, query tokens, dim), or a list of (tokens, dim).
        documents_embeddings: likewise.
        queries_mask: (queries, query tokens), 0 for padding.
        documents_mask: (documents, tokens), likewise.
        backend: without effect.

    Returns:
        (queries, documents) float32.
    """
    _warn_about(backend)
    return maxsim.colbert_scores(queries_embeddings, documents_embeddings, queries_mask, documents_mask)


def colbert_scores_pairwise(queries_embeddings: Any, documents_embeddings: Any, backend: str | None = None) -> Tensor:
    """Score query i with document i; lists may hold texts of different lengths. Returns (pairs,) float32."""
    _warn_about(backend)
    return maxsim.colbert_scores_pairwise(queries_embeddings, documents_embeddings)


def colbert_kd_scores(
    queries_embeddings: Any,
    documents_embeddings: Any,
    queries_mask: Tensor | None = None,
    documents_mask: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Score every query with its own documents.

    Args:
        queries_embeddings: (queries, query tokens, dim).
        documents_embeddings: (queries, documents per query, tokens, dim).
        queries_mask: (queries, query tokens), 0 for padding.
        documents_mask: (queries, documents per query, tokens), likewise.
        backend: without effect.

    Returns:
        (queries, documents per query) float32.
    """
    _warn_about(backend)
    return maxsim.colbert_kd_scores(queries_embeddings, documents_embeddings, queries_mask, documents_mask)


class ColBERTScores:
    """Scores of every query with every group of N documents, for the contrastive losses.

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
        """Return the scores; masks as in `colbert_scores`."""
        return maxsim.colbert_scores(queries_embeddings, documents_embeddings, queries_mask, documents_mask)


class XTRScores:
    """XTR's training objective (Lee et al. 2023, arXiv 2304.01982) in the place of `ColBERTScores`.

    Every query token retrieves `k` tokens among the documents of all groups; a document scores the mean over the query
    tokens that retrieved one of its tokens, and 0 where none did. PyLate divides by those with a positive similarity.

    Args:
        k: tokens that every query token retrieves; all where the documents have fewer.
        document_chunk_size: without effect.

    Raises:
        ValueError: `k` is below 1.
    """

    def __init__(self, k: int = 256, document_chunk_size: int | None = None) -> None:
        ignored = {"document_chunk_size": document_chunk_size}
        warn_ignored("scores.XTRScores", _IGNORED_BY_XTR, ignored, stacklevel=2)
        check_count("k", k)
        self.k = k

    def __call__(
        self,
        queries_embeddings: Any,
        documents_embeddings: Any,
        queries_mask: Tensor | None = None,
        documents_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the scores, in the shape of `ColBERTScores`; masks as in `colbert_scores`."""
        return maxsim.xtr_scores(queries_embeddings, documents_embeddings, queries_mask, documents_mask, k_token=self.k)


class XTRKDScores(XTRScores):
    """`XTRScores` of each query's own documents, (queries, documents per query), for `losses.Distillation`."""

    def __call__(
        self,
        queries_embeddings: Any,
        documents_embeddings: Any,
        queries_mask: Tensor | None = None,
        documents_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the scores; arguments as in `colbert_kd_scores`.

        Raises:
            ValueError: what `XTRScores` raises, or the queries and the lists of documents differ in number.
        """
        scores = super().__call__(queries_embeddings, documents_embeddings, queries_mask, documents_mask)
        queries, documents = len(scores), len(documents_embeddings)
        if queries != documents:
            raise ValueError(f"documents_embeddings: must be one list per query ({queries}), got {documents}")
        own = scores.unflatten(1, (documents, -1)).diagonal()
        return own.T


xtr_scores = XTRScores()
xtr_kd_scores = XTRKDScores()


class SimilarityFunction(Enum):
    """The supported similarity functions."""

    MAXSIM = "MaxSim"

    @staticmethod
    def to_similarity_fn(similarity_function: str | SimilarityFunction) -> Callable[..., Tensor]:
        """Return `colbert_scores`.

        Raises:
            ValueError: an unknown similarity.
        """
        SimilarityFunction(similarity_function)
        return colbert_scores

    @staticmethod
    def to_similarity_pairwise_fn(similarity_function: str | SimilarityFunction) -> Callable[..., Tensor]:
        """Return `colbert_scores_pairwise`; raises as `to_similarity_fn`."""
        SimilarityFunction(similarity_function)
        return colbert_scores_pairwise

    @staticmethod
    def possible_values() -> list[str]:
        """Return the names of the supported similarity functions."""
        return [function.value for function in SimilarityFunction]


def _warn_about(backend: str | None) -> None:
    warn_ignored("scores", _IGNORED, {"backend": backend}, stacklevel=3)
