"""`rank`: every query's candidates, sorted by exact MaxSim score, or by XTR's score of retrieved tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from serotine import maxsim
from serotine.errors import check_count
from serotine.integrations.pylate.embeddings import as_array
from serotine.integrations.pylate.ignored_parameters import IgnoredParameters, warn_ignored

__all__ = ["RerankResult", "rerank", "score_xtr"]

_IGNORED_BY_XTR: IgnoredParameters = {"device": ("cpu", "sums are computed on the CPU")}


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


def score_xtr(
    query_doc_ids: Sequence[Sequence[str | int] | NDArray[Any]],
    query_scores: Sequence[Sequence[float] | NDArray[Any]],
    k: int,
    device: str = "cpu",
) -> list[RerankResult]:
    """Score the documents of one query's retrieved tokens (Lee et al. 2023, arXiv 2304.01982).

    A document's similarity to a query token is that of its best retrieved token. A missing one is imputed: the lowest
    that the query token retrieved, or 0 if it retrieved none.

    Args:
        query_doc_ids: for every query token, the documents of the tokens it retrieved.
        query_scores: the similarities of these tokens.
        k: how many documents to return; fewer where the tokens are of fewer.
        device: without effect.

    Returns:
        The documents, best first, with the sums of their similarities over the query tokens; ties in the order in
        which documents first appear.

    Raises:
        ValueError: `k` is below 1, or ids and scores differ in number.
    """
    warn_ignored("rank.score_xtr", _IGNORED_BY_XTR, {"device": device}, stacklevel=2)
    check_count("k", k)
    # Programs may match PyLate's words.
    if len(query_doc_ids) != len(query_scores):
        raise ValueError(
            f"query_scores: must have the same number of query tokens as query_doc_ids ({len(query_doc_ids)}), "
            f"got {len(query_scores)}"
        )
    numbers: dict[str | int, int] = {}
    tokens = []
    for i, (ids, scores) in enumerate(zip(query_doc_ids, query_scores, strict=True)):
        if len(ids) != len(scores):
            raise ValueError(
                f"query_scores[{i}]: must have matching document IDs and scores lengths, got {len(ids)} IDs and "
                f"{len(scores)} scores"
            )
        rows = np.fromiter((numbers.setdefault(id_, len(numbers)) for id_ in ids), dtype=np.int64, count=len(ids))
        tokens.append((rows, np.asarray(scores, dtype=np.float64)))
    sums = np.zeros(len(numbers))
    for rows, similarities in tokens:
        if rows.size:
            best = np.full(len(numbers), similarities.min())
            np.maximum.at(best, rows, similarities)
            sums += best
    names = list(numbers)
    return [RerankResult(id=names[row], score=float(sums[row])) for row in np.argsort(-sums, kind="stable")[:k]]


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
