"""The packed layout: queries and documents end to end, and a list of pairs to score."""

from __future__ import annotations

from serotine.errors import invalid
from serotine.maxsim import contract, native
from serotine.maxsim.contract import Array, Ints, Tokens
from serotine.maxsim.dispatch import also_torch


def _prepare(
    queries: Array,
    query_offsets: Array,
    documents: Array,
    document_offsets: Array,
    pair_query_ids: Array,
    pair_document_ids: Array,
    max_q_len: int | None,
    query_scales: Array | None,
    document_scales: Array | None,
) -> tuple[Tokens, Tokens, Ints, Ints, int]:
    q = contract.packed(queries, "queries", query_offsets, "query_offsets", query_scales, "(Tq, D)")
    d = contract.packed(documents, "documents", document_offsets, "document_offsets", document_scales, "(Td, D)")
    pair_q = contract.integers(pair_query_ids, "pair_query_ids", ("P",))
    pair_d = contract.integers(pair_document_ids, "pair_document_ids", (pair_q.size,))
    contract.bounded(pair_q, "pair_query_ids", 0, q.begin.size - 1, "query numbers")
    contract.bounded(pair_d, "pair_document_ids", 0, d.begin.size - 1, "document numbers")
    max_query_tokens = int((q.end - q.begin).max(initial=0))
    if max_q_len is not None and max_q_len < max_query_tokens:
        raise invalid("max_q_len", f"at least {max_query_tokens}, the tokens of the longest query", max_q_len)
    contract.check_same_kind(q, d, strict=True)
    return q, d, pair_q, pair_d, max_query_tokens if max_q_len is None else max_q_len


@also_torch
def score_pairs_packed(
    queries: Array,
    query_offsets: Array,
    documents: Array,
    document_offsets: Array,
    pair_query_ids: Array,
    pair_document_ids: Array,
    *,
    max_q_len: int | None = None,
    query_scales: Array | None = None,
    document_scales: Array | None = None,
    allow_nonfinite: bool = False,
) -> Array:
    """Return MaxSim of chosen (query, document) pairs.

    Args:
        queries: shape (Tq, D); float32, float16, bfloat16 or int8; NumPy or torch.
        query_offsets: integers (Nq + 1,), never decreasing.
        documents: shape (Td, D), same dtype.
        document_offsets: integers (Nd + 1,), never decreasing.
        pair_query_ids: integers (P,), the query of every pair.
        pair_document_ids: integers (P,), the document of every pair.
        max_q_len: at least the longest query; the width of the winners in the ``_with_argmax`` variant.
        query_scales: float32 (Tq,), only for int8.
        document_scales: float32 (Td,), only for int8.
        allow_nonfinite: accept NaN and infinity; NaN then never wins.

    Returns:
        float32 (P,).

    Raises:
        ValueError: wrong rank, shape, offsets, ids or non-finite values.
        TypeError: wrong dtype, or queries and documents of different dtypes.

    >>> import numpy as np
    >>> queries = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    >>> documents = np.array([[0.5, 0.25], [1.0, 0.0], [0.0, 0.5]], dtype=np.float32)
    >>> score_pairs_packed(queries, [0, 2], documents, [0, 1, 3], [0, 0], [1, 0]).tolist()
    [1.5, 0.75]
    """
    q, d, pair_q, pair_d, _ = _prepare(
        queries, query_offsets, documents, document_offsets, pair_query_ids, pair_document_ids, max_q_len,
        query_scales, document_scales,
    )  # fmt: skip
    return native.pairs(q, d, pair_q, pair_d, allow_nonfinite=allow_nonfinite)[0]


@also_torch
def score_pairs_packed_with_argmax(
    queries: Array,
    query_offsets: Array,
    documents: Array,
    document_offsets: Array,
    pair_query_ids: Array,
    pair_document_ids: Array,
    *,
    max_q_len: int | None = None,
    query_scales: Array | None = None,
    document_scales: Array | None = None,
    allow_nonfinite: bool = False,
) -> tuple[Array, Array]:
    """Return the scores of `score_pairs_packed`, and the winning document token of every query token.

    Returns:
        Scores float32 (P,) and winners int32 (P, max_q_len), counted from the document's first token, -1 for none.

    >>> import numpy as np
    >>> queries = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    >>> documents = np.array([[0.5, 0.25], [1.0, 0.0], [0.0, 0.5]], dtype=np.float32)
    >>> scores, winners = score_pairs_packed_with_argmax(queries, [0, 2], documents, [0, 1, 3], [0], [1])
    >>> winners.tolist()
    [[0, 1]]
    """
    q, d, pair_q, pair_d, width = _prepare(
        queries, query_offsets, documents, document_offsets, pair_query_ids, pair_document_ids, max_q_len,
        query_scales, document_scales,
    )  # fmt: skip
    return native.pairs(q, d, pair_q, pair_d, winner_width=width, allow_nonfinite=allow_nonfinite)
