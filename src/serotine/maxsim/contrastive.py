"""The contrastive layout: every query against every document of a batch, documents packed end to end."""

from __future__ import annotations

import numpy as np

from serotine.maxsim import contract, native
from serotine.maxsim.contract import Array, Tokens
from serotine.maxsim.dispatch import also_torch


def _prepare(
    queries: Array,
    documents: Array,
    document_offsets: Array,
    query_scales: Array | None,
    document_scales: Array | None,
) -> tuple[Tokens, Tokens, int]:
    q = contract.vectors(queries, "queries", "(Nq, Lq, D)", 3)
    count, query_tokens, _ = q.shape
    lengths = np.full(count, query_tokens, dtype=np.int64)
    q_tokens = Tokens(
        *contract.matrix(q, "queries", query_scales),
        *contract.lengths_to_ranges(lengths, query_tokens),
        "queries",
    )
    d_tokens = contract.packed(documents, "documents", document_offsets, "document_offsets", document_scales, "(T, D)")
    contract.check_same_kind(q_tokens, d_tokens, strict=True)
    return q_tokens, d_tokens, query_tokens


@also_torch
def score_contrastive(
    queries: Array,
    documents: Array,
    document_offsets: Array,
    *,
    query_scales: Array | None = None,
    document_scales: Array | None = None,
    allow_nonfinite: bool = False,
) -> Array:
    """Return MaxSim of every query with every document.

    Args:
        queries: shape (Nq, Lq, D); float32, float16, bfloat16 or int8; NumPy or torch.
        documents: shape (T, D), same dtype, the documents' tokens end to end.
        document_offsets: integers (Nb + 1,), never decreasing: document i owns rows offsets[i]:offsets[i + 1].
        query_scales: float32 (Nq, Lq), only for int8.
        document_scales: float32 (T,), only for int8.
        allow_nonfinite: accept NaN and infinity; NaN then never wins.

    Returns:
        float32 (Nq, Nb).

    Raises:
        ValueError: wrong rank, shape, offsets or non-finite values.
        TypeError: wrong dtype, or queries and documents of different dtypes.

    >>> queries = np.array([[[1.0, 0.0], [0.0, 1.0]]], dtype=np.float32)
    >>> documents = np.array([[0.5, 0.25], [1.0, 0.0], [0.0, 0.5]], dtype=np.float32)
    >>> score_contrastive(queries, documents, [0, 1, 3]).tolist()
    [[0.75, 1.5]]
    """
    q, d, _ = _prepare(queries, documents, document_offsets, query_scales, document_scales)
    return native.grid(q, d, allow_nonfinite=allow_nonfinite)[0]


@also_torch
def score_contrastive_with_argmax(
    queries: Array,
    documents: Array,
    document_offsets: Array,
    *,
    query_scales: Array | None = None,
    document_scales: Array | None = None,
    allow_nonfinite: bool = False,
) -> tuple[Array, Array]:
    """Return the scores of `score_contrastive`, and the winning document token of every query token.

    Returns:
        Scores float32 (Nq, Nb) and winners int32 (Nq, Nb, Lq), counted from the document's first token, -1 for none.

    >>> queries = np.array([[[1.0, 0.0], [0.0, 1.0]]], dtype=np.float32)
    >>> documents = np.array([[0.5, 0.25], [1.0, 0.0], [0.0, 0.5]], dtype=np.float32)
    >>> scores, winners = score_contrastive_with_argmax(queries, documents, [0, 1, 3])
    >>> winners.tolist()
    [[[0, 0], [0, 1]]]
    """
    q, d, width = _prepare(queries, documents, document_offsets, query_scales, document_scales)
    return native.grid(q, d, winner_width=width, allow_nonfinite=allow_nonfinite)
