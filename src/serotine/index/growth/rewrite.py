"""Rewriting segments: vectors into codes, and several segments into one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.index.files.arrays import ArraysWriter, FileRecord
from serotine.index.files.codebook import Codebook, Codes, id_type, row_bytes
from serotine.index.files.segment import (
    CODES,
    VECTORS,
    SegmentRecord,
    append_places,
    append_postings,
)
from serotine.index.store import creation
from serotine.index.store.snapshot import Part

# Tokens encoded at once: 64 MB of fp32 at 128 dimensions.
_ENCODED_AT_ONCE = 1 << 17
# Tokens copied at once.
_COPIED_AT_ONCE = 1 << 20
# Segments of so many documents get posting lists: below, scanning all their centroid ids takes less time.
POSTINGS_FROM = 100_000

Tick = Callable[[int], None]
# What is kept of a token beside its residual, held in memory while the residuals are written.
_SMALL = ("ids", "steps", "errors")


class _Kept:
    """The live documents of some parts, in order, as one run of tokens."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        lengths, numbers = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for part in parts:
            every = np.diff(part.segment.offsets)
            lengths.append(every if part.live is None else every[part.live])
            numbers.append(part.numbers if part.live is None else part.numbers[part.live])
        self.numbers: NDArray[np.int64] = np.concatenate(numbers)
        self.offsets: NDArray[np.int64] = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)

    @property
    def tokens(self) -> int:
        return int(self.offsets[-1])

    @property
    def dim(self) -> int:
        return self.parts[0].segment.dim

    def runs(self, at_once: int) -> Iterator[tuple[Part, NDArray[np.int64] | slice]]:
        """The tokens to keep: of each part, slices where all are, otherwise the numbers of the rows."""
        for part in self.parts:
            total = part.segment.record.tokens
            rows = None
            if part.live is not None:
                rows = np.flatnonzero(np.repeat(part.live, np.diff(part.segment.offsets)))
                total = rows.size
            for start in range(0, total, at_once):
                stop = min(start + at_once, total)
                yield part, slice(start, stop) if rows is None else rows[start:stop]


def _copy_vectors(folder: Path, kept: _Kept) -> FileRecord:
    with ArraysWriter(creation.new_file(folder, VECTORS), VECTORS) as writer:
        # Documents without tokens give no runs, and their file has this array all the same.
        writer.append(VECTORS, np.empty((0, kept.dim), dtype=np.float16))
        for part, rows in kept.runs(_COPIED_AT_ONCE):
            if part.segment.vectors is None:
                raise ValueError(f"{part.segment.path}: keeps no vectors")
            writer.append(VECTORS, part.segment.vectors[rows])
        append_places(writer, kept.numbers, kept.offsets)
    return writer.record


def _vectors_of(folder: Path, kept: _Kept) -> FileRecord:
    """The vectors' file: the one there is, where nothing in it has to change."""
    only = kept.parts[0]
    if len(kept.parts) == 1 and only.live is None and only.segment.record.vectors is not None:
        return only.segment.record.vectors
    return _copy_vectors(folder, kept)


def encode(
    folder: Path, parts: Sequence[Part], number: int, codebook: Codebook, bits: int, *, keep_vectors: bool, tick: Tick
) -> SegmentRecord:
    """One segment with codes out of the live documents of parts that have vectors.

    `tick` is told the tokens as they are done.
    """
    kept = _Kept(parts)

    def pieces() -> Iterator[Codes]:
        for part, rows in kept.runs(_ENCODED_AT_ONCE):
            if part.segment.vectors is None:
                raise ValueError(f"{part.segment.path}: keeps no vectors to encode")
            yield codebook.encode(part.segment.vectors[rows].astype(np.float32), bits)

    record = _write_codes(folder, kept, pieces(), len(codebook), bits, tick)
    vectors = _vectors_of(folder, kept) if keep_vectors else None
    return SegmentRecord(kept.numbers.size, kept.tokens, number, vectors, record)


def merge(folder: Path, parts: Sequence[Part], codebook: Codebook, *, tick: Tick) -> SegmentRecord:
    """One segment out of the live documents of parts with codes by one codebook: their codes are copied, not made."""
    kept = _Kept(parts)
    first = parts[0].segment

    def pieces() -> Iterator[Codes]:
        for part, rows in kept.runs(_COPIED_AT_ONCE):
            arrays = part.segment.codes
            if arrays is None or part.segment.record.codebook != first.record.codebook:
                raise ValueError(f"{part.segment.path}: has no codes by the same codebook")
            ids, steps, errors, residuals = (arrays[name][rows] for name in (*_SMALL, "residuals"))
            yield Codes(ids, steps, errors, residuals, part.segment.longest)

    record = _write_codes(folder, kept, pieces(), len(codebook), first.bits, tick)
    vectors = _vectors_of(folder, kept) if first.vectors is not None else None
    return SegmentRecord(kept.numbers.size, kept.tokens, first.record.codebook, vectors, record)


def copy(folder: Path, parts: Sequence[Part], *, tick: Tick) -> SegmentRecord:
    """One segment out of the live documents of parts that have vectors and no codes."""
    kept = _Kept(parts)
    record = _vectors_of(folder, kept)
    tick(kept.tokens)
    return SegmentRecord(kept.numbers.size, kept.tokens, None, record, None)


def _write_codes(
    folder: Path, kept: _Kept, pieces: Iterator[Codes], centroids: int, bits: int, tick: Tick
) -> FileRecord:
    """Writes codes as they come, holding 4 to 6 bytes a token in memory."""
    # Documents without tokens give no pieces, and their file has these arrays all the same.
    types = {name: np.uint8 if name != "ids" else id_type(centroids) for name in _SMALL}
    small: dict[str, list[NDArray[Any]]] = {name: [np.empty(0, dtype)] for name, dtype in types.items()}
    longest = 0.0
    with ArraysWriter(creation.new_file(folder, CODES), CODES) as writer:
        writer.append("residuals", np.empty((0, row_bytes(kept.dim, bits)), dtype=np.uint8))
        for piece in pieces:
            writer.append("residuals", piece.residuals)
            for name in _SMALL:
                small[name].append(getattr(piece, name))
            longest = max(longest, piece.longest)
            tick(len(piece.residuals))
        for name, arrays in small.items():
            for array in arrays:
                writer.append(name, array)
        append_places(writer, kept.numbers, kept.offsets)
        if kept.numbers.size >= POSTINGS_FROM:
            append_postings(writer, small["ids"], kept.offsets, centroids)
        writer.attributes = {"bits": bits, "longest": longest}
    return writer.record
