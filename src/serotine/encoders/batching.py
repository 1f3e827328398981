"""Batches within a token budget, of texts of similar length, so that little of a batch is padding; and padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from serotine.errors import invalid


def check_budget(batch_tokens: int | None) -> None:
    """Raise ValueError for a number of tokens of a batch below 1."""
    if batch_tokens is not None and batch_tokens < 1:
        raise invalid("batch_tokens", "at least 1", batch_tokens)


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Group items so that (items) x (longest item) stays within `budget`.

    Args:
        lengths: tokens of each item.
        budget: most tokens of a batch, padding included; a single longer item is a batch by itself.

    Yields:
        Item numbers, longest first, so that memory peaks at once and the progress shown never slows down.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def pad(
    ids: Sequence[NDArray[np.int64]], attention: Sequence[NDArray[np.bool_]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids and attention of several texts as two int64 arrays (texts, tokens), filled up with zeros."""
    length = max(map(len, ids))
    padded_ids = np.zeros((len(ids), length), dtype=np.int64)
    padded_attention = np.zeros((len(ids), length), dtype=np.int64)
    for row, (text_ids, text_attention) in enumerate(zip(ids, attention, strict=True)):
        padded_ids[row, : len(text_ids)] = text_ids
        padded_attention[row, : len(text_ids)] = text_attention
    return padded_ids, padded_attention
