"""A reference of the residual codec in plain NumPy, which the compiled core must match."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEVELS_2 = np.array([-127, -38, 38, 127])
LEVELS_4 = np.array([-127, -96, -75, -58, -44, -31, -18, -6, 6, 18, 31, 44, 58, 75, 96, 127])


def codes_of(residuals: NDArray[np.uint8], dim: int, bits: int) -> NDArray[np.int64]:
    """Return the code of every dimension, int64 (tokens, dim): first the lowest bits of every byte."""
    codes = [(residuals >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.concatenate(codes, axis=1)[:, :dim].astype(np.int64)


def decode(
    centroids: NDArray[np.int8], residual_scales: NDArray[np.uint8], residuals: NDArray[np.uint8], bits: int
) -> NDArray[np.int8]:
    """Return rebuilt rows, int8 (tokens, dim), from each token's centroid row, residual scale and residual."""
    dim = centroids.shape[1]
    codes, scale = codes_of(residuals, dim, bits), residual_scales.astype(np.int64)[:, None]
    rows: NDArray[np.int64] = centroids.astype(np.int64)
    if bits == 8:
        high = ((16 * (codes >> 4) - 120) * scale + 128) >> 8
        low = ((2 * (codes & 15) - 15) * scale + 256) >> 9
        return _saturated(_saturated(rows + high) + low)
    levels = LEVELS_2 if bits == 2 else LEVELS_4
    return _saturated(rows + ((levels[codes] * scale + 128) >> 8))


def _saturated(values: NDArray[np.int64]) -> NDArray[np.int8]:
    return np.clip(values, -128, 127).astype(np.int8)
