"""Token vectors as blobs in databases: one text's vectors end to end, without a header."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.errors import invalid, not_one_of, shown, wrong_type
from serotine.index import TextEncoder
from serotine.integrations.passages import load_encoder

BlobDtype: TypeAlias = Literal["float16", "int8", "float32"]
Floats: TypeAlias = NDArray[np.floating[Any]]
RowName: TypeAlias = Callable[[int], str]
"""What an error calls the row at a position."""
Score: TypeAlias = Callable[["PackedVectors", slice], NDArray[np.float32]]
"""Scores documents, which are those rows of a batch."""

NO_ENCODER = "needs an encoder; call register(con, encoder=...)"
# Of the error of `serotine.maxsim`, whose remedy is an argument that SQL does not have.
_OVERFLOW = "overflows float32"
_SCALE_BYTES = 4
_LITTLE_ENDIAN: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}


@dataclass(frozen=True, slots=True)
class PackedVectors:
    """The token vectors of several rows, end to end.

    Attributes:
        rows: (tokens, dim).
        scales: float32 (tokens,) of int8, else None.
        offsets: int64 (rows + 1,): row i owns the tokens offsets[i]:offsets[i + 1].
    """

    rows: NDArray[Any]
    scales: NDArray[np.float32] | None
    offsets: NDArray[np.int64]

    def row(self, position: int) -> PackedVectors:
        """Return the vectors of one row."""
        first, last = self.offsets[position : position + 2]
        scales = None if self.scales is None else self.scales[first:last]
        return PackedVectors(self.rows[first:last], scales, np.array([0, last - first]))


@dataclass(frozen=True, slots=True)
class BlobFormat:
    """What blobs hold.

    Attributes:
        dtype: "float16" or "float32": the values of all tokens, little-endian. "int8": every token has its codes and
            then its scale, float32: dim + 4 bytes.
        dim: dimensions of a token; None if blobs meet only vectors that have dimensions of their own.
    """

    dtype: BlobDtype
    dim: int | None

    def __post_init__(self) -> None:
        if self.dtype not in get_args(BlobDtype):
            raise not_one_of("dtype", get_args(BlobDtype), self.dtype)
        if self.dim is not None and (isinstance(self.dim, bool) or not isinstance(self.dim, int)):
            raise wrong_type("dim", "an int of at least 1", self.dim)
        if self.dim is not None and self.dim < 1:
            raise invalid("dim", "at least 1", self.dim)

    def token_bytes(self, dim: int) -> int:
        """Return the size of one token."""
        return dim + _SCALE_BYTES if self.dtype == "int8" else dim * _LITTLE_ENDIAN[self.dtype].itemsize

    def read(
        self, data: NDArray[np.uint8], ends: NDArray[np.int64], dim: int, name: str, row_name: RowName
    ) -> PackedVectors:
        """Return the vectors of blobs that lie end to end; floats are read in place.

        Args:
            data: their bytes.
            ends: int64 (blobs + 1,), from 0 to the number of bytes.
            dim: dimensions of a token.
            name: the column, for errors.
            row_name: names the blob at a position, for errors.

        Raises:
            ValueError: a blob is no whole number of tokens.
        """
        size = self.token_bytes(dim)
        lengths = np.diff(ends)
        partial = np.flatnonzero(lengths % size)
        if partial.size:
            position = int(partial[0])
            raise ValueError(
                f"{name}: {row_name(position)} must be a multiple of {size} bytes ({dim} dimensions of {self.dtype}), "
                f"got {int(lengths[position])} bytes; check dim and dtype"
            )
        tokens = data.reshape(-1, size)
        if self.dtype == "int8":
            codes = np.ascontiguousarray(tokens[:, :dim]).view(np.int8)
            scales = np.ascontiguousarray(tokens[:, dim:]).view("<f4").reshape(-1).astype(np.float32, copy=False)
            return PackedVectors(codes, scales, ends // size)
        values = tokens.reshape(-1).view(_LITTLE_ENDIAN[self.dtype]).astype(self.dtype, copy=False)
        return PackedVectors(values.reshape(-1, dim), None, ends // size)

    def write(self, vectors: Floats) -> bytes:
        """Return the blob of one text's vectors, (tokens, dim)."""
        if self.dtype != "int8":
            return np.asarray(vectors).astype(_LITTLE_ENDIAN[self.dtype]).tobytes()
        codes, scales = maxsim.quantize(vectors)
        tokens = np.empty((len(codes), codes.shape[1] + _SCALE_BYTES), dtype=np.uint8)
        tokens[:, : codes.shape[1]] = codes.view(np.uint8)
        tokens[:, codes.shape[1] :] = scales.astype("<f4")[:, None].view(np.uint8)
        return tokens.tobytes()


def pack_vectors(vectors: Floats, dtype: BlobDtype = "float16") -> bytes:
    """Return one text's token vectors as a blob, as `register` of DuckDB and SQLite reads it.

    Args:
        vectors: floats, (tokens, dim).
        dtype: "float16", the default; "int8", half of that, with a scale for every token; or "float32".

    Raises:
        TypeError: not real numbers.
        ValueError: another shape or dtype; tokens of several dimensions; a value that is not finite, or beyond `dtype`.

    >>> import numpy as np
    >>> from serotine.integrations import pack_vectors
    >>> len(pack_vectors(np.eye(3, 128))), len(pack_vectors(np.eye(3, 128), "int8"))
    (768, 396)
    """
    blobs = BlobFormat(dtype, None)
    return blobs.write(token_floats(vectors, "vectors", np.float16 if dtype == "float16" else np.float32))


def unpack_vectors(blob: bytes, dim: int, dtype: BlobDtype = "float16") -> NDArray[np.float32]:
    """Return the token vectors of a blob that `pack_vectors` wrote, float32 (tokens, dim).

    Args:
        blob: the blob.
        dim: dimensions of a token.
        dtype: what it holds.

    Raises:
        TypeError: `blob` is not bytes, or `dim` is not an int.
        ValueError: the blob is no whole number of tokens.

    >>> import numpy as np
    >>> from serotine.integrations import pack_vectors, unpack_vectors
    >>> unpack_vectors(pack_vectors(np.eye(2), "int8"), 2, "int8").tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    blobs = BlobFormat(dtype, dim)
    if dim is None:
        raise wrong_type("dim", "an int of at least 1", dim)
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise wrong_type("blob", "bytes", blob, fix="pack_vectors writes them")
    ends = np.array([0, len(blob)], dtype=np.int64)
    return floats_of(blobs.read(np.frombuffer(blob, np.uint8), ends, dim, "blob", lambda _: "its length"))


def token_floats(value: object, name: str, dtype: type[np.floating[Any]] = np.float32) -> Floats:
    """Return the token vectors of one text, finite floats (tokens, dim) of a dtype.

    Args:
        value: an array or lists of real numbers.
        name: the argument, for errors.
        dtype: np.float16 or np.float32.

    Raises:
        TypeError: not real numbers.
        ValueError: another shape; tokens of several dimensions; a value that is not finite, or beyond the dtype.
    """
    expected = "floats of shape (tokens, dim)"
    try:
        array = np.asarray(value)
    except ValueError:
        raise _ragged(value, name) from None
    if array.ndim == 0:
        raise wrong_type(name, expected, value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: must be {expected}, got dtype {array.dtype}; pass real numbers")
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name}: must have shape (tokens, dim), got {array.shape}")
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, dtype=dtype)
    bad = np.flatnonzero(~np.isfinite(floats).all(axis=1))
    if not bad.size:
        return floats
    token = array[bad[0]]
    if not np.isfinite(token).all():
        raise ValueError(f"{name}: token {bad[0]:,} contains NaN or infinity; clean it")
    fix = "scale the vectors down" + (", or pack them as 'float32'" if floats.dtype == np.float16 else "")
    raise ValueError(f"{name}: token {bad[0]:,} {beyond(floats.dtype, float(np.abs(token).max()))}; {fix}")


def beyond(dtype: np.dtype[Any], value: float) -> str:
    """Return what is wrong with a value that a dtype does not hold."""
    return f"has a value beyond {dtype.name} ({float(np.finfo(dtype).max):.5g}), got {value:.5g}"


def _ragged(value: Any, name: str) -> ValueError:
    """Return the error for lists that are no array."""
    try:
        widths = [len(token) for token in value]
    except TypeError:
        widths = []
    for token, width in enumerate(widths):
        if width != widths[0]:
            return ValueError(f"{name}: token {token:,} must have {widths[0]} dimensions, got {width}")
    return ValueError(f"{name}: must be floats of shape (tokens, dim), got {shown(value)}")


def floats_of(vectors: PackedVectors) -> NDArray[np.float32]:
    """Return the token vectors as float32, int8 by its scales."""
    floats = vectors.rows.astype(np.float32, copy=False)
    return floats if vectors.scales is None else floats * vectors.scales[:, None]


def nonfinite_row(vectors: PackedVectors) -> int | None:
    """Return the first row with NaN or infinity, or None."""
    values = vectors.rows if vectors.scales is None else vectors.scales[:, None]
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    return int(np.searchsorted(vectors.offsets, bad[0], side="right")) - 1 if bad.size else None


def scored(documents: PackedVectors, score: Score, name: str, row_name: RowName) -> NDArray[np.float32]:
    """Return the scores of documents with queries that are finite.

    Args:
        documents: the documents.
        score: scores them.
        name: their column, for errors.
        row_name: names the row at a position, for errors.

    Raises:
        ValueError: a document, or its dot product with the query, is not finite; or what `score` raises.
    """
    try:
        return score(documents, slice(None))
    except ValueError as error:
        row = nonfinite_row(documents)
        if row is not None:
            raise ValueError(f"{name}: {row_name(row)} contains NaN or infinity; clean it") from None
        row = _overflowing_row(documents, score) if _OVERFLOW in str(error) else None
        if row is not None:
            fault = "overflows float32 in its dot product with the query; scale it"
            raise ValueError(f"{name}: {row_name(row)} {fault}") from None
        raise


def _overflowing_row(documents: PackedVectors, score: Score) -> int | None:
    """Return the first row that is refused by itself."""
    for row in range(documents.offsets.size - 1):
        try:
            score(documents.row(row), slice(row, row + 1))
        except ValueError:
            return row
    return None


def chosen_format(
    encoder: TextEncoder | str | Path | None, dim: int | None, dtype: BlobDtype
) -> tuple[TextEncoder | None, BlobFormat]:
    """Return the encoder that `register` was given, loaded if it is a name, and the format of blobs.

    Raises:
        ValueError: `dim` is not the encoder's.
    """
    if encoder is None:
        return None, BlobFormat(dtype, dim)
    loaded = load_encoder(encoder)
    if dim is not None and dim != loaded.dim:
        raise invalid("dim", f"the {loaded.dim} of encoder {loaded.name!r}", dim)
    return loaded, BlobFormat(dtype, loaded.dim)
