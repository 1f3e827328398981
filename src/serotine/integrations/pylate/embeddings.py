"""Token vectors in the shapes PyLate's functions take, and in the shapes and number formats `encode` returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from serotine.errors import not_one_of

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
_PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")


def as_array(embeddings: Any) -> NDArray[np.float32]:
    """Return one text's vectors as float32 (tokens, dim).

    Args:
        embeddings: a tensor, an array or nested lists; leading axes of length 1 are dropped.
    """
    if hasattr(embeddings, "detach"):
        embeddings = embeddings.detach().float().cpu().numpy()
    array = np.asarray(embeddings, dtype=np.float32)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    return array


def listed(embeddings: Any) -> Any:
    """Return an array or a tensor as it is, and anything else as a list, which can be iterated twice."""
    return embeddings if hasattr(embeddings, "dtype") else list(embeddings)


def dtype_name(embeddings: Any) -> str | None:
    """Return the dtype of an array or a tensor, such as "float16"; None for nested lists."""
    dtype = getattr(embeddings, "dtype", None)
    return None if dtype is None else str(dtype).removeprefix("torch.")


def as_arrays(embeddings: Any, name: str) -> list[NDArray[np.float32]]:
    """Return the vectors of several texts, float32 (tokens, dim) a text.

    Args:
        embeddings: a list of (tokens, dim) arrays or tensors, one array or tensor (texts, tokens, dim), or a single
            text's (tokens, dim).
        name: the argument's name, for messages.

    Raises:
        ValueError: an item has another shape; the message names its position.
    """
    items = [embeddings] if getattr(embeddings, "ndim", None) == 2 else list(embeddings)
    arrays = []
    for i, item in enumerate(items):
        array = as_array(item)
        if array.ndim != 2:
            raise ValueError(f"{name}[{i}]: must be of shape (tokens, dim), got {array.shape}")
        arrays.append(array)
    return arrays


def quantize(vectors: Sequence[NDArray[np.float32]], precision: Precision) -> list[NDArray[Any]]:
    """Convert token vectors to 8 bits or 1 bit a dimension.

    Args:
        vectors: float32 (tokens, dim) a text.
        precision: "int8" and "uint8" spread each dimension's range in these texts over 255 steps; "ubinary" and
            "binary" store signs, eight to a byte, the latter as int8 (the byte less 128).

    Returns:
        One array a text, (tokens, dim) or (tokens, dim / 8 rounded up).

    Raises:
        ValueError: an unknown precision.
    """
    if precision not in _PRECISIONS:
        raise not_one_of("precision", _PRECISIONS, precision)
    if precision == "float32" or not len(vectors):
        return list(vectors)
    if precision in ("binary", "ubinary"):
        packed = [np.packbits(rows > 0, axis=-1) for rows in vectors]
        return packed if precision == "ubinary" else [(bits.astype(np.int16) - 128).astype(np.int8) for bits in packed]
    tokens = np.concatenate(list(vectors))
    if not len(tokens):
        return [rows.astype(precision) for rows in vectors]
    low, high = tokens.min(axis=0), tokens.max(axis=0)
    step = np.where(high > low, (high - low) / 255, 1)
    shift = 128 if precision == "int8" else 0
    return [(np.clip((rows - low) / step, 0, 255) - shift).astype(precision) for rows in vectors]


def pad(values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Zero-pad arrays (tokens, ...) to (1, most tokens, ...)."""
    length = max(map(len, values), default=0)
    return [np.pad(rows, [(0, length - len(rows)), *[(0, 0)] * (rows.ndim - 1)])[None] for rows in values]


def stack_equal(values: list[Any]) -> Any:
    """Stack tensors of one shape into one tensor; return the list where shapes differ or there is none."""
    if not values or len({tuple(value.shape) for value in values}) > 1:
        return values
    return torch.stack(values)
