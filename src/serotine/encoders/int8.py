"""8-bit matrices: levels with one scale per row. Exports and the native backend round alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# -127 to 127; -128 has no counterpart.
MAX_LEVEL = 127.0


def quantize_rows(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return levels, int8 (rows, columns), and scales, float32 (rows,): an entry is its level times its row's scale."""
    scales = np.maximum(np.abs(matrix).max(axis=1) / MAX_LEVEL, 1e-12).astype(np.float32)
    levels = np.clip(np.rint(matrix / scales[:, None]), -MAX_LEVEL, MAX_LEVEL).astype(np.int8)
    return np.ascontiguousarray(levels), scales
