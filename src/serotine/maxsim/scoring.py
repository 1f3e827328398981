"""MaxSim of one query with several documents, and the k best documents of every query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from serotine.errors import invalid, wrong_type
from serotine.maxsim import contract, native
from serotine.maxsim.contract import Array, Tokens
from serotine.maxsim.dispatch import also_torch

if TYPE_CHECKING:
    from numpy.typing import NDArray


@also_torch
def score(
    query: Array,
    documents: Array | Sequence[Array],
    document_offsets: Array | None = None,
    *,
    query_scales: Array | None = None,
    document_scales: Array | Sequence[Array] | None = None,
    allow_nonfinite: bool = False,
) -> Array:
    """Return MaxSim of one query with any number of documents.

    Args:
        query: shape (query tokens, dim); float32, float16, bfloat16 or int8.
        documents: a list of arrays (tokens, dim), read in place; or one array (tokens, dim), a single document; or,
            with `document_offsets`, all documents end to end. Floating dtypes may differ from the query's; int8
            needs int8.
        document_offsets: integers (documents + 1,): document i owns rows offsets[i]:offsets[i + 1].
        query_scales: float32 (query tokens,), only for int8 (see `quantize`).
        document_scales: float32, one per token, in the same form as `documents`; only for int8.
        allow_nonfinite: accept NaN and infinity; NaN then never wins.

    Returns:
        float32 (documents,); for a single document given as one array, a float. A torch query gives a torch
        result.

    Raises:
        ValueError: wrong rank, dimension, offsets or non-finite values; the message names the argument.
        TypeError: wrong dtype, or int8 against float.

    >>> query = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    >>> documents = [np.array([[0.5, 0.25]], dtype=np.float32), np.array([[1.0, 0.0], [0.0, 0.5]], dtype=np.float32)]
    >>> score(query, documents).tolist()
    [0.75, 1.5]
    >>> score(query, documents[1])
    1.5
    """
    q = contract.one_query(query, query_scales)
    if document_offsets is not None:
        d = _packed(documents, document_offsets, document_scales)
        contract.check_same_kind(q, d, strict=False)
        return native.grid(q, d, allow_nonfinite=allow_nonfinite)[0][0]
    if isinstance(documents, np.ndarray) and documents.ndim == 2:
        scales = None if document_scales is None else [document_scales]
        return float(_score_list(q, [documents], scales, allow_nonfinite)[0])
    if isinstance(documents, np.ndarray) and documents.ndim != 3:
        raise ValueError(f"documents: must be a list of arrays (tokens, dim), got one array of shape {documents.shape}")
    if isinstance(documents, (str, bytes)) or not isinstance(documents, (Sequence, np.ndarray)):
        raise wrong_type("documents", "a list of arrays (tokens, dim)", documents)
    scales = None if document_scales is None else list(document_scales)
    return _score_list(q, list(documents), scales, allow_nonfinite)


def _packed(documents: object, document_offsets: object, document_scales: object) -> Tokens:
    return contract.packed(
        documents, "documents", document_offsets, "document_offsets", document_scales, "(tokens, dim)"
    )


def _score_list(
    query: Tokens, documents: list[object], scales: list[object] | None, allow_nonfinite: bool
) -> NDArray[np.float32]:
    if scales is not None and len(scales) != len(documents):
        raise ValueError(f"document_scales: must be one array per document ({len(documents)}), got {len(scales)}")
    arrays: list[NDArray[np.generic]] = []
    array_scales: list[NDArray[np.float32]] = []
    first_dtype = query.dtype
    for i, document in enumerate(documents):
        name = f"documents[{i}]"
        array = contract.vectors(document, name, "(tokens, dim)", 2)
        rows, dtype, row_scales = contract.matrix(array, name, None if scales is None else scales[i])
        if i == 0:
            first_dtype = dtype
        elif dtype != first_dtype:
            raise TypeError(f"{name}: dtype {array.dtype} differs from documents[0]'s; convert one of them")
        contract.check_match(query, rows.shape[1], dtype, name, strict=False)
        arrays.append(rows)
        if row_scales is not None:
            array_scales.append(row_scales)
    scores: NDArray[np.float32] = native.separate(
        query, arrays, first_dtype, array_scales or None, allow_nonfinite=allow_nonfinite
    )[0]
    return scores


@also_torch
def top_k(
    queries: Array,
    documents: Array,
    document_offsets: Array,
    k: int,
    *,
    keep: Array | None = None,
    query_scales: Array | None = None,
    document_scales: Array | None = None,
    allow_nonfinite: bool = False,
) -> tuple[Array, Array]:
    """Return the k best documents of every query, without holding all the scores.

    Args:
        queries: shape (query tokens, dim) or (queries, query tokens, dim).
        documents: shape (tokens, dim), the documents end to end.
        document_offsets: integers (documents + 1,), never decreasing.
        k: number of documents; fewer are returned when there are fewer (or fewer in `keep`), as the shape shows.
        keep: booleans (documents,), the documents to consider; all by default.
        query_scales: float32, one per query token, only for int8.
        document_scales: float32 (tokens,), only for int8.
        allow_nonfinite: accept NaN and infinity; NaN then never wins.

    Returns:
        Scores float32 and document numbers int64, both (queries, k) or, for one query, (k,); best first, ties to
        the lower number.

    Raises:
        ValueError: wrong rank, shape, offsets, k < 1 or non-finite values.
        TypeError: wrong dtype.

    >>> documents = np.array([[0.5, 0.25], [1.0, 0.0], [0.0, 0.5]], dtype=np.float32)
    >>> scores, numbers = top_k(np.eye(2, dtype=np.float32), documents, [0, 1, 3], k=2)
    >>> scores.tolist(), numbers.tolist()
    ([1.5, 0.75], [1, 0])
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise wrong_type("k", "an int of at least 1", k)
    if k < 1:
        raise invalid("k", "at least 1", k)
    shape = "(queries, query tokens, dim) or (query tokens, dim)"
    array = contract.one_array(queries, "queries", shape)
    single = array.ndim == 2
    array = contract.vectors(array[None] if single else array, "queries", shape, 3)
    scales = None if query_scales is None else np.asarray(query_scales).reshape(array.shape[:-1])
    lengths = np.full(array.shape[0], array.shape[1], dtype=np.int64)
    q = Tokens(
        *contract.matrix(array, "queries", scales),
        *contract.lengths_to_ranges(lengths, array.shape[1]),
        "queries",
    )
    d = _packed(documents, document_offsets, document_scales)
    contract.check_same_kind(q, d, strict=False)
    count = d.begin.size
    mask = None if keep is None else _keep_mask(keep, count)
    available = count if mask is None else int(np.count_nonzero(mask))
    scores, numbers = native.top_k(q, d, mask, min(int(k), available), allow_nonfinite=allow_nonfinite)
    return (scores[0], numbers[0]) if single else (scores, numbers)


def _keep_mask(keep: object, count: int) -> NDArray[np.uint8]:
    mask = np.asarray(keep)
    if mask.dtype != np.bool_:
        raise TypeError(f"keep: must be booleans, got dtype {mask.dtype}")
    if mask.shape != (count,):
        raise ValueError(f"keep: must have shape ({count},), one per document, got {mask.shape}")
    return np.ascontiguousarray(mask).view(np.uint8)
