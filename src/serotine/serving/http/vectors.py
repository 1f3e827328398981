"""Token vectors of a request as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.wire import unpack


def parse_vectors(value: list[list[float]] | str, dim: int, name: str) -> NDArray[np.floating[Any]]:
    """Return the vectors (tokens, dim) of a request: float32 from rows of numbers, or the dtype that base64 encodes.

    Raises:
        ValueError: rows of another length, or not base64 of whole vectors.
    """
    if isinstance(value, str):
        return unpack(value, dim, name)
    for i, row in enumerate(value):
        if len(row) != dim:
            raise ValueError(f"{name}[{i}]: must have {dim} numbers, got {len(row)}")
    # What overflows float32 becomes infinite, and is refused with other infinities.
    with np.errstate(over="ignore"):
        return np.array(value, dtype=np.float64).astype(np.float32).reshape(-1, dim)
