"""What examples are about, so that the documents of a batch can be about one thing (Hofstätter et al. 2021, TAS-B)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from serotine.index.growth.kmeans import k_means, nearest
from serotine.training.examples import Example


def topics(
    rows: list[Example], documents: Mapping[str, NDArray[np.float32]], count: int, seed: int
) -> NDArray[np.int32]:
    """The topic of every example: k-means of the teacher's mean vector of its first document.

    Among documents about anything a teacher's order says little: nearly all of them are simply wrong. Among those of
    one topic it tells better from worse.

    Args:
        rows: the examples; at least `count`.
        documents: the teacher's vectors.
        count: topics.
        seed: decides where k-means begins.

    Returns:
        int32 (examples,), from 0.
    """
    means = np.stack([documents[row.documents[0]].mean(axis=0) for row in rows])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    return nearest(means, k_means(means, count, np.random.default_rng(seed)))
