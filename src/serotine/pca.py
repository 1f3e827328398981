"""Principal directions of vectors that are compared by dot products."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def principal_directions(vectors: Iterable[NDArray[Any]], dim: int) -> NDArray[np.float32]:
    """Return the directions that preserve most of the dot products between vectors.

    They are the eigenvectors of the second moment, largest eigenvalue first. The mean is not subtracted, because a dot
    product includes it. ``vectors @ directions.T`` projects.

    Args:
        vectors: arrays (rows, input_dim) of any float type, read once; together they are the sample.
        dim: number of directions.

    Returns:
        float32 (dim, input_dim) with orthonormal rows, the largest number of each positive.

    Raises:
        ValueError: `dim` is below 1, above input_dim, or above the number of vectors.
    """
    moment: NDArray[np.float64] | None = None
    count = 0
    for rows in vectors:
        if moment is None:
            moment = np.zeros((rows.shape[1], rows.shape[1]))
        moment += rows.T.astype(np.float64) @ rows
        count += len(rows)
    max_dim = 0 if moment is None else min(count, len(moment))
    if moment is None or not 1 <= dim <= max_dim:
        raise ValueError(f"dim: must be between 1 and {max_dim:,}, the directions of {count:,} vectors, got {dim:,}")
    _, eigenvectors = np.linalg.eigh(moment / count)
    directions = eigenvectors[:, ::-1][:, :dim].T
    # LAPACK leaves the sign of an eigenvector open; fixing it makes the result reproducible.
    signs = np.sign(directions[np.arange(dim), np.abs(directions).argmax(axis=1)])
    return np.ascontiguousarray(directions * signs[:, None], dtype=np.float32)
