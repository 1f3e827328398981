"""Embeddings in 8 bits or 1, by the names `encode` has for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
_PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")


def quantised(vectors: Sequence[NDArray[np.float32]], precision: Precision) -> list[NDArray[Any]]:
    """Token vectors with less of each number.

    Args:
        vectors: float32 (tokens, dim) a text.
        precision: "int8" and "uint8" spread what each dimension holds in these texts over 255 steps; "ubinary" and
            "binary" keep the signs, eight to a byte, the latter as int8 (the byte less 128).

    Returns:
        One array a text, (tokens, dim) or (tokens, dim / 8 rounded up).

    Raises:
        ValueError: another name.
    """
    if precision not in _PRECISIONS:
        raise ValueError(f"precision: want one of {', '.join(_PRECISIONS)}, got {precision!r}")
    if precision == "float32" or not len(vectors):
        return list(vectors)
    if precision in ("binary", "ubinary"):
        packed = [np.packbits(rows > 0, axis=-1) for rows in vectors]
        return packed if precision == "ubinary" else [(bits.astype(np.int16) - 128).astype(np.int8) for bits in packed]
    together = np.concatenate(list(vectors))
    if not len(together):
        return [rows.astype(precision) for rows in vectors]
    low, high = together.min(axis=0), together.max(axis=0)
    step = np.where(high > low, (high - low) / 255, 1)
    shift = 128 if precision == "int8" else 0
    return [(np.clip((rows - low) / step, 0, 255) - shift).astype(precision) for rows in vectors]
