"""Which examples go into a batch: of one source, of like length and, where asked for, of one topic; all from seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler, MultiDatasetDefaultBatchSampler

from serotine.errors import TrainingError

# Texts are sorted by length within so many batches: like lengths meet, and still every pass mixes them anew.
_POOL = 32
# And within so many of one topic: more, and batches would be the same in every pass for longer topics too.
_TOPIC_POOL = 4


class LengthGroupedBatches(DefaultBatchSampler):
    """Batches of like length.

    Args:
        dataset: text columns.
        batch_size: examples a batch; a last batch with fewer is left out.
        drop_last, valid_label_columns, generator: of sentence-transformers' interface.
        seed: with the pass's number it decides everything.
        apart: whether no text may stand twice in a batch: where others' documents are negatives, a repeated positive
            would be a false one.
        topics: int (examples,), by the number in the label column: batches are of one topic, and what is left of each
            makes mixed ones.
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
        apart: bool = True,
        topics: NDArray[np.int32] | None = None,
    ) -> None:
        super().__init__(dataset, batch_size, drop_last, valid_label_columns, generator, seed)
        self.dataset = dataset
        self._apart = apart
        self._topics = None if topics is None else topics[np.array(dataset["label"])]
        texts = [column for column in dataset.column_names if column not in (valid_label_columns or [])]
        columns = [list(dataset[column]) for column in texts]
        self._lengths = np.max([[len(text) for text in column] for column in columns], axis=0)
        ids: dict[str, int] = {}
        self._texts = np.array([[ids.setdefault(text, len(ids)) for text in column] for column in columns]).T

    def __len__(self) -> int:
        return len(self._lengths) // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self._lengths))
        batches: list[list[int]] = []
        if self._topics is not None:
            left = []
            for topic in range(int(self._topics.max()) + 1):
                members = order[self._topics[order] == topic]
                whole = len(members) // self.batch_size * self.batch_size
                batches += self._of_like_length(members[:whole], _TOPIC_POOL)
                left.append(members[whole:])
            order = rng.permutation(np.concatenate(left))
        batches += self._of_like_length(order, _POOL)
        for place in rng.permutation(len(batches)):
            yield batches[place]

    def _of_like_length(self, order: NDArray[np.int64], pool: int) -> list[list[int]]:
        batches = []
        for start in range(0, len(order), pool * self.batch_size):
            part = order[start : start + pool * self.batch_size]
            batches += self._cut(part[np.argsort(self._lengths[part], kind="stable")])
        return batches

    def _cut(self, order: NDArray[np.int64]) -> list[list[int]]:
        """Full batches of neighbours; an example whose texts stand in the batch already waits for the next."""
        batches: list[list[int]] = []
        waiting = [int(i) for i in order]
        while len(waiting) >= self.batch_size:
            batch: list[int] = []
            seen: set[int] = set()
            later: list[int] = []
            for place, i in enumerate(waiting):
                texts = set(map(int, self._texts[i]))
                if not self._apart or seen.isdisjoint(texts):
                    batch.append(i)
                    seen |= texts
                    if len(batch) == self.batch_size:
                        later += waiting[place + 1 :]
                        break
                else:
                    later.append(i)
            if len(batch) < self.batch_size:
                break
            batches.append(batch)
            waiting = later
        return batches


class MixedSources(MultiDatasetDefaultBatchSampler):
    """A fixed number of batches, each of one source, drawn in proportion to the sources' size to a power.

    Args:
        dataset: the sources, one after the other.
        batch_samplers: of every source.
        generator: of sentence-transformers' interface.
        seed: decides the order.
        steps: how many batches.
        power: 0 draws from all alike, 1 by size.
    """

    def __init__(
        self,
        dataset: Any,
        batch_samplers: list[Any],
        generator: torch.Generator | None = None,
        seed: int = 0,
        *,
        steps: int,
        power: float,
    ) -> None:
        super().__init__(dataset, batch_samplers, generator, seed)
        self._steps = steps
        sizes = np.array([len(part) for part in dataset.datasets], dtype=np.float64)
        self._shares = sizes**power / (sizes**power).sum()
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
        number = 0
        while True:
            sampler.set_epoch(self.epoch * 1_000_000 + number)
            empty = True
            for batch in sampler:
                empty = False
                yield batch
            if empty:
                raise TrainingError(
                    f"a source of {len(sampler.dataset):,} examples has too few different texts for batches of "
                    f"{sampler.batch_size}; lower batch_size or leave it out"
                )
            number += 1
