"""Columns of token vectors in Arrow: lists of lists of floats, or blobs, packed without a loop over rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serotine.integrations.vector_blobs import BlobFormat, PackedVectors, RowName, beyond

if TYPE_CHECKING:
    import pyarrow


def packed_column(
    column: pyarrow.Array, name: str, blobs: BlobFormat, dim: int | None, row_name: RowName
) -> PackedVectors:
    """Return the vectors of a column without NULLs; float32 lists and blobs of floats are read in place.

    Args:
        column: lists of lists of floats, or blobs.
        name: the column, for errors.
        blobs: what blobs hold.
        dim: dimensions that a token must have; None accepts those of the first.
        row_name: names the row at a position, for errors.

    Raises:
        TypeError: another type.
        ValueError: vectors of other dimensions, or of several; NULLs within lists; values beyond float32; blobs of a
            wrong length.
    """
    import pyarrow

    if is_blob(column.type):
        width = blobs.dim if dim is None else dim
        if width is None:
            raise ValueError(
                f"{name}: a BLOB does not say how many dimensions its vectors have; pass dim= to register, or FLOAT[][]"
            )
        return _packed_blobs(column, name, blobs, width, row_name)
    if _is_list(column.type) and pyarrow.types.is_null(column.type.value_type):
        # Without tokens, as of an empty array: DuckDB cannot tell what they would be.
        column = column.cast(pyarrow.list_(pyarrow.list_(pyarrow.float32())))
    if not _is_list(column.type) or not _is_list(column.type.value_type):
        raise _unfit(name, column.type)
    values = column.type.value_type.value_type
    if values not in (pyarrow.float32(), pyarrow.float64(), pyarrow.float16()):
        raise _unfit(name, column.type)
    return _packed_lists(column, name, dim, row_name)


def is_blob(type_: Any) -> bool:
    """Return whether a column of this type has blobs."""
    import pyarrow

    return bool(pyarrow.types.is_binary(type_) or pyarrow.types.is_large_binary(type_))


def with_offsets(column: pyarrow.Array) -> pyarrow.Array:
    """Return texts and blobs in the layout with offsets: DuckDB's settings of Arrow may ask for views."""
    import pyarrow

    if pyarrow.types.is_string_view(column.type):
        return column.cast(pyarrow.large_string())
    if pyarrow.types.is_binary_view(column.type):
        return column.cast(pyarrow.large_binary())
    return column


def _packed_blobs(column: pyarrow.Array, name: str, blobs: BlobFormat, dim: int, row_name: RowName) -> PackedVectors:
    import pyarrow

    offset_type = np.int64 if pyarrow.types.is_large_binary(column.type) else np.int32
    _, offsets, data = column.buffers()
    if not len(column) or offsets is None:
        ends = np.zeros(1, dtype=np.int64)
    else:
        ends = np.frombuffer(offsets, offset_type)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    bytes_ = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    return blobs.read(bytes_, ends - ends[0], dim, name, row_name)


def _packed_lists(column: pyarrow.Array, name: str, dim: int | None, row_name: RowName) -> PackedVectors:
    ends, tokens = _items(column)
    offsets = ends - ends[0]

    def token_name(token: int) -> str:
        row = int(np.searchsorted(offsets, token, side="right")) - 1
        return f"token {token - int(offsets[row])} of {row_name(row)}"

    if tokens.null_count:
        raise ValueError(f"{name}: {token_name(_first_null(tokens))} is NULL; remove it")
    value_ends, values = _items(tokens)
    widths = np.diff(value_ends)
    width = dim if dim is not None else int(widths[0]) if widths.size else 1
    other = np.flatnonzero(widths != width)
    if other.size:
        token = int(other[0])
        raise ValueError(f"{name}: {token_name(token)} must have {width} dimensions, got {int(widths[token])}")
    if values.null_count:
        raise ValueError(f"{name}: {token_name(_first_null(values) // width)} has a NULL value; remove it")
    floats = values.to_numpy(zero_copy_only=True)
    if width == 0:
        raise ValueError(f"{name}: {token_name(0)} must have at least one dimension, got 0")
    if floats.dtype == np.float64:
        doubles = floats
        with np.errstate(over="ignore"):
            floats = doubles.astype(np.float32)
        overflowing = np.flatnonzero(np.isinf(floats) & np.isfinite(doubles))
        if overflowing.size:
            fault = beyond(floats.dtype, abs(float(doubles[overflowing[0]])))
            raise ValueError(f"{name}: {token_name(int(overflowing[0]) // width)} {fault}; scale it")
    return PackedVectors(floats.reshape(-1, width), None, offsets)


def _items(lists: pyarrow.Array) -> tuple[NDArray[np.int64], pyarrow.Array]:
    """Return where the items of every list begin and end, and the items."""
    import pyarrow

    if _is_list_view(lists.type):
        sizes = lists.sizes.to_numpy(zero_copy_only=False)
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), lists.flatten()
    if pyarrow.types.is_fixed_size_list(lists.type):
        ends = (np.arange(len(lists) + 1, dtype=np.int64) + lists.offset) * lists.type.list_size
    elif len(lists):
        ends = lists.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
    else:
        ends = np.zeros(1, dtype=np.int64)
    return ends, lists.values.slice(int(ends[0]), int(ends[-1] - ends[0]))


def _first_null(array: pyarrow.Array) -> int:
    return int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])


def _is_list(type_: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    has_offsets = types.is_list(type_) or types.is_large_list(type_)
    return bool(has_offsets or types.is_fixed_size_list(type_) or _is_list_view(type_))


def _is_list_view(type_: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_list_view(type_) or pyarrow.types.is_large_list_view(type_))


def _unfit(name: str, type_: Any) -> TypeError:
    return TypeError(f"{name}: must be FLOAT[][], FLOAT[n][] or BLOB, got {sql_type(type_)}; cast it to one of these")


def sql_type(type_: Any) -> str:
    """Return a type as DuckDB writes it, where that differs from Arrow's name."""
    import pyarrow

    if pyarrow.types.is_fixed_size_list(type_):
        return f"{sql_type(type_.value_type)}[{type_.list_size}]"
    if _is_list(type_):
        return f"{sql_type(type_.value_type)}[]"
    names = {"string": "VARCHAR", "int32": "INTEGER", "int64": "BIGINT", "float": "FLOAT", "double": "DOUBLE"}
    return names.get(str(type_), str(type_).upper().replace("DECIMAL128", "DECIMAL"))
