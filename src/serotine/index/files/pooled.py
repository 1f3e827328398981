"""The file of a segment's pooled vectors: one float16 row per document, zeros for a document without such a vector."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.index.files.arrays import ArraysFile, ArraysWriter, FileRecord
from serotine.index.files.names import POOLED


def write_pooled(path: Path, dim: int, blocks: Iterable[NDArray[np.float16]], numbers: NDArray[np.int64]) -> FileRecord:
    """Write the pooled vectors of documents, in blocks of float16 (documents, dim), and the documents' numbers."""
    with ArraysWriter(path, POOLED) as writer:
        writer.append(POOLED, np.empty((0, dim), dtype=np.float16))
        for block in blocks:
            writer.append(POOLED, block)
        writer.append("numbers", numbers)
    return writer.record


def pooled_vectors(file: ArraysFile, dim: int, numbers: NDArray[np.int64]) -> NDArray[np.float16]:
    """Return the pooled vectors of a segment's documents, float16 (documents, dim), as a view of an open file.

    Raises:
        ValueError, KeyError: they are of other documents, or of another shape.
    """
    vectors = file.arrays[POOLED]
    if vectors.shape != (numbers.size, dim) or vectors.dtype != np.float16:
        raise ValueError(f"pooled vectors of shape {vectors.shape}")
    if not np.array_equal(file.arrays["numbers"], numbers):
        raise ValueError("pooled vectors of other documents")
    return vectors
