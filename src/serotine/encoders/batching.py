"""Batches within a token budget, of texts of similar length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


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
