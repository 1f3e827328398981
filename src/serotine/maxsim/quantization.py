"""int8 token vectors with one scale per token."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.maxsim import contract


def quantize(vectors: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round token vectors to int8, one scale per token: ``codes * scales[..., None]`` is within scale / 2 of them.

    Args:
        vectors: floats, shape (..., dim).

    Returns:
        Codes int8 (..., dim) in [-127, 127] and scales float32 (...,).

    Raises:
        ValueError: a value is not finite.

    >>> codes, scales = quantize(np.array([[1.0, -0.25], [0.0, 2.0]]))
    >>> codes.tolist()
    [[127, -32], [0, 127]]
    >>> scales.round(4)
    array([0.0079, 0.0157], dtype=float32)
    """
    floats = contract.one_array(vectors, "vectors", "(..., dim)").astype(np.float32, copy=False)
    if not np.isfinite(floats).all():
        raise ValueError("vectors: must be finite, got NaN or infinity")
    scales = (np.abs(floats).max(axis=-1, initial=0.0) / 127.0).astype(np.float32)
    safe = np.where(scales == 0, np.float32(1), scales)
    codes = np.clip(np.rint(floats / safe[..., None]), -127, 127).astype(np.int8)
    return codes, scales
