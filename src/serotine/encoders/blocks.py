"""Embeddings in blocks of 4-bit numbers, for tables that came from such blocks: nothing is lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
"""Numbers that share a scale, as in GGML's Q4_0."""
_LOWEST = -8
_CHUNK_ROWS = 16384


def four_bit_blocks(table: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float16]] | None:
    """Return a table as levels of 4 bits times one float16 scale per block; None if that is not exact.

    In such a block the number of the largest size has the level -8, so that it determines the scale.

    Args:
        table: float32 (rows, dim).

    Returns:
        The levels from -8 to 7 as two's complement, two per byte, the first in the low bits, (rows, dim / 2); and the
        scales (rows, dim / 32).
    """
    rows, dim = table.shape
    if dim % BLOCK:
        return None
    levels = np.empty((rows, dim // 2), dtype=np.uint8)
    scales = np.empty((rows, dim // BLOCK), dtype=np.float16)
    for start in range(0, rows, _CHUNK_ROWS):
        blocks = table[start : start + _CHUNK_ROWS].reshape(-1, dim // BLOCK, BLOCK)
        largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[:, :, None], axis=2)
        # A scale of 0 is that of a block of zeros; one that 16 bits cannot hold is not exact.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            chunk_scales = (largest / _LOWEST).astype(np.float16)
            float32_scales = chunk_scales.astype(np.float32)
            numbers = np.nan_to_num(np.rint(blocks / float32_scales), posinf=0, neginf=0).clip(_LOWEST, -_LOWEST - 1)
            if not np.array_equal(numbers * float32_scales, blocks):
                return None
        nibbles = numbers.astype(np.int8).view(np.uint8).reshape(len(blocks), dim) & 15
        levels[start : start + len(blocks)] = nibbles[:, 0::2] | nibbles[:, 1::2] << 4
        scales[start : start + len(blocks)] = chunk_scales[:, :, 0]
    return levels, scales
