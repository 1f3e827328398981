"""The padded layout: a batch of queries, each with its own candidates, as in reranking."""

from __future__ import annotations

import numpy as np

from serotine.maxsim import contract, native
from serotine.maxsim.contract import Array, Ints, Tokens
from serotine.maxsim.dispatch import also_torch


def _prepare(
    queries: Array,
    documents: Array,
    query_lengths: Array,
    doc_lengths: Array,
    query_scales: Array | None,
    document_scales: Array | None,
) -> tuple[Tokens, Tokens, Ints, Ints, tuple[int, int, int]]:
    q = contract.vectors(queries, "queries", "(B, Lq, D)", 3)
    d = contract.vectors(documents, "documents", "(B, C, Ld, D)", 4)
    batch, query_tokens, _ = q.shape
    if d.shape[0] != batch:
        raise ValueError(f"documents: must have shape ({batch}, C, Ld, {q.shape[2]}) to match queries, got {d.shape}")
    candidates, document_tokens = d.shape[1:3]
    q_lengths = contract.integers(query_lengths, "query_lengths", (batch,))
    d_lengths = contract.integers(doc_lengths, "doc_lengths", (batch, candidates))
    contract.bounded(q_lengths, "query_lengths", 0, query_tokens, "lengths")
    contract.bounded(d_lengths, "doc_lengths", 0, document_tokens, "lengths")
    query_matrix = contract.matrix(q, "queries", query_scales)
    document_matrix = contract.matrix(d, "documents", document_scales)
    q_tokens = Tokens(*query_matrix, *contract.lengths_to_ranges(q_lengths, query_tokens), "queries")
    d_tokens = Tokens(*document_matrix, *contract.lengths_to_ranges(d_lengths, document_tokens), "documents")
    contract.check_same_kind(q_tokens, d_tokens, strict=True)
    pair_queries = np.repeat(np.arange(batch, dtype=np.int64), candidates)
    pair_documents = np.arange(batch * candidates, dtype=np.int64)
    return q_tokens, d_tokens, pair_queries, pair_documents, (batch, candidates, query_tokens)


@also_torch
def score_candidates_padded(
    queries: Array,
    documents: Array,
    query_lengths: Array,
    doc_lengths: Array,
    *,
    query_scales: Array | None = None,
    document_scales: Array | None = None,
    allow_nonfinite: bool = False,
) -> Array:
    """Return MaxSim of every query with its own candidates.

    Args:
        queries: shape (B, Lq, D); float32, float16, bfloat16 or int8; NumPy or torch.
        documents: shape (B, C, Ld, D), same dtype.
        query_lengths: integers (B,), the number of real tokens of each query; padding is never read.
        doc_lengths: integers (B, C), the number of real tokens of each candidate.
        query_scales: float32 (B, Lq), only for int8.
        document_scales: float32 (B, C, Ld), only for int8.
        allow_nonfinite: accept NaN and infinity; NaN then never wins.

    Returns:
        float32 (B, C).

    Raises:
        ValueError: wrong rank, shape, length or non-finite values.
        TypeError: wrong dtype, or queries and documents of different dtypes.

    >>> queries = np.array([[[1.0, 0.0], [0.0, 1.0]]], dtype=np.float32)
    >>> documents = np.array([[[[0.5, 0.25], [9.0, 9.0]], [[1.0, 0.0], [0.0, 0.5]]]], dtype=np.float32)
    >>> score_candidates_padded(queries, documents, query_lengths=[2], doc_lengths=[[1, 2]]).tolist()
    [[0.75, 1.5]]
    """
    q, d, pair_q, pair_d, (batch, candidates, _) = _prepare(
        queries, documents, query_lengths, doc_lengths, query_scales, document_scales
    )
    scores, _ = native.pairs(q, d, pair_q, pair_d, allow_nonfinite=allow_nonfinite)
    return scores.reshape(batch, candidates)


@also_torch
def score_candidates_padded_with_argmax(
    queries: Array,
    documents: Array,
    query_lengths: Array,
    doc_lengths: Array,
    *,
    query_scales: Array | None = None,
    document_scales: Array | None = None,
    allow_nonfinite: bool = False,
) -> tuple[Array, Array]:
    """Return the scores of `score_candidates_padded`, and the winning document token of every query token.

    Returns:
        Scores float32 (B, C) and winners int32 (B, C, Lq): lowest token on a tie, -1 beyond the query's length
        and where the candidate has no tokens.

    >>> queries = np.array([[[1.0, 0.0], [0.0, 1.0]]], dtype=np.float32)
    >>> documents = np.array([[[[0.5, 0.25], [9.0, 9.0]], [[1.0, 0.0], [0.0, 0.5]]]], dtype=np.float32)
    >>> scores, winners = score_candidates_padded_with_argmax(queries, documents, [2], [[1, 2]])
    >>> winners.tolist()
    [[[0, 0], [0, 1]]]
    """
    q, d, pair_q, pair_d, (batch, candidates, width) = _prepare(
        queries, documents, query_lengths, doc_lengths, query_scales, document_scales
    )
    scores, winners = native.pairs(q, d, pair_q, pair_d, winner_width=width, allow_nonfinite=allow_nonfinite)
    return scores.reshape(batch, candidates), winners.reshape(batch, candidates, width)
