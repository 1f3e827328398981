"""Training a codebook: from a sample of stored tokens to a file, in steps that a killed process need not repeat."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.index.files import durable
from serotine.index.files.arrays import ArraysFile, ArraysWriter, FileRecord
from serotine.index.files.codebook import Codebook, CodebookRecord, quantise
from serotine.index.files.segment import SEGMENT_FOLDER, Segment
from serotine.index.growth import kmeans
from serotine.index.growth.kmeans import Clusters

SEED = 42
CHECKPOINT_FILE = "training.checkpoint"
_KIND = "training"
# Tokens on which the error of a codebook is measured.
MEASURED = 8192
# Trained only from so many centroids on does a step take long enough to be worth a file.
_WORTH_KEEPING = 4096


def sample(segments: list[Segment], count: int, dim: int) -> NDArray[np.float32]:
    """`count` tokens drawn from segments, float32 (count, dim), in their order; all of them if there are fewer.

    Where vectors are not kept, what the codes rebuild stands for them.
    """
    total = sum(segment.record.tokens for segment in segments)
    rng = np.random.default_rng([SEED, total])
    chosen = np.arange(total) if count >= total else np.sort(rng.choice(total, size=count, replace=False))
    out = np.empty((len(chosen), dim), dtype=np.float32)
    start = done = 0
    for segment in segments:
        end = start + segment.record.tokens
        here = chosen[done : np.searchsorted(chosen, end)] - start
        out[done : done + len(here)] = segment.tokens(here)
        start, done = end, done + len(here)
    return out


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
    """Trains a codebook for a collection of `tokens` on sampled points, and writes it to `path`.

    `tick` is called after each of `kmeans.STEPS`.

    What a process that was killed had finished is found again, where it trained on the same sample.
    """
    centroids = min(centroids, len(points))
    checkpoint = _Checkpoint(folder, points, centroids)
    clusters = checkpoint.load() or kmeans.begin(points, centroids, SEED)
    for _ in range(clusters.step):
        tick()
    while clusters.step < kmeans.STEPS:
        checkpoint.save(clusters)
        clusters = kmeans.advance(clusters, points, centroids, SEED)
        tick()
    codes, scales = quantise(clusters.fine, clusters.squares, clusters.sizes)
    book = Codebook(codes, scales, clusters.coarse)
    some = np.sort(np.random.default_rng([SEED, 1]).permutation(len(points))[:MEASURED])
    book.usual_error = book.mean_error(points[some], bits)
    record = book.write(path)
    checkpoint.remove()
    return CodebookRecord(record, centroids, tokens)


class _Checkpoint:
    def __init__(self, folder: Path, points: NDArray[np.float32], centroids: int) -> None:
        self._path = folder / SEGMENT_FOLDER / CHECKPOINT_FILE
        self._worth = centroids >= _WORTH_KEEPING
        self._key = ""
        if self._worth:
            digest = hashlib.blake2b(points.data, digest_size=16)
            self._key = f"{digest.hexdigest()} {points.shape} {centroids} {kmeans.STEPS}"

    def load(self) -> Clusters | None:
        if not self._worth or not self._path.exists():
            return None
        file = ArraysFile(self._path, FileRecord(self._path.name, self._path.stat().st_size, ""), _KIND)
        if file.attributes["key"] != self._key:
            return None
        arrays = {name: np.array(array) for name, array in file.arrays.items()}
        return Clusters(
            file.attributes["step"],
            arrays["coarse"],
            arrays["fine"],
            arrays["squares"].view(np.float64),
            arrays["sizes"],
        )

    def save(self, clusters: Clusters) -> None:
        if not self._worth:
            return
        with ArraysWriter(self._path, _KIND) as writer:
            writer.append("coarse", clusters.coarse)
            writer.append("fine", clusters.fine)
            # The file knows no float64: its bits travel as integers.
            writer.append("squares", clusters.squares.view(np.uint64))
            writer.append("sizes", clusters.sizes)
            writer.attributes = {"key": self._key, "step": clusters.step}

    def remove(self) -> None:
        durable.remove(self._path)
