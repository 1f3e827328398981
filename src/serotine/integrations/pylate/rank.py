"""`rank.rerank`: every query's candidates, sorted by exact MaxSim score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import torch

from serotine import maxsim
from serotine.integrations.pylate.embeddings import as_array

__all__ = ["RerankResult", "rerank"]


class RerankResult(TypedDict):
    """One result: a document's id, of the type it was given as, and its score."""

    id: str | int
    score: float


def rerank(
    documents_ids: Sequence[Sequence[str | int]],
    queries_embeddings: Any,
    documents_embeddings: Any,
    device: str | None = None,
) -> list[list[RerankResult]]:
    """Score each query's candidates and sort them.

    Args:
        documents_ids: the ids of every query's documents.
        queries_embeddings: a list of (tokens, dim) arrays or tensors, or one array or tensor (queries, tokens, dim);
            (tokens, dim) for a single query.
        documents_embeddings: for every query its documents, each (tokens, dim).
        device: where tensors are scored, "cuda" for example; the device of the query's vectors unless given. Arrays are
            scored on the CPU.

    Returns:
        For every query its documents, best first; ties keep the order given.

    Raises:
        ValueError: ids, queries and documents differ in number, or have wrong shapes.
    """
    single = getattr(queries_embeddings, "ndim", None) == 2
    queries = [queries_embeddings] if single else list(queries_embeddings)
    documents = list(documents_embeddings)
    # PyLate takes one array of documents, (documents, tokens, dim), or of one document, for a single query.
    if len(queries) == 1 and getattr(documents_embeddings, "ndim", None) in (2, 3):
        documents = [[documents_embeddings] if documents_embeddings.ndim == 2 else documents]
    if not len(documents_ids) == len(queries) == len(documents):
        raise ValueError(
            "documents_ids, queries_embeddings, documents_embeddings: must have one entry per query each, got "
            f"{len(documents_ids)}, {len(queries)} and {len(documents)}"
        )
    results = []
    for i, (ids, query, candidates) in enumerate(zip(documents_ids, queries, documents, strict=True)):
        candidates = list(candidates)
        if len(ids) != len(candidates):
            raise ValueError(f"documents_embeddings[{i}]: must be one per id ({len(ids)}), got {len(candidates)}")
        scores = _scores(query, candidates, device)
        order = sorted(range(len(ids)), key=lambda row, scores=scores: -scores[row])
        results.append([RerankResult(id=ids[row], score=scores[row]) for row in order])
    return results


def _scores(query: Any, documents: list[Any], device: str | None) -> list[float]:
    if not documents:
        return []
    if device is None and not (hasattr(query, "detach") and query.device.type != "cpu"):
        scores = maxsim.score(as_array(query), [as_array(document) for document in documents])
    else:
        device = query.device if device is None else device
        scores = maxsim.score(_tensor_on(device, query), [_tensor_on(device, document) for document in documents])
    return list(map(float, scores))


def _tensor_on(device: Any, vectors: Any) -> torch.Tensor:
    return torch.as_tensor(vectors).to(device).reshape(-1, vectors.shape[-1])
