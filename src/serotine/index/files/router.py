"""Nearest centroids of token vectors, by brute force or through a coarse layer.

Brute force over K centroids costs K dot products per token. A `Router` first sends a token to the nearest of about 6
sqrt(K) coarse cells, then compares it with the 8 sqrt(K) fine centroids nearest to that cell: for K = 16,384, 1,792
dot products, with squared errors 5% above brute force over the same codebook. With 4 sqrt(K) these are 6% above it, and
so is the codebook trained by them 2% worse (1.7 million tokens of serotine-mini).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serotine import _core

# Fine centroids a token is compared with, per square root of the number of centroids, and their minimum.
_COMPARED = 8
_MIN_COMPARED = 256
_CELLS_PER_BLOCK = 64


@dataclass(frozen=True, slots=True)
class Router:
    """Assignment of tokens to their nearest centroids through coarse cells.

    Attributes:
        coarse: float32 (cells, dim).
        fine: float32 (centroids, dim).
        members: int64, the fine centroids that each cell's tokens are compared with, cell after cell.
        starts: int64 (cells + 1,), where each cell's members begin.
    """

    coarse: NDArray[np.float32]
    fine: NDArray[np.float32]
    members: NDArray[np.int64]
    starts: NDArray[np.int64]

    def assign(self, points: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return the centroid of every point, int32 (points,)."""
        return nearest_member(points, nearest(points, self.coarse), self.fine, self.members, self.starts)


def nearest(points: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the nearest centroid of every point, int32 (points,), by brute force."""
    cells = np.zeros(len(points), dtype=np.int32)
    members = np.arange(len(centroids), dtype=np.int64)
    return nearest_member(points, cells, centroids, members, np.array([0, len(centroids)], dtype=np.int64))


def nearest_member(
    points: NDArray[np.float32],
    cells: NDArray[np.int32],
    centroids: NDArray[np.float32],
    members: NDArray[np.int64],
    starts: NDArray[np.int64],
) -> NDArray[np.int32]:
    """Return the nearest centroid of every point among the members of its cell, int32 (points,)."""
    order = np.argsort(cells, kind="stable").astype(np.int64, copy=False)
    group_starts = np.zeros(starts.size, dtype=np.int64)
    np.cumsum(np.bincount(cells, minlength=starts.size - 1), out=group_starts[1:])
    ids = np.empty(len(points), dtype=np.int32)
    _core.nearest(points, order, group_starts, centroids, members, starts, ids)
    return ids


def route(coarse: NDArray[np.float32], fine: NDArray[np.float32]) -> Router:
    """Build a router that gives every cell the fine centroids nearest to it."""
    cells, count = len(coarse), len(fine)
    width = min(count, max(_COMPARED * math.isqrt(count), _MIN_COMPARED))
    members = np.empty((cells, width), dtype=np.int64)
    half_norms = 0.5 * np.einsum("ij,ij->i", fine, fine)
    for start in range(0, cells, _CELLS_PER_BLOCK):
        distances = half_norms - coarse[start : start + _CELLS_PER_BLOCK] @ fine.T
        members[start : start + _CELLS_PER_BLOCK] = np.argpartition(distances, width - 1, axis=1)[:, :width]
    members.sort(axis=1)
    return Router(coarse, fine, members.ravel(), np.arange(cells + 1, dtype=np.int64) * width)
