"""Two-level k-means over token vectors: a coarse layer that routes, and a fine layer that is the codebook.

Both layers use one kernel, MaxSim's fused dot product and argmax, in int8. No result depends on the number of
threads: every sum has a fixed order. Routing is described in `serotine.index.files.router`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serotine import _core
from serotine.index.files import nearest, nearest_member, route

# Steps of training: the coarse layer, the fine layer inside its cells, and two steps over the whole codebook.
STEPS = 2 + 2
_COARSE_STEPS = 6
_INNER_STEPS = 4
# Sampled tokens per coarse cell that train the coarse layer.
_COARSE_SAMPLE = 64
# Coarse cells per square root of the number of centroids.
_CELLS = 6


@dataclass(frozen=True, slots=True)
class Clusters:
    """State of a training run after one of its steps.

    Attributes:
        step: number of completed steps, out of `STEPS`.
        coarse: float32 (cells, dim).
        fine: float32 (centroids, dim); no rows before the second step.
        squares: float64 (centroids,), summed squared distances of the sample to its centroids.
        sizes: int64 (centroids,), number of sampled points per centroid.
    """

    step: int
    coarse: NDArray[np.float32]
    fine: NDArray[np.float32]
    squares: NDArray[np.float64]
    sizes: NDArray[np.int64]

    def fits(self, dim: int, count: int) -> bool:
        """Return whether steps, shapes and types are those of a run for `count` centroids: a file may be forged."""
        rows = 0 if self.step == 1 else count
        expected = {
            "coarse": ((_cells(count), dim), np.float32),
            "fine": ((rows, dim), np.float32),
            "squares": ((rows,), np.float64),
            "sizes": ((rows,), np.int64),
        }
        arrays = ((getattr(self, name), shape, dtype) for name, (shape, dtype) in expected.items())
        return 1 <= self.step <= STEPS and all(
            array.shape == shape and array.dtype == dtype for array, shape, dtype in arrays
        )


def _cells(count: int) -> int:
    """Return the number of coarse cells for `count` centroids."""
    return max(1, min(count, _CELLS * math.isqrt(count)))


def train_coarse(points: NDArray[np.float32], count: int, seed: int) -> Clusters:
    """Run the first step: train the coarse layer for `count` centroids, at most `len(points)`."""
    coarse = k_means(points, _cells(count), np.random.default_rng([seed, 0]))
    no_fine = np.empty((0, points.shape[1]), dtype=np.float32)
    return Clusters(1, coarse, no_fine, np.empty(0), np.empty(0, dtype=np.int64))


def advance(clusters: Clusters, points: NDArray[np.float32], count: int, seed: int) -> Clusters:
    """Run the next step: the fine layer cell by cell, then k-means steps over the whole codebook.

    Every step draws its own random numbers, so training interrupted after any step resumes with the same result.
    """
    rng = np.random.default_rng([seed, clusters.step])
    if clusters.step == 1:
        fine = _initial_fine(points, clusters.coarse, count, rng)
        return Clusters(2, clusters.coarse, fine, np.zeros(count), np.zeros(count, dtype=np.int64))
    ids = route(clusters.coarse, clusters.fine).assign(points)
    fine, squares, sizes = _update(points, ids, clusters.fine, rng)
    return Clusters(clusters.step + 1, clusters.coarse, fine, squares, sizes)


def k_means(points: NDArray[np.float32], cells: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return centroids, float32 (cells, dim), after a few steps of k-means on a sample of at least `cells` points."""
    sample = points
    if len(points) > cells * _COARSE_SAMPLE:
        sample = points[np.sort(rng.choice(len(points), cells * _COARSE_SAMPLE, replace=False))]
    centroids = sample[np.sort(rng.choice(len(sample), cells, replace=False))]
    for _ in range(_COARSE_STEPS):
        centroids, _, _ = _update(sample, nearest(sample, centroids), centroids, rng)
    return centroids


def _update(
    points: NDArray[np.float32], ids: NDArray[np.int32], centroids: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
    """Return means, squared distances and sizes; an empty cluster moves to a point of a crowded one."""
    means = centroids.copy()
    squares = np.empty(len(centroids), dtype=np.float64)
    sizes = np.empty(len(centroids), dtype=np.int64)
    _core.cluster_means(points, ids, means, squares, sizes)
    empty = np.flatnonzero(sizes == 0)
    if empty.size:
        weight = squares[ids]
        # Where nearly every point lies on its centroid, any point will do.
        chance = weight / weight.sum() if np.count_nonzero(weight) >= empty.size else None
        replacements = rng.choice(len(points), size=empty.size, replace=empty.size > len(points), p=chance)
        means[empty] = points[replacements]
    return means, squares, sizes


def _fine_counts(sizes: NDArray[np.int64], squares: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Share `count` fine centroids among the cells: by the root of size times spread, at least one per cell."""
    weight = np.sqrt(np.maximum(squares, 1e-12) * np.maximum(sizes, 1))
    # More centroids than points would leave some without any.
    weight = np.minimum(weight / weight.sum() * count, np.maximum(sizes, 1))
    counts: NDArray[np.int64] = np.maximum(np.floor(weight * min(1.0, count / weight.sum())).astype(np.int64), 1)
    # Rounding remainders go to the cells with the most points per centroid, or come from those with the fewest.
    while (remainder := count - int(counts.sum())) != 0:
        crowding = sizes / counts
        if remainder > 0:
            counts[np.argsort(-crowding, kind="stable")[:remainder]] += 1
        else:
            order = np.argsort(np.where(counts > 1, crowding, np.inf), kind="stable")[:-remainder]
            counts[order[counts[order] > 1]] -= 1
    return counts


def _initial_fine(
    points: NDArray[np.float32], coarse: NDArray[np.float32], count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return initial fine centroids: points of each cell, after some k-means steps inside each cell."""
    ids = nearest(points, coarse)
    cells = len(coarse)
    _, squares, sizes = _update(points, ids, coarse, rng)
    starts = np.zeros(cells + 1, dtype=np.int64)
    np.cumsum(_fine_counts(sizes, squares, count), out=starts[1:])
    order = np.argsort(ids, kind="stable")
    point_starts = np.zeros(cells + 1, dtype=np.int64)
    np.cumsum(sizes, out=point_starts[1:])
    fine = np.empty((count, points.shape[1]), dtype=np.float32)
    for cell in range(cells):
        cell_points = order[point_starts[cell] : point_starts[cell + 1]]
        size = int(starts[cell + 1] - starts[cell])
        source = cell_points if cell_points.size else np.arange(len(points))
        chosen = rng.choice(source, size=size, replace=size > source.size)
        fine[starts[cell] : starts[cell + 1]] = points[np.sort(chosen)]
    members = np.arange(count, dtype=np.int64)
    for _ in range(_INNER_STEPS):
        fine, _, _ = _update(points, nearest_member(points, ids, fine, members, starts), fine, rng)
    return fine
