"""A snapshot: everything one search reads, as it was at one commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.errors import IndexDamagedError
from serotine.index.catalog import Catalog
from serotine.index.segment import Segment

SEGMENT_FOLDER = "segments"


@dataclass(frozen=True, slots=True)
class Part:
    """One segment with what the catalog said of its documents.

    Attributes:
        segment: the open file.
        numbers: int64 (documents,), the catalog's document numbers, rising.
        live: bool (documents,).
    """

    segment: Segment
    numbers: NDArray[np.int64]
    live: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best documents of one query: scores float32 and document numbers, best first; and what was looked at."""

    scores: NDArray[np.float32]
    numbers: NDArray[np.int64]
    documents: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The segments and documents of one catalog state; never changes."""

    parts: dict[int, Part]

    @property
    def documents(self) -> int:
        """Live documents."""
        return sum(int(np.count_nonzero(part.live)) for part in self.parts.values())

    def rank(self, query: NDArray[np.float32], k: int) -> Ranking:
        """Scores every live document exactly and returns the k best, ties to the one added first."""
        scores: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)]
        numbers: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
        documents = tokens = 0
        for part in self.parts.values():
            kept = int(np.count_nonzero(part.live))
            if not kept:
                continue
            best, places = maxsim.top_k(query, part.segment.vectors, part.segment.offsets, k, keep=part.live)
            scores.append(best)
            numbers.append(part.numbers[places])
            documents += kept
            tokens += int(np.diff(part.segment.offsets)[part.live].sum())
        every_score, every_number = np.concatenate(scores), np.concatenate(numbers)
        order = np.lexsort((every_number, -every_score))[:k]
        return Ranking(every_score[order], every_number[order], documents, tokens)


def load_snapshot(folder: Path, catalog: Catalog, previous: Snapshot | None) -> Snapshot:
    """Reads the catalog's present state; segments that `previous` has open are not opened again."""
    parts: dict[int, Part] = {}
    files = folder / SEGMENT_FOLDER
    with catalog.reading():
        for number, record in catalog.segments():
            known = previous.parts.get(number) if previous else None
            segment = known.segment if known else Segment(files / record.file, record, catalog.settings.dim)
            positions, numbers, live = catalog.places(number)
            if not np.array_equal(positions, np.arange(record.documents)):
                raise IndexDamagedError(
                    f"{folder}: the catalog's documents of {record.file} are not the {record.documents:,} it holds; "
                    "restore the index from a backup"
                )
            parts[number] = Part(segment, numbers, live)
    return Snapshot(parts)
