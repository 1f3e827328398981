"""Topics of examples, so that a batch can hold documents of one topic (TAS-B, Hofstätter et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serotine.index import k_means, nearest
from serotine.training.examples import Example


def assign_topics(
    examples: Sequence[Example], document_vectors: Mapping[str, NDArray[np.float32]], count: int, seed: int
) -> NDArray[np.int32]:
    """Return the topic of every example: k-means of the teacher's mean vector of its positive.

    A teacher's order of documents on any subject says little, as nearly all are irrelevant; its order within one topic
    separates good from better.

    Args:
        examples: at least `count`.
        document_vectors: the teacher's, by text.
        count: number of topics.
        seed: of k-means.

    Returns:
        int32 (examples,), from 0.
    """
    means = np.stack([document_vectors[example.read_by_teacher.documents[0]].mean(axis=0) for example in examples])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    return nearest(means, k_means(means, count, np.random.default_rng(seed)))
