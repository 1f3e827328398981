"""A snapshot: everything one search reads, as it was at one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexDamagedError
from serotine.index.files.codebook import Codebook, CodebookRecord, open_codebook
from serotine.index.files.segment import SEGMENT_FOLDER, Segment, SegmentRecord
from serotine.index.store.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Part:
    """One segment with what the catalog said of its documents.

    Attributes:
        segment: the open files.
        live: bool (documents,), or None where every document is.
        bits: the same, one bit a document.
        documents: how many are live.
    """

    segment: Segment
    live: NDArray[np.bool_] | None
    bits: NDArray[np.uint64] | None
    documents: int

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Document numbers, rising, deleted ones included."""
        return self.segment.numbers

    def allowed(self, matching: NDArray[np.int64] | None) -> NDArray[np.uint64] | None:
        """One bit a document, for those live and among `matching` (rising numbers); None where that is all of them."""
        if matching is None:
            return self.bits
        first, last = np.searchsorted(matching, (self.numbers[0], self.numbers[-1] + 1))
        places = np.searchsorted(self.numbers, matching[first:last])
        places = places[self.numbers[np.minimum(places, self.numbers.size - 1)] == matching[first:last]]
        chosen = np.zeros(self.numbers.size, dtype=np.bool_)
        chosen[places] = True
        return _packed(chosen if self.live is None else chosen & self.live)


def _packed(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """One bit a document, in whole words."""
    padded = np.zeros(-(-mask.size // 64) * 64, dtype=np.bool_)
    padded[: mask.size] = mask
    return np.packbits(padded, bitorder="little").view("<u8")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The segments and documents of one catalog state; never changes.

    Attributes:
        parts: by segment number, in the order of the documents they hold.
        codebooks: by codebook number.
    """

    parts: dict[int, Part]
    codebooks: dict[int, Codebook]

    @property
    def documents(self) -> int:
        """Live documents."""
        return sum(part.documents for part in self.parts.values())

    @property
    def records(self) -> list[SegmentRecord]:
        """What the catalog says of the segments."""
        return [part.segment.record for part in self.parts.values()]

    def place(self, number: int) -> tuple[Segment, int] | None:
        """Where a document's tokens are: its segment and its position there."""
        for part in self.parts.values():
            position = int(np.searchsorted(part.numbers, number))
            if position < part.numbers.size and part.numbers[position] == number:
                return part.segment, position
        return None


def load_snapshot(folder: Path, catalog: Catalog, previous: Snapshot | None) -> Snapshot:
    """Reads the catalog's present state; files that `previous` has open are not opened again.

    Raises:
        IndexDamagedError: a file is missing or damaged.
        FileNotFoundError: never: a file that a writer has removed meanwhile means another attempt, by the caller.
    """
    files = folder / SEGMENT_FOLDER
    with catalog.reading():
        version = catalog.version()
        records = catalog.segments()
        deleted = catalog.deleted()
        known = catalog.codebooks()
    try:
        return _open(files, records, deleted, known, catalog, previous)
    except IndexDamagedError:
        if catalog.version() == version:
            raise
    # Another process has committed since, and may have removed what it merged: what it says now is there.
    return load_snapshot(folder, catalog, previous)


def _open(
    files: Path,
    records: Sequence[tuple[int, SegmentRecord]],
    deleted: NDArray[np.int64],
    known: dict[int, CodebookRecord],
    catalog: Catalog,
    previous: Snapshot | None,
) -> Snapshot:
    dim = catalog.settings.dim
    had_books = previous.codebooks if previous else {}
    codebooks = {
        number: had_books[number] if number in had_books else open_codebook(files, record, dim)
        for number, record in known.items()
    }
    had_parts = previous.parts if previous else {}
    parts: dict[int, Part] = {}
    for number, record in records:
        had = had_parts.get(number)
        book = None if record.codebook is None else codebooks.get(record.codebook)
        segment = had.segment if had else Segment(files, record, dim, book)
        parts[number] = _part(segment, deleted)
    ordered = sorted(parts.items(), key=lambda item: int(item[1].numbers[0]))
    return Snapshot(dict(ordered), codebooks)


def _part(segment: Segment, deleted: NDArray[np.int64]) -> Part:
    numbers = segment.numbers
    first, last = np.searchsorted(deleted, (numbers[0], numbers[-1] + 1))
    gone = np.isin(numbers, deleted[first:last], assume_unique=True) if last > first else None
    if gone is None or not gone.any():
        return Part(segment, None, None, numbers.size)
    return Part(segment, ~gone, _packed(~gone), int(numbers.size - gone.sum()))
