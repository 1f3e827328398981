"""Vectors of a request as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.wire import unpack


def vectors_of(value: list[list[float]] | str, dim: int, name: str) -> NDArray[np.floating[Any]]:
    """The vectors (tokens, dim) that a request holds: float32 of rows of numbers, or what base64 holds.

    Raises:
        ValueError: rows of another length, or what is no base64 of float16 vectors.
    """
    if isinstance(value, str):
        return unpack(value, dim, name)
    for i, row in enumerate(value):
        if len(row) != dim:
            raise ValueError(f"{name}[{i}]: want {dim} numbers, got {len(row)}")
    # What float32 cannot hold becomes infinite, and is refused as such with the rest.
    with np.errstate(over="ignore"):
        return np.array(value, dtype=np.float64).astype(np.float32).reshape(-1, dim)
