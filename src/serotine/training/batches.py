"""Batch samplers: examples of one source, of similar length and, with topics, of one topic; determined by seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler, MultiDatasetDefaultBatchSampler

from serotine.errors import TrainingError

# Batches per pool: examples are sorted by length within a pool, and each epoch draws other pools.
_POOL = 32
# Per pool of one topic: larger pools would give a topic the same batches in every epoch.
_TOPIC_POOL = 4


class LengthGroupedBatches(DefaultBatchSampler):
    """Batches of examples of similar length.

    Args:
        dataset: text columns.
        batch_size: examples per batch; a smaller last batch is dropped.
        drop_last, valid_label_columns, generator: of sentence-transformers' interface.
        seed: determines the batches, together with the epoch.
        unique_texts: whether no text may occur twice in a batch: where other examples' documents are negatives, a
            repeated positive would be a false negative.
        topics: int (examples,), indexed by the label column: each batch is of one topic; the examples left over from
            each topic form mixed batches.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
        *,
        unique_texts: bool = True,
        topics: NDArray[np.int32] | None = None,
    ) -> None:
        super().__init__(dataset, batch_size, drop_last, valid_label_columns, generator, seed)
        self.dataset = dataset
        self._unique_texts = unique_texts
        self._topics = None if topics is None else topics[np.array(dataset["label"])]
        names = [column for column in dataset.column_names if column not in (valid_label_columns or [])]
        columns = [list(dataset[column]) for column in names]
        self._lengths = np.max([[len(text) for text in column] for column in columns], axis=0)
        ids: dict[str, int] = {}
        self._text_ids = np.array([[ids.setdefault(text, len(ids)) for text in column] for column in columns]).T

    def __len__(self) -> int:
        return len(self._lengths) // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self._lengths))
        batches: list[list[int]] = []
        if self._topics is not None:
            leftovers = []
            for topic in range(int(self._topics.max()) + 1):
                members = order[self._topics[order] == topic]
                whole = len(members) // self.batch_size * self.batch_size
                batches += self._length_grouped(members[:whole], _TOPIC_POOL)
                leftovers.append(members[whole:])
            order = rng.permutation(np.concatenate(leftovers))
        batches += self._length_grouped(order, _POOL)
        for position in rng.permutation(len(batches)):
            yield batches[position]

    def _length_grouped(self, order: NDArray[np.int64], pool_batches: int) -> list[list[int]]:
        batches = []
        for start in range(0, len(order), pool_batches * self.batch_size):
            pool = order[start : start + pool_batches * self.batch_size]
            batches += self._split(pool[np.argsort(self._lengths[pool], kind="stable")])
        return batches

    def _split(self, order: NDArray[np.int64]) -> list[list[int]]:
        """Return full batches of neighbors; an example that repeats a text of the batch is deferred to the next."""
        batches: list[list[int]] = []
        remaining = [int(i) for i in order]
        while len(remaining) >= self.batch_size:
            batch: list[int] = []
            batch_texts: set[int] = set()
            deferred: list[int] = []
            for position, i in enumerate(remaining):
                texts = set(map(int, self._text_ids[i]))
                if not self._unique_texts or batch_texts.isdisjoint(texts):
                    batch.append(i)
                    batch_texts |= texts
                    if len(batch) == self.batch_size:
                        deferred += remaining[position + 1 :]
                        break
                else:
                    deferred.append(i)
            if len(batch) < self.batch_size:
                break
            batches.append(batch)
            remaining = deferred
        return batches


class MixedSources(MultiDatasetDefaultBatchSampler):
    """A fixed number of batches, each from one source, sampled by the sources' weight times their size to a power.

    Args:
        dataset: the concatenated sources.
        batch_samplers: one per source.
        generator: of sentence-transformers' interface.
        seed: determines the order of the sources.
        steps: number of batches.
        exponent: 0 samples sources uniformly, 1 by size.
        weights: of the sources; all the same by default.
    """

    def __init__(
        self,
        dataset: Any,
        batch_samplers: list[Any],
        generator: torch.Generator | None = None,
        seed: int = 0,
        *,
        steps: int,
        exponent: float,
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(dataset, batch_samplers, generator, seed)
        self._steps = steps
        sizes = np.array([len(source) for source in dataset.datasets], dtype=np.float64)
        shares = sizes**exponent * (1.0 if weights is None else np.array(weights))
        self._shares = shares / shares.sum()
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        endless = [self._repeat(sampler) for sampler in self.batch_samplers]
        for source in rng.choice(len(endless), size=self._steps, p=self._shares):
            start = int(self._starts[source])
            yield [start + i for i in next(endless[source])]

    def _repeat(self, sampler: Any) -> Iterator[list[int]]:
        epoch = 0
        while True:
            sampler.set_epoch(self.epoch * 1_000_000 + epoch)
            empty = True
            for batch in sampler:
                empty = False
                yield batch
            if empty:
                raise TrainingError(
                    f"a source of {len(sampler.dataset):,} examples has too few different texts for batches of "
                    f"{sampler.batch_size}; lower batch_size or remove the source"
                )
            epoch += 1
