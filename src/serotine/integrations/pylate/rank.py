"""`rank.rerank`: candidates of every query in the order of their exact MaxSim scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from serotine import maxsim
from serotine.integrations.pylate.arrays import as_array

__all__ = ["RerankResult", "rerank"]


class RerankResult(TypedDict):
    """One document found: its id as it was given, and its score."""

    id: str | int
    score: float


def rerank(
    documents_ids: Sequence[Sequence[str | int]],
    queries_embeddings: Any,
    documents_embeddings: Any,
    device: str | None = None,
) -> list[list[RerankResult]]:
    """Scores each query's own documents and sorts them.

    Args:
        documents_ids: the ids of every query's documents.
        queries_embeddings: a list of (tokens, dim) arrays or tensors, or one array or tensor (queries, tokens, dim);
            (tokens, dim) for a single query.
        documents_embeddings: for every query its documents, each (tokens, dim).
        device: where tensors are scored, "cuda" for example: with the kernels for that device. Unless given, where the
            query's vectors are; arrays are scored on the CPU.

    Returns:
        For every query its documents, best first; ties in the order given.

    Raises:
        ValueError: ids, queries and documents that are not as many as each other; wrong shapes.
    """
    single = getattr(queries_embeddings, "ndim", None) == 2
    queries = [queries_embeddings] if single else list(queries_embeddings)
    documents = list(documents_embeddings)
    # PyLate takes one array of documents, (documents, tokens, dim), or of one document, for a single query.
    if len(queries) == 1 and getattr(documents_embeddings, "ndim", None) in (2, 3):
        documents = [[documents_embeddings] if documents_embeddings.ndim == 2 else documents]
    if not len(documents_ids) == len(queries) == len(documents):
        raise ValueError(
            f"documents_ids, queries_embeddings, documents_embeddings: are of {len(documents_ids)}, {len(queries)} and "
            f"{len(documents)} queries; want one entry a query in each"
        )
    results = []
    for place, (ids, query, candidates) in enumerate(zip(documents_ids, queries, documents, strict=True)):
        candidates = list(candidates)
        if len(ids) != len(candidates):
            raise ValueError(
                f"documents_embeddings[{place}]: holds {len(candidates)} documents, documents_ids {len(ids)}"
            )
        scores = _scores(query, candidates, device)
        order = sorted(range(len(ids)), key=lambda i, scores=scores: -scores[i])
        results.append([RerankResult(id=ids[i], score=scores[i]) for i in order])
    return results


def _scores(query: Any, documents: list[Any], device: str | None) -> list[float]:
    if not documents:
        return []
    if device is None and not (hasattr(query, "detach") and query.device.type != "cpu"):
        found: list[float] = maxsim.score(as_array(query), [as_array(document) for document in documents]).tolist()
        return found
    import torch

    where = query.device if device is None else device

    def moved(vectors: Any) -> torch.Tensor:
        return torch.as_tensor(vectors).to(where).reshape(-1, vectors.shape[-1])

    scores: list[float] = maxsim.score(moved(query), [moved(document) for document in documents]).tolist()
    return scores
