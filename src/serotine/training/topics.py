"""Topics of examples, so that a batch can hold documents of one topic (TAS-B, Hofstätter et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.index import k_means, nearest
from serotine.training.examples import Example


def assign_topics(
    examples: Sequence[Example], tokenizer: Any, embeddings: NDArray[np.float32], count: int, seed: int
) -> NDArray[np.int32]:
    """Return the topic of every example: k-means of what its positive, as the teacher reads it, is about.

    A teacher's order of documents on any subject says little, as nearly all are irrelevant; its order within one topic
    separates good from better. A text is the mean of its tokens' word embeddings, rare tokens weighing more, less the
    mean of all texts. No text passes through a model, so a stage starts at once however many examples it has.

    Args:
        examples: at least `count`.
        tokenizer: the student's, of transformers.
        embeddings: the student's word embeddings, (vocabulary, dim).
        count: number of topics.
        seed: of k-means.

    Returns:
        int32 (examples,), from 0.
    """
    positives = [example.read_by_teacher.documents[0] for example in examples]
    positions = {text: position for position, text in enumerate(dict.fromkeys(positives))}
    vectors = _text_vectors(list(positions), tokenizer, embeddings)[[positions[text] for text in positives]]
    return nearest(vectors, k_means(vectors, count, np.random.default_rng(seed)))


def _text_vectors(texts: list[str], tokenizer: Any, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    tokens = [
        np.array(ids, dtype=np.int64)
        for ids in tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    ]
    frequencies = np.bincount(np.concatenate([np.unique(ids) for ids in tokens]), minlength=len(embeddings))
    weights = np.log(len(texts) / np.maximum(frequencies, 1)).astype(np.float32)
    vectors = _normalized(np.stack([weights[ids] @ embeddings[ids] for ids in tokens]))
    return _normalized(vectors - vectors.mean(axis=0))


def _normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
