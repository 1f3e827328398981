"""MaxSim inside DuckDB: SQL functions over columns of token vectors."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.coverage import warn_about_texts
from serotine.errors import check_flags, missing_extra, wrong_type
from serotine.index import TextEncoder, encode_queries
from serotine.integrations import duckdb_extension
from serotine.integrations.arrow_vectors import is_blob, packed_column, sql_type, with_offsets
from serotine.integrations.vector_blobs import (
    NO_ENCODER,
    BlobDtype,
    BlobFormat,
    PackedVectors,
    RowName,
    Score,
    chosen_format,
    floats_of,
    nonfinite_row,
    scored,
)

try:
    import duckdb
    import pyarrow
    import pyarrow.compute
    from duckdb.func import FunctionNullHandling, PythonUDFType
except ImportError as error:
    raise ImportError(missing_extra("serotine.integrations.duckdb", "duckdb")) from error

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KEPT_QUERIES = 1024
_KEPT_TEXTS = 1024
_DIGEST_BYTES = 16
_MAX_COUNT = 2**63 - 1
_INTEGERS = ["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"]
# Conditions of the rows, because DuckDB sorts them all where LIMIT has a query.
_IS_COUNT = (
    f"CASE WHEN typeof(k) NOT IN ({', '.join(map(repr, _INTEGERS))}) OR k IS NULL "
    "THEN error('k: must be an integer, got ' || ifnull(typeof(k) || ' ' || k::VARCHAR, 'NULL') || '; cast it') "
    "WHEN TRY_CAST(k AS HUGEINT) < 1 THEN error('k: must be at least 1, got ' || k::VARCHAR) ELSE true END"
)
# Whatever k is, so that the conditions refuse it, and not DuckDB.
_LIMIT = f"least(greatest(ifnull(TRY_CAST(k AS HUGEINT), 1), 1), {_MAX_COUNT})"
_HAS_QUERY = (
    "CASE WHEN query IS NULL THEN error('query: must not be NULL; pass vectors, such as those of encode_query') "
    "ELSE true END"
)
_HANDLE = "STRUCT(handle BLOB, dim INTEGER, vectors BLOB)"


def register(
    con: DuckDBPyConnection,
    *,
    encoder: TextEncoder | str | Path | None = None,
    dim: int | None = None,
    dtype: BlobDtype = "float16",
    extension: bool | None = None,
) -> Literal["extension", "python"]:
    """Add `maxsim`, `maxsim_topk` and, with an encoder, `encode_query` to a connection's SQL.

    * ``maxsim(query, document)`` is a FLOAT. Both are `FLOAT[n][]`, `FLOAT[][]` (also of DOUBLE) or BLOB. NULL gives
      NULL; a document without tokens scores -inf.
    * ``maxsim_topk(source, vectors, query, k)`` in FROM: the k best rows of a table or view, with a column `score`;
      `source` is its name as a string, `vectors` its column. Rows where it is NULL are left out; a NULL query is an
      error.
    * ``encode_query(text)`` is a `FLOAT[dim][]`.

    They are temporary macros of this connection: nothing is written to the database. Call it for every cursor. A
    further call replaces them.

    They call an extension of DuckDB, which reads vectors in place, where the connection was opened with
    ``config={"allow_unsigned_extensions": True}`` and the build has it (Linux); else functions in Python, for which
    DuckDB copies every vector. Scores are the same.

    Args:
        con: an open connection.
        encoder: an encoder, or the name of one for `serotine.Encoder`.
        dim: dimensions of vectors in BLOBs, which queries over them must have; the encoder's by default. Without
            either, documents have those of the query, which is a list.
        dtype: what BLOBs hold, as `pack_vectors` writes them: "float16", "int8" or "float32".
        extension: True requires the extension, False uses Python; None takes the extension where it can be loaded.

    Returns:
        Which of the two `maxsim` calls.

    Raises:
        TypeError: `con` is not a DuckDB connection.
        ValueError: `dim` is not the encoder's, `dtype` is unknown, or a required extension cannot be loaded.

    >>> import duckdb
    >>> from serotine.integrations.duckdb import register
    >>> con = duckdb.connect()
    >>> register(con)
    'python'
    >>> con.execute("SELECT maxsim([[1, 0], [0, 1]]::FLOAT[2][], [[0.5, 0.25]]::FLOAT[2][])").fetchone()
    (0.75,)
    """
    if not isinstance(con, duckdb.DuckDBPyConnection):
        raise wrong_type("con", "a connection, such as duckdb.connect()", con)
    if extension is not None:
        check_flags(extension=extension)
    loaded, blobs = chosen_format(encoder, dim, dtype)
    functions = _functions(loaded, blobs)
    reason = duckdb_extension.load(con) if extension is not False else "not wanted"
    if extension and reason:
        raise ValueError(f"extension: {reason}")
    expression = functions.create_maxsim(con) if reason else duckdb_extension.maxsim_expression(blobs)
    con.execute(f"CREATE OR REPLACE TEMP MACRO maxsim(query, document) AS {expression}")
    con.execute(
        "CREATE OR REPLACE TEMP MACRO maxsim_topk(source, vectors, query, k) AS TABLE "  # noqa: S608
        "SELECT *, maxsim(query, vectors) AS score FROM query_table(source) "
        f"WHERE vectors IS NOT NULL AND {_IS_COUNT} AND {_HAS_QUERY} ORDER BY score DESC LIMIT {_LIMIT}"
    )
    encode = f"error('encode_query: {NO_ENCODER}')" if loaded is None else functions.create_encode_query(con, loaded)
    con.execute(f"CREATE OR REPLACE TEMP MACRO encode_query(text) AS {encode}")
    return "python" if reason else "extension"


class _Query:
    """One query: its vectors, and their int8 codes once documents need them."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self._codes: tuple[NDArray[np.int8], NDArray[np.float32]] | None = None

    def codes(self) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        if self._codes is None:
            self._codes = maxsim.quantize(self.vectors)
        return self._codes

    def of_width(self, dim: int) -> _Query:
        """Return the query itself; without tokens it fits documents of any dimension."""
        return self if len(self.vectors) else _Query(np.empty((0, dim), np.float32))


class _Queries:
    """The newest queries, by digest.

    DuckDB evaluates a constant query once, but copies it beside every row: the rows get a digest of 16 bytes instead.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_digest: OrderedDict[bytes, _Query] = OrderedDict()

    def add(self, vectors: NDArray[np.float32]) -> bytes:
        dim = str(vectors.shape[1]).encode()
        digest = hashlib.blake2b(vectors.tobytes(), digest_size=_DIGEST_BYTES, salt=dim).digest()
        with self._lock:
            # In one's own memory: Arrow's belongs to DuckDB.
            self._by_digest.setdefault(digest, _Query(vectors.copy()))
            self._by_digest.move_to_end(digest)
            if len(self._by_digest) > _KEPT_QUERIES:
                self._by_digest.popitem(last=False)
        return digest

    def get(self, digest: bytes) -> _Query:
        with self._lock:
            query = self._by_digest.get(digest)
            if query is not None:
                self._by_digest.move_to_end(digest)
        if query is None:
            raise ValueError(f"query: {_KEPT_QUERIES:,} other queries ran since this statement used it; run it again")
        return query


@dataclass(frozen=True)
class _Functions:
    """The Python side of one set of SQL functions."""

    number: int
    blobs: BlobFormat
    queries: _Queries

    def create_maxsim(self, con: DuckDBPyConnection) -> str:
        """Create the functions in a connection's database, where they are not; return MaxSim of `query`, `document`."""
        _create(con, f"serotine_query_{self.number}", self.query_handles, _HANDLE)
        _create(con, f"serotine_maxsim_{self.number}", self.scores, "FLOAT")
        return f"serotine_maxsim_{self.number}(serotine_query_{self.number}(query), document)"

    def create_encode_query(self, con: DuckDBPyConnection, encoder: TextEncoder) -> str:
        """Do the same for the function of texts; return the query of `text`."""
        name = f"serotine_encode_query_{self.number}"
        _create(con, name, _encoded_texts(encoder), f"FLOAT[{encoder.dim}][]")
        return f"{name}(text)"

    def query_handles(self, column: pyarrow.ChunkedArray) -> pyarrow.Array:
        """Return the digest of a single query, which is stored; or the vectors of several."""
        queries, valid = _without_nulls(_single(column))
        positions = np.flatnonzero(valid)
        name = _row_names(positions, valid.size)
        packed = packed_column(queries, "query", self.blobs, None, name) if len(queries) else None
        if packed is None:
            return pyarrow.nulls(valid.size, type=_handle_type())
        _require_finite(packed, "query", name)
        floats = np.ascontiguousarray(floats_of(packed))
        count, dim = packed.offsets.size - 1, floats.shape[1] if len(floats) else 0
        if count == 1:
            handles = pyarrow.array([self.queries.add(floats)], pyarrow.binary())
            vectors = pyarrow.array([b""], pyarrow.binary())
        else:
            handles = pyarrow.nulls(count, pyarrow.binary())
            ends = packed.offsets * (4 * dim)
            large = pyarrow.py_buffer(ends), pyarrow.py_buffer(floats.view(np.uint8))
            vectors = pyarrow.Array.from_buffers(pyarrow.large_binary(), count, [None, *large]).cast(pyarrow.binary())
        dims = pyarrow.array(np.full(count, dim, np.int32))
        structs = pyarrow.StructArray.from_arrays([handles, dims, vectors], fields=list(_handle_type()))
        return _with_nulls(structs, valid)

    def scores(self, query_column: pyarrow.ChunkedArray, document_column: pyarrow.ChunkedArray) -> pyarrow.Array:
        """Return MaxSim of every row."""
        queries, documents = _single(query_column), _single(document_column)
        if pyarrow.types.is_null(queries.type) or pyarrow.types.is_null(documents.type):
            return pyarrow.nulls(len(documents), pyarrow.float32())
        mask = pyarrow.compute.and_(queries.is_valid(), documents.is_valid())
        valid = mask.to_numpy(zero_copy_only=False)
        columns = [with_offsets(column) for column in (*queries.flatten(), documents)]
        if not valid.all():
            columns = [column.filter(mask) for column in columns]
        if not valid.any():
            return pyarrow.nulls(valid.size, pyarrow.float32())
        name = _row_names(np.flatnonzero(valid), valid.size)
        return _with_nulls(pyarrow.array(self._scores(columns, name)), valid)

    def _scores(self, columns: Sequence[pyarrow.Array], name: RowName) -> NDArray[np.float32]:
        """Return MaxSim of rows without NULLs: digests, dimensions and vectors of the queries, and documents."""
        handles, dims, vectors, documents = columns
        if 0 < handles.null_count < len(handles):
            # Queries of several batches, which DuckDB brought together.
            scores = np.empty(len(handles), dtype=np.float32)
            for mask in (handles.is_valid(), handles.is_null()):
                rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
                part = [column.filter(mask) for column in columns]
                scores[rows] = self._scores(part, _among(name, rows))
            return scores
        # 0 for queries without tokens, which fit any document.
        widths = np.unique(dims.to_numpy())
        if widths.size > 1 and widths[-2] > 0:
            raise ValueError(f"query: all rows must have one dimension, got {widths[-2]} and {widths[-1]}")
        dim = int(widths[-1]) or None
        if dim and self.blobs.dim not in (None, dim) and is_blob(documents.type):
            # Read by another width, they would give scores that mean nothing.
            raise ValueError(f"query: must have {self.blobs.dim} dimensions, got {dim}")
        packed = packed_column(documents, "document", self.blobs, dim, name)
        return scored(packed, self._score(handles, vectors, packed.rows.shape[1], name), "document", name)

    def _score(self, handles: pyarrow.Array, vectors: pyarrow.Array, dim: int, name: RowName) -> Score:
        """Return what scores documents with the queries of the same rows: all of them digests, or all vectors."""
        if handles.null_count:
            packed = packed_column(vectors, "query", BlobFormat("float32", dim), dim, name)
            return partial(_score_pairs, packed, np.arange(len(handles)))
        handles = handles.cast(pyarrow.binary())
        digests = _fixed_width(handles, _DIGEST_BYTES)
        if (digests == digests[0]).all():
            return partial(_score_one, self.queries.get(digests[0].tobytes()).of_width(dim))
        distinct = handles.dictionary_encode()
        found = [self.queries.get(digest).of_width(dim) for digest in distinct.dictionary.to_pylist()]
        return partial(_score_pairs, _end_to_end(found), distinct.indices.to_numpy())


def _encoded_texts(encoder: TextEncoder) -> Callable[[pyarrow.ChunkedArray], pyarrow.Array]:
    """Return the function of texts that gives their token vectors as queries; equal texts are encoded once."""

    @lru_cache(maxsize=_KEPT_TEXTS)
    def encode(text: str) -> NDArray[np.float32]:
        warn_about_texts(encoder, [text], query=True)
        return encode_queries(encoder, [text], encoder.dim)[0]

    def encoded(column: pyarrow.ChunkedArray) -> pyarrow.Array:
        texts = _single(column)
        type_ = pyarrow.list_(pyarrow.list_(pyarrow.float32(), encoder.dim))
        if pyarrow.types.is_null(texts.type):
            return pyarrow.nulls(len(texts), type_)
        if not (pyarrow.types.is_string(texts.type) or pyarrow.types.is_large_string(texts.type)):
            raise TypeError(f"text: must be VARCHAR, got {sql_type(texts.type)}; cast it")
        distinct = texts.dictionary_encode()
        arrays = [encode(text) for text in distinct.dictionary.to_pylist()]
        ends = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int32)
        values = np.concatenate([np.empty((0, encoder.dim), np.float32), *arrays]).reshape(-1)
        tokens = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values), encoder.dim)
        return pyarrow.ListArray.from_arrays(pyarrow.array(ends), tokens).take(distinct.indices)

    return encoded


def _score_one(query: _Query, documents: PackedVectors, _rows: slice) -> NDArray[np.float32]:
    vectors, scales = (query.vectors, None) if documents.scales is None else query.codes()
    return _as_floats(
        maxsim.score(vectors, documents.rows, documents.offsets, query_scales=scales, document_scales=documents.scales)
    )


def _score_pairs(
    queries: PackedVectors, query_numbers: NDArray[np.integer[Any]], documents: PackedVectors, of_rows: slice
) -> NDArray[np.float32]:
    """Score every document, which are those rows, with the query of its row's number."""
    rows, scales = queries.rows, None
    document_rows = documents.rows
    if documents.scales is not None:
        rows, scales = maxsim.quantize(queries.rows)
    elif documents.rows.dtype != np.float32:
        document_rows = documents.rows.astype(np.float32)
    positions = np.arange(documents.offsets.size - 1)
    return _as_floats(
        maxsim.score_pairs_packed(
            rows, queries.offsets, document_rows, documents.offsets,
            query_numbers[of_rows], positions,
            query_scales=scales, document_scales=documents.scales,
        )
    )  # fmt: skip


def _as_floats(scores: Any) -> NDArray[np.float32]:
    return np.asarray(scores, dtype=np.float32)


def _end_to_end(queries: list[_Query]) -> PackedVectors:
    offsets = np.concatenate([[0], np.cumsum([len(query.vectors) for query in queries])]).astype(np.int64)
    return PackedVectors(np.concatenate([query.vectors for query in queries]), None, offsets)


def _require_finite(vectors: PackedVectors, name: str, row_name: RowName) -> None:
    row = nonfinite_row(vectors)
    if row is not None:
        raise ValueError(f"{name}: {row_name(row)} contains NaN or infinity; clean it")


def _handle_type() -> pyarrow.DataType:
    return pyarrow.struct([("handle", pyarrow.binary()), ("dim", pyarrow.int32()), ("vectors", pyarrow.binary())])


def _single(column: pyarrow.ChunkedArray | pyarrow.Array) -> pyarrow.Array:
    if isinstance(column, pyarrow.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return with_offsets(column)


def _without_nulls(array: pyarrow.Array) -> tuple[pyarrow.Array, NDArray[np.bool_]]:
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    return array.drop_null() if array.null_count else array, valid


def _with_nulls(values: pyarrow.Array, valid: NDArray[np.bool_]) -> pyarrow.Array:
    """Return the values at the valid rows, and NULL at the others."""
    if len(values) == valid.size:
        return values
    places = np.cumsum(valid) - 1
    return values.take(pyarrow.array(places, mask=~valid))


def _fixed_width(blobs: pyarrow.Array, width: int) -> NDArray[np.uint8]:
    ends = np.frombuffer(blobs.buffers()[1], np.int32)[blobs.offset : blobs.offset + len(blobs) + 1]
    return np.frombuffer(blobs.buffers()[2], np.uint8)[ends[0] : ends[-1]].reshape(-1, width)


def _row_names(positions: NDArray[np.intp], rows: int) -> RowName:
    return lambda row: f"row {int(positions[row]):,} of a batch of {rows:,}"


def _among(name: RowName, rows: NDArray[np.intp]) -> RowName:
    """Return the names of some rows, by their positions among these."""
    return lambda row: name(int(rows[row]))


_numbers = itertools.count(1)
_known: dict[tuple[str | None, BlobFormat], _Functions] = {}
_known_lock = threading.Lock()


def _functions(encoder: TextEncoder | None, blobs: BlobFormat) -> _Functions:
    """Return the functions of these settings: they are the same objects for every connection."""
    key = (None if encoder is None else f"{encoder.name} {encoder.fingerprint}", blobs)
    with _known_lock:
        if key not in _known:
            _known[key] = _Functions(next(_numbers), blobs, _Queries())
        return _known[key]


def _create(con: DuckDBPyConnection, name: str, function: Callable[..., pyarrow.Array], return_type: str) -> None:
    try:
        con.create_function(
            name, function, None, return_type, type=PythonUDFType.ARROW, null_handling=FunctionNullHandling.SPECIAL
        )
    except (duckdb.CatalogException, duckdb.NotImplementedException) as error:
        # The name has these settings: it is there from an earlier call, of this connection or another.
        if "already" not in str(error):
            raise
