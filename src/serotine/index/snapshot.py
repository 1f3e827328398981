"""A snapshot: everything one search reads, as it was at one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.errors import IndexDamagedError
from serotine.index.catalog import Catalog
from serotine.index.segment import Segment, SegmentRecord

SEGMENT_FOLDER = "segments"


@dataclass(frozen=True, slots=True)
class Part:
    """One segment with what the catalog said of its documents.

    Attributes:
        segment: the open file.
        numbers: int64 (documents,), the catalog's document numbers, rising.
        live: bool (documents,).
        documents: how many are live.
        tokens: the token vectors of those.
    """

    segment: Segment
    numbers: NDArray[np.int64]
    live: NDArray[np.bool_]
    documents: int
    tokens: int

    def without(self, deleted: Sequence[int]) -> Part:
        """The same with these positions not live, which must include those that are not live now."""
        live = np.ones(self.numbers.size, dtype=np.bool_)
        live[list(deleted)] = False
        tokens = int(np.diff(self.segment.offsets)[live].sum())
        return Part(self.segment, self.numbers, live, self.numbers.size - len(deleted), tokens)


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
        return sum(part.documents for part in self.parts.values())

    def rank(self, query: NDArray[np.float32], k: int) -> Ranking:
        """Scores every live document exactly and returns the k best, ties to the one added first."""
        scores: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)]
        numbers: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
        documents = tokens = 0
        for part in self.parts.values():
            if not part.documents:
                continue
            best, places = maxsim.top_k(query, part.segment.vectors, part.segment.offsets, k, keep=part.live)
            scores.append(best)
            numbers.append(part.numbers[places])
            documents += part.documents
            tokens += part.tokens
        every_score, every_number = np.concatenate(scores), np.concatenate(numbers)
        order = np.lexsort((every_number, -every_score))[:k]
        return Ranking(every_score[order], every_number[order], documents, tokens)


def load_snapshot(folder: Path, catalog: Catalog, previous: Snapshot | None) -> Snapshot:
    """Reads the catalog's present state; of what `previous` has, only the deletions are read again."""
    parts: dict[int, Part] = {}
    files = folder / SEGMENT_FOLDER
    with catalog.reading():
        deleted = catalog.deleted()
        for number, record in catalog.segments():
            part = previous.parts.get(number) if previous else None
            if part is None:
                part = _load_part(files / record.file, catalog, number, record)
            gone = deleted.get(number, [])
            if gone and not 0 <= min(gone) <= max(gone) < record.documents:
                raise _mismatch(files / record.file, record)
            # Deletions are never taken back: as many are the same ones.
            parts[number] = part if len(gone) == record.documents - part.documents else part.without(gone)
    return Snapshot(parts)


def _load_part(path: Path, catalog: Catalog, number: int, record: SegmentRecord) -> Part:
    segment = Segment(path, record, catalog.settings.dim)
    positions, numbers = catalog.places(number)
    if not np.array_equal(positions, np.arange(record.documents)):
        raise _mismatch(path, record)
    return Part(segment, numbers, np.ones(numbers.size, dtype=np.bool_), record.documents, record.tokens)


def _mismatch(path: Path, record: SegmentRecord) -> IndexDamagedError:
    return IndexDamagedError(
        f"{path}: the catalog's documents are not the {record.documents:,} this segment holds; "
        "restore the index from a backup"
    )
