"""Training of a codebook: from a sample of stored tokens to a file, in steps that a killed process need not repeat."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexDamagedError
from serotine.index.files import (
    CHECKPOINT_FILE,
    MALFORMED,
    SEGMENT_FOLDER,
    ArraysFile,
    ArraysWriter,
    Codebook,
    CodebookRecord,
    FileRecord,
    Segment,
    durable,
    quantize,
)
from serotine.index.growth import kmeans
from serotine.index.growth.kmeans import Clusters

SEED = 42
_KIND = "training"
# Tokens on which the error of a codebook is measured.
MEASURED = 8192
# Centroids that make a checkpoint pay: below, a step takes less time than writing the file.
_MIN_CHECKPOINT = 4096


def sample(segments: list[Segment], count: int, dim: int) -> NDArray[np.float32]:
    """Draw `count` tokens from segments, or all if there are fewer, float32 (tokens, dim), in their order.

    Where vectors are not stored, the vectors rebuilt from the codes are used.
    """
    total = sum(segment.record.tokens for segment in segments)
    rng = np.random.default_rng([SEED, total])
    chosen = np.arange(total) if count >= total else np.sort(rng.choice(total, size=count, replace=False))
    points = np.empty((len(chosen), dim), dtype=np.float32)
    start = drawn = 0
    for segment in segments:
        end = start + segment.record.tokens
        rows = chosen[drawn : np.searchsorted(chosen, end)] - start
        points[drawn : drawn + len(rows)] = segment.tokens(rows)
        start, drawn = end, drawn + len(rows)
    return points


def train(
    folder: Path,
    path: Path,
    points: NDArray[np.float32],
    *,
    centroids: int,
    tokens: int,
    bits: int,
    tick: Callable[[], None],
) -> CodebookRecord:
    """Train a codebook for a collection of `tokens` on sampled points, and write it to `path`.

    A run that was killed resumes from its checkpoint, if it trained on the same sample.

    Args:
        folder: the index's folder, for the checkpoint.
        path: the codebook's file.
        points: float32 (tokens, dim).
        centroids: number of centroids, at most one per point.
        tokens: number of tokens to record.
        bits: bits per dimension at which the error is measured.
        tick: called after each of `kmeans.STEPS`.
    """
    centroids = min(centroids, len(points))
    checkpoint = _Checkpoint(folder, points, centroids)
    clusters = checkpoint.load() or kmeans.train_coarse(points, centroids, SEED)
    for _ in range(clusters.step):
        tick()
    while clusters.step < kmeans.STEPS:
        checkpoint.save(clusters)
        clusters = kmeans.advance(clusters, points, centroids, SEED)
        tick()
    codes, scales = quantize(clusters.fine, clusters.squares, clusters.sizes)
    codebook = Codebook(codes, scales, clusters.coarse)
    measured = np.sort(np.random.default_rng([SEED, 1]).permutation(len(points))[:MEASURED])
    codebook.training_error = codebook.mean_error(points[measured], bits)
    record = codebook.write(path)
    checkpoint.remove()
    return CodebookRecord(record, centroids, tokens)


class _Checkpoint:
    """The file that holds the clusters of an unfinished training run."""

    def __init__(self, folder: Path, points: NDArray[np.float32], centroids: int) -> None:
        self._path = folder / SEGMENT_FOLDER / CHECKPOINT_FILE
        self._enabled = centroids >= _MIN_CHECKPOINT
        self._key = ""
        self._shape = points.shape[1], centroids
        if self._enabled:
            digest = hashlib.blake2b(points.data, digest_size=16)
            self._key = f"{digest.hexdigest()} {points.shape} {centroids} {kmeans.STEPS}"

    def load(self) -> Clusters | None:
        if not self._enabled or not self._path.exists():
            return None
        # Of another sample, or damaged: training starts again.
        with suppress(IndexDamagedError, *MALFORMED):
            file = ArraysFile(self._path, FileRecord(self._path.name, self._path.stat().st_size, ""), _KIND)
            arrays = {name: np.array(array) for name, array in file.arrays.items()}
            step = int(file.attributes["step"])
            if (file.attributes["key"], file.attributes["checksum"]) == (self._key, _checksum(step, arrays)):
                squares = arrays["squares"].view(np.float64)
                clusters = Clusters(step, arrays["coarse"], arrays["fine"], squares, arrays["sizes"])
                return clusters if clusters.fits(*self._shape) else None
        return None

    def save(self, clusters: Clusters) -> None:
        if not self._enabled:
            return
        arrays: dict[str, NDArray[Any]] = {
            "coarse": clusters.coarse,
            "fine": clusters.fine,
            # The format has no float64: the bits are stored as integers.
            "squares": clusters.squares.view(np.uint64),
            "sizes": clusters.sizes,
        }
        with ArraysWriter(self._path, _KIND) as writer:
            for name, array in arrays.items():
                writer.append(name, array)
            # The catalog does not record this file.
            checksum = _checksum(clusters.step, arrays)
            writer.attributes = {"key": self._key, "step": clusters.step, "checksum": checksum}

    def remove(self) -> None:
        durable.remove(self._path)


def _checksum(step: int, arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.blake2b(f"{step}".encode(), digest_size=16)
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
