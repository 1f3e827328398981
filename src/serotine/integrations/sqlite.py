"""MaxSim inside SQLite: SQL functions over blobs, and the k best rows of a SELECT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.coverage import warn_about_texts
from serotine.errors import RefusedVectorsWarning, SerotineError, invalid, shown, wrong_type
from serotine.index import TextEncoder, encode_queries
from serotine.integrations.vector_blobs import (
    NO_ENCODER,
    BlobDtype,
    BlobFormat,
    Floats,
    PackedVectors,
    RowName,
    chosen_format,
    floats_of,
    scored,
    token_floats,
)
from serotine.issued_warnings import issue_warning

if TYPE_CHECKING:
    import sqlite3

_KEPT_TEXTS = 1024
_KEPT_QUERIES = 64
_ROWS_AT_ONCE = 512


def register(
    con: sqlite3.Connection,
    *,
    encoder: TextEncoder | str | Path | None = None,
    dim: int | None = None,
    dtype: BlobDtype = "float16",
) -> None:
    """Add `maxsim` and, with an encoder, `encode_query` to a connection's SQL.

    * ``maxsim(query, document)`` is a REAL. Both are blobs, as `pack_vectors` writes them. NULL gives NULL; a document
      without tokens scores -inf.
    * ``encode_query(text)`` is such a blob.

    SQLite calls a function row by row: for the best of many rows, `maxsim_topk` is faster. It also drops the message of
    an error, which becomes a `RefusedVectorsWarning`. A further call replaces both.

    Args:
        con: an open connection.
        encoder: an encoder, or the name of one for `serotine.Encoder`.
        dim: dimensions of a token; the encoder's by default.
        dtype: what blobs hold: "float16", "int8" or "float32".

    Raises:
        TypeError: `con` is not a connection, or neither `encoder` nor `dim` is given.
        ValueError: `dim` is not the encoder's, or `dtype` is unknown.

    >>> import sqlite3
    >>> import numpy as np
    >>> from serotine.integrations import pack_vectors
    >>> from serotine.integrations.sqlite import register
    >>> con = sqlite3.connect(":memory:")
    >>> register(con, dim=2)
    >>> con.execute("SELECT maxsim(?, ?)", (pack_vectors(np.eye(2)), pack_vectors(np.array([[0.5, 0.25]])))).fetchone()
    (0.75,)
    """
    _check_connection(con)
    loaded, blobs = chosen_format(encoder, dim, dtype)
    if blobs.dim is None:
        raise wrong_type("dim", "an int of at least 1", None, fix="pass dim= or encoder=")
    width = blobs.dim

    @lru_cache(maxsize=_KEPT_QUERIES)
    def read_query(blob: bytes) -> PackedVectors:
        return _for_documents(floats_of(_read([blob], blobs, width, "query", _this_row)), blobs)

    def score(query: object, document: object) -> float | None:
        if query is None or document is None:
            return None
        try:
            checked = _blob(document, "document", "this row")
            return float(_scores(read_query(_blob(query, "query", "this row")), [checked], blobs, width, _this_row)[0])
        except (TypeError, ValueError) as error:
            issue_warning(RefusedVectorsWarning(f"maxsim: {error}"))
            raise

    con.create_function("maxsim", 2, score, deterministic=True)
    encode = _without_encoder if loaded is None else _encode_query(loaded, blobs)
    con.create_function("encode_query", 1, encode, deterministic=True)


def maxsim_topk(
    con: sqlite3.Connection,
    select: str,
    query: Floats,
    k: int,
    *,
    parameters: Sequence[Any] | Mapping[str, Any] = (),
    dtype: BlobDtype = "float16",
) -> list[tuple[Any, ...]]:
    """Return the k best rows of a SELECT by MaxSim, best first, ties in the order of the SELECT.

    Rows are read in batches and each batch is scored in one call.

    Args:
        con: an open connection; `register` is not needed.
        select: a SELECT whose last column is the blob of vectors. Rows where it is NULL are left out.
        query: floats (tokens, dim).
        k: number of rows.
        parameters: of the SELECT.
        dtype: what blobs hold, as `pack_vectors` writes them: "float16", "int8" or "float32".

    Returns:
        The other columns of each row, and its score.

    Raises:
        TypeError: `con` is not a connection, `query` is not real numbers, or a value of the last column is not a blob.
        ValueError: a blob is no whole number of tokens or is not finite; a wrong query or k.
        SerotineError: the SELECT has no columns.

    >>> import sqlite3
    >>> import numpy as np
    >>> from serotine.integrations import pack_vectors
    >>> from serotine.integrations.sqlite import maxsim_topk
    >>> con = sqlite3.connect(":memory:")
    >>> _ = con.execute("CREATE TABLE documents (id TEXT, vectors BLOB)")
    >>> _ = con.execute("INSERT INTO documents VALUES ('a', ?)", (pack_vectors(np.array([[0.5, 0.25]])),))
    >>> maxsim_topk(con, "SELECT id, vectors FROM documents", np.eye(2), k=1)
    [('a', 0.75)]
    """
    _check_connection(con)
    if isinstance(k, bool) or not isinstance(k, int):
        raise wrong_type("k", "an int of at least 1", k)
    if k < 1:
        raise invalid("k", "at least 1", k)
    floats = np.asarray(token_floats(query, "query"), dtype=np.float32)
    blobs = BlobFormat(dtype, floats.shape[1])
    prepared = _for_documents(floats, blobs)
    cursor = con.execute(select, parameters)
    if cursor.description is None:
        raise SerotineError(f"select: must be a SELECT, got {shown(select)}")
    name = str(cursor.description[-1][0])
    cursor.row_factory = None
    best: list[tuple[float, int, tuple[Any, ...]]] = []
    read = 0
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        numbers = count(read)
        read += len(rows)
        numbered = [(number, row) for number, row in zip(numbers, rows, strict=False) if row[-1] is not None]
        if not numbered:
            continue

        def row_name(position: int, numbered: list[tuple[int, tuple[Any, ...]]] = numbered) -> str:
            number, row = numbered[position]
            return f"row {number:,}" + (f" ({shown(row[0])})" if len(row) > 1 else "")

        column = [row[-1] for _, row in numbered]
        if set(map(type, column)) != {bytes}:
            for position, value in enumerate(column):
                _blob(value, name, row_name(position))
        scores = _scores(prepared, column, blobs, floats.shape[1], row_name, name)
        for position in np.argsort(-scores, kind="stable")[:k]:
            number, row = numbered[position]
            best.append((float(scores[position]), number, row[:-1]))
        best.sort(key=lambda hit: (-hit[0], hit[1]))
        del best[k:]
    return [(*row, score) for score, _, row in best]


def _check_connection(con: object) -> None:
    # Not by its class: builds of SQLite under other names have one of their own.
    if not hasattr(con, "create_collation"):
        raise wrong_type("con", "a connection of sqlite3", con)


def _this_row(_position: int) -> str:
    return "this row"


def _blob(value: object, name: str, row: str) -> bytes:
    if not isinstance(value, bytes):
        raise wrong_type(name, f"a BLOB in {row}", value, fix="pack_vectors writes one")
    return value


def _read(column: Sequence[bytes], blobs: BlobFormat, dim: int, name: str, row_name: RowName) -> PackedVectors:
    ends = np.zeros(len(column) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, column), np.int64, len(column)), out=ends[1:])
    data = np.frombuffer(column[0] if len(column) == 1 else b"".join(column), np.uint8)
    return blobs.read(data, ends, dim, name, row_name)


def _for_documents(query: NDArray[np.float32], blobs: BlobFormat) -> PackedVectors:
    """Return the query as documents of this format are scored: int8 with int8."""
    offsets = np.array([0, len(query)])
    if not np.isfinite(query).all():
        raise ValueError("query: must be finite, got NaN or infinity; clean it")
    if blobs.dtype != "int8":
        return PackedVectors(query, None, offsets)
    return PackedVectors(*maxsim.quantize(query), offsets)


def _scores(
    query: PackedVectors,
    column: Sequence[bytes],
    blobs: BlobFormat,
    dim: int,
    row_name: RowName,
    name: str = "document",
) -> NDArray[np.float32]:
    def score(documents: PackedVectors, _rows: slice) -> NDArray[np.float32]:
        scores = maxsim.score(
            query.rows,
            documents.rows,
            documents.offsets,
            query_scales=query.scales,
            document_scales=documents.scales,
        )
        return np.asarray(scores, dtype=np.float32)

    return scored(_read(column, blobs, dim, name, row_name), score, name, row_name)


def _without_encoder(_text: object) -> None:
    message = f"encode_query: {NO_ENCODER}"
    issue_warning(RefusedVectorsWarning(message))
    raise TypeError(message)


def _encode_query(encoder: TextEncoder, blobs: BlobFormat) -> Any:
    @lru_cache(maxsize=_KEPT_TEXTS)
    def encode(text: str) -> bytes:
        warn_about_texts(encoder, [text], query=True)
        return blobs.write(encode_queries(encoder, [text], encoder.dim)[0])

    def encode_query(text: object) -> bytes | None:
        if text is None:
            return None
        if not isinstance(text, str):
            error = wrong_type("text", "TEXT", text)
            issue_warning(RefusedVectorsWarning(f"encode_query: {error}"))
            raise error
        return encode(text)

    return encode_query
