"""Validation of the arguments of every MaxSim function; errors name the argument.

The contract itself is in the docstring of `serotine.maxsim`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any
"""A NumPy array or a torch tensor; every function takes only one of the two and returns the same."""

Ints: TypeAlias = NDArray[np.int64]

# The codes of native/maxsim/maxsim.hpp's Dtype.
F32, F16, BF16, I8 = 0, 1, 2, 3
# int8 products summed in int32 stay exact up to this dimension (128 x 255 x 65,536 < 2^31).
MAX_INT8_DIM = 65_536


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token vectors as the compiled core takes them.

    Attributes:
        data: contiguous, shape (rows, dim); bfloat16 as its uint16 bits.
        dtype: one of F32, F16, BF16, I8.
        scales: float32 (rows,) for int8, else None.
        begin: int64, first row of every query or document.
        end: int64, one past its last row.
        name: the argument, for errors.
    """

    data: NDArray[Any]
    dtype: int
    scales: NDArray[np.float32] | None
    begin: Ints
    end: Ints
    name: str


def dtype_code(array: NDArray[Any], name: str) -> int:
    """Return the core's code of an array's dtype, or raise TypeError."""
    if array.dtype == np.float32:
        return F32
    if array.dtype == np.float16:
        return F16
    if array.dtype == np.int8:
        return I8
    if array.dtype.name == "bfloat16":  # ml_dtypes
        return BF16
    raise TypeError(
        f"{name}: dtype must be one of float32, float16, bfloat16, int8, got {array.dtype}; convert the array first"
    )


def one_array(value: object, name: str, shape: str) -> NDArray[Any]:
    """Return `value` as an array, or raise ValueError that names the argument and the shape it must have."""
    try:
        return np.asarray(value)
    # NumPy names neither.
    except ValueError:
        fix = ""
        if isinstance(value, tuple) and len(value) == 2:
            fix = f"; pass what quantize returns as two arguments: the codes, and {_scales_name(name)}="
        raise ValueError(f"{name}: must have shape {shape}, got parts of different shapes{fix}") from None


def _scales_name(name: str) -> str:
    return "query_scales" if name.startswith("quer") else "document_scales"


def vectors(value: object, name: str, shape: str, rank: int) -> NDArray[Any]:
    """Return `value` as a contiguous array of token vectors of the given rank, copied only where necessary."""
    array = one_array(value, name, shape)
    if array.ndim != rank:
        raise ValueError(f"{name}: must have shape {shape}, got {array.shape}")
    if array.shape[-1] == 0:
        raise ValueError(f"{name}: must have shape {shape} with at least one dimension per token, got {array.shape}")
    return np.ascontiguousarray(array)


def matrix(array: NDArray[Any], name: str, scales: object) -> tuple[NDArray[Any], int, NDArray[np.float32] | None]:
    """Return validated vectors as (rows, dim), with their dtype's code and their scales as (rows,)."""
    code = dtype_code(array, name)
    scales_name = _scales_name(name)
    rows = array.reshape(-1, array.shape[-1])
    if code == BF16:
        rows = rows.view(np.uint16)
    if code != I8:
        if scales is not None:
            raise TypeError(f"{scales_name}: only int8 {name} have scales, got {array.dtype}")
        return rows, code, None
    if scales is None:
        raise TypeError(f"{name}: int8 tokens need {scales_name}; serotine.maxsim.quantize returns both")
    if array.shape[-1] > MAX_INT8_DIM:
        raise ValueError(f"{name}: dimension of int8 must be at most {MAX_INT8_DIM}, got {array.shape[-1]}")
    checked_scales = np.ascontiguousarray(scales, dtype=np.float32)
    if checked_scales.shape != array.shape[:-1]:
        raise ValueError(
            f"{scales_name}: must have shape {array.shape[:-1]}, one per token, got {checked_scales.shape}"
        )
    if (checked_scales < 0).any():
        raise ValueError(f"{scales_name}: must be 0 or more, got {checked_scales.min()}")
    return rows, code, checked_scales.reshape(-1)


def integers(value: object, name: str, shape: tuple[int | str, ...]) -> Ints:
    """Return `value` as int64 of the given shape; a string in the shape means any length."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        if array.size:
            raise TypeError(f"{name}: must be integers, got dtype {array.dtype}")
        array = array.astype(np.int64)
    expected = "(" + ", ".join(str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
    if array.ndim != len(shape) or any(isinstance(n, int) and n != m for n, m in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{name}: must have shape {expected}, got {array.shape}")
    return np.ascontiguousarray(array, dtype=np.int64)


def bounded(values: Ints, name: str, low: int, high: int, what: str) -> Ints:
    """Return the values, or raise ValueError unless low <= values <= high; `what` names the values."""
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        at = int(np.flatnonzero((values < low) | (values > high))[0])
        raise ValueError(f"{name}: {what} must be between {low} and {high}, got {int(values.reshape(-1)[at])} at {at}")
    return values


def offsets(value: object, name: str, rows: int) -> Ints:
    """Return offsets of consecutive items in `rows` rows: int64 (items + 1,), never decreasing, within bounds."""
    array = integers(value, name, ("items + 1",))
    if array.size == 0:
        raise ValueError(f"{name}: must have shape (items + 1,), got (0,); pass [0] for no items")
    decreases = np.flatnonzero(np.diff(array) < 0)
    if decreases.size:
        at = int(decreases[0])
        raise ValueError(f"{name}: offsets must not decrease, got {array[at]} then {array[at + 1]} at {at}")
    return bounded(array, name, 0, rows, "offsets")


def packed(value: object, name: str, item_offsets: object, offsets_name: str, scales: object, shape: str) -> Tokens:
    """Return the tokens of items that lie end to end in one array of the given shape."""
    array = vectors(value, name, shape, 2)
    bounds = offsets(item_offsets, offsets_name, array.shape[0])
    return Tokens(*matrix(array, name, scales), bounds[:-1], bounds[1:], name)


def one_query(value: object, scales: object) -> Tokens:
    """Return the tokens of the argument `query`, shape (query tokens, dim)."""
    array = vectors(value, "query", "(query tokens, dim)", 2)
    begin = np.zeros(1, dtype=np.int64)
    return Tokens(*matrix(array, "query", scales), begin, begin + array.shape[0], "query")


def lengths_to_ranges(lengths: Ints, stride: int) -> tuple[Ints, Ints]:
    """Return the begin and end rows of padded items, `stride` rows apart."""
    begin = np.arange(lengths.size, dtype=np.int64) * stride
    return begin, begin + lengths.reshape(-1)


def check_same_kind(queries: Tokens, documents: Tokens, *, strict: bool) -> None:
    """Raise unless queries and documents have one dimension and one dtype (not strict: both float or both int8)."""
    check_match(queries, documents.data.shape[1], documents.dtype, documents.name, strict=strict)


def check_match(queries: Tokens, dim: int, dtype: int, name: str, *, strict: bool) -> None:
    """Raise like `check_same_kind`, given the dimension and dtype of documents."""
    if queries.data.shape[1] != dim:
        raise ValueError(f"{name}: dimension {dim} does not match the {queries.data.shape[1]} of {queries.name}")
    if queries.dtype != dtype and (strict or I8 in (queries.dtype, dtype)):
        names = {F32: "float32", F16: "float16", BF16: "bfloat16", I8: "int8"}
        raise TypeError(
            f"{name}: dtype {names[dtype]} does not match the {names[queries.dtype]} of {queries.name}; "
            "convert one of them"
        )
