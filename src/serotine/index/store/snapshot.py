"""Snapshots: the state of an index at one commit, as a search reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexDamagedError
from serotine.index.files import (
    SEGMENT_FOLDER,
    Codebook,
    CodebookRecord,
    Segment,
    SegmentRecord,
    open_codebook,
)
from serotine.index.store.calibration_table import Calibration
from serotine.index.store.catalog import Catalog
from serotine.index.store.settings import Settings

# A calibration is that of the index until it has this many times the tokens.
OUTGROWN_CALIBRATION = 2


@dataclass(frozen=True, slots=True)
class SegmentView:
    """A segment with the tombstones of one commit.

    Attributes:
        segment: the open segment.
        live: bool (documents,), or None where every document is live.
        live_bits: `live` as one bit per document.
        documents: number of live documents.
    """

    segment: Segment
    live: NDArray[np.bool_] | None
    live_bits: NDArray[np.uint64] | None
    documents: int

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Document numbers, ascending, tombstones included."""
        return self.segment.numbers

    @property
    def tokens(self) -> int:
        """Number of tokens of live documents."""
        if self.live is None:
            return self.segment.record.tokens
        return int(np.diff(self.segment.offsets)[self.live].sum())

    def allowed(self, matching: NDArray[np.int64] | None) -> NDArray[np.uint64] | None:
        """Return one bit per document, set where it is live and in `matching` (ascending numbers); None for all."""
        if matching is None:
            return self.live_bits
        mask = self.mask(matching)
        return None if mask is None else _packed(mask)

    def mask(self, matching: NDArray[np.int64] | None) -> NDArray[np.bool_] | None:
        """Return `allowed` as bool (documents,)."""
        if matching is None:
            return self.live
        first, last = np.searchsorted(matching, (self.numbers[0], self.numbers[-1] + 1))
        positions = np.searchsorted(self.numbers, matching[first:last])
        positions = positions[self.numbers[np.minimum(positions, self.numbers.size - 1)] == matching[first:last]]
        mask = np.zeros(self.numbers.size, dtype=np.bool_)
        mask[positions] = True
        return mask if self.live is None else mask & self.live


def _packed(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack a mask into one bit per document, in 64-bit words."""
    padded = np.zeros(-(-mask.size // 64) * 64, dtype=np.bool_)
    padded[: mask.size] = mask
    return np.packbits(padded, bitorder="little").view("<u8")


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Snapshot:
    """The open segments and codebooks of one commit; immutable.

    Attributes:
        segments: by segment number, in the order of their documents.
        codebooks: by codebook number.
        calibration: the recall that was measured with the newest codebook, unless the index has doubled since.
        pooled_weights: of MaxSim and of the pooled vectors, where they were recorded.
        unfinished: files and folders whose update has begun but not ended: interrupted, or still running.
    """

    segments: dict[int, SegmentView]
    codebooks: dict[int, Codebook]
    calibration: Calibration | None = None
    unfinished: tuple[str, ...] = ()
    pooled_weights: tuple[float, float] | None = None

    @property
    def documents(self) -> int:
        """Number of live documents."""
        return sum(view.documents for view in self.segments.values())

    @property
    def records(self) -> list[SegmentRecord]:
        """Catalog records of the segments."""
        return [view.segment.record for view in self.segments.values()]

    def locate(self, number: int) -> tuple[Segment, int] | None:
        """Return the segment that holds a document and the document's position in it, or None."""
        for view in self.segments.values():
            position = int(np.searchsorted(view.numbers, number))
            if position < view.numbers.size and view.numbers[position] == number:
                return view.segment, position
        return None


def load_snapshot(folder: Path, catalog: Catalog, previous: Snapshot | None) -> Snapshot:
    """Read the catalog's current state; files that `previous` has open are not opened again.

    Raises:
        IndexDamagedError: a file, or a row of the catalog, is missing or damaged.
    """
    files = folder / SEGMENT_FOLDER
    with catalog.reading():
        version = catalog.version()
        catalog.require_intact_records()
        segments = catalog.segments()
        deleted = catalog.deleted()
        codebooks = catalog.codebooks()
        calibration = catalog.calibration()
        unfinished = catalog.unfinished()
        weights = None if catalog.settings.pooled is None else catalog.pooled_weights()
    if calibration is not None and not _is_current(calibration, segments, codebooks):
        calibration = None
    try:
        opened = _open(files, catalog.settings, segments, deleted, codebooks, previous or Snapshot({}, {}))
        return replace(opened, calibration=calibration, unfinished=unfinished, pooled_weights=weights)
    except IndexDamagedError:
        if catalog.version() == version:
            raise
    # Another process has committed since, and may have removed files it merged: read the newer state.
    return load_snapshot(folder, catalog, previous)


def _is_current(
    calibration: Calibration, segments: Sequence[tuple[int, SegmentRecord]], codebooks: dict[int, CodebookRecord]
) -> bool:
    newest = codebooks.get(max(codebooks, default=0))
    tokens = sum(record.tokens for _, record in segments)
    return (
        newest is not None
        and newest.file.checksum == calibration.codebook
        and tokens < OUTGROWN_CALIBRATION * calibration.tokens
    )


def _open(
    files: Path,
    settings: Settings,
    segments: Sequence[tuple[int, SegmentRecord]],
    deleted: NDArray[np.int64],
    codebooks: dict[int, CodebookRecord],
    previous: Snapshot,
) -> Snapshot:
    open_codebooks = {
        number: previous.codebooks[number]
        if number in previous.codebooks
        else open_codebook(files, record, settings.dim)
        for number, record in codebooks.items()
    }
    views: dict[int, SegmentView] = {}
    for number, record in segments:
        reused = previous.segments.get(number)
        codebook = None if record.codebook is None else open_codebooks.get(record.codebook)
        segment = reused.segment if reused else Segment(files, record, settings.dim, codebook, settings.pooled_dim)
        views[number] = _view(segment, deleted)
    ordered = sorted(views.items(), key=lambda item: int(item[1].numbers[0]))
    return Snapshot(dict(ordered), open_codebooks)


def _view(segment: Segment, deleted: NDArray[np.int64]) -> SegmentView:
    numbers = segment.numbers
    first, last = np.searchsorted(deleted, (numbers[0], numbers[-1] + 1))
    tombstones = np.isin(numbers, deleted[first:last], assume_unique=True) if last > first else None
    if tombstones is None or not tombstones.any():
        return SegmentView(segment, None, None, numbers.size)
    return SegmentView(segment, ~tombstones, _packed(~tombstones), int(numbers.size - tombstones.sum()))
