"""Rewriting segments: encoding vectors, and merging several segments into one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.index.files import (
    CODES,
    POOLED,
    VECTORS,
    ArraysWriter,
    Codebook,
    Codes,
    FileRecord,
    SegmentRecord,
    append_documents,
    append_postings,
    id_type,
    row_bytes,
    write_pooled,
)
from serotine.index.store import SegmentView, Store

# Tokens encoded per step: 64 MB of fp32 at 128 dimensions.
_ENCODED_TOKENS = 1 << 17
# Tokens copied per step.
_COPIED_TOKENS = 1 << 20
# Documents whose pooled vectors are copied per step.
_COPIED_DOCUMENTS = 1 << 14
# Smallest segment that gets posting lists. They are read where the segments of its codebook together have at
# least `plan.PROBED_FROM` documents.
_POSTINGS_FROM = 4096

Tick = Callable[[int], None]
# Arrays of a codes file that are held in memory while its residuals are written.
_BYTE_ARRAYS = ("ids", "steps", "errors")


class _LiveDocuments:
    """The live documents of some segments, in order, as one run of tokens."""

    def __init__(self, views: Sequence[SegmentView]) -> None:
        self.views = views
        lengths, numbers = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for view in views:
            all_lengths = np.diff(view.segment.offsets)
            lengths.append(all_lengths if view.live is None else all_lengths[view.live])
            numbers.append(view.numbers if view.live is None else view.numbers[view.live])
        self.numbers: NDArray[np.int64] = np.concatenate(numbers)
        self.offsets: NDArray[np.int64] = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)

    @property
    def tokens(self) -> int:
        return int(self.offsets[-1])

    @property
    def dim(self) -> int:
        return self.views[0].segment.dim

    @property
    def unchanged(self) -> bool:
        """Whether they are all documents of one segment."""
        return len(self.views) == 1 and self.views[0].live is None

    def record(
        self, codebook: int | None, vectors: FileRecord | None, codes: FileRecord | None, pooled: FileRecord | None
    ) -> SegmentRecord:
        """Return the record of a segment of these documents in new files."""
        return SegmentRecord(self.numbers.size, self.tokens, codebook, vectors, codes, pooled)

    def pooled_blocks(self) -> Iterator[NDArray[np.float16]]:
        """Yield the pooled vectors in blocks, float16 (documents, pooled dim)."""
        for view in self.views:
            if view.segment.pooled is None:
                raise ValueError(f"{view.segment.path}: stores no pooled vectors")
            rows = np.arange(view.numbers.size) if view.live is None else np.flatnonzero(view.live)
            for start in range(0, rows.size, _COPIED_DOCUMENTS):
                yield view.segment.pooled[rows[start : start + _COPIED_DOCUMENTS]]

    def runs(self, size: int) -> Iterator[tuple[SegmentView, NDArray[np.int64] | slice]]:
        """Yield runs of at most `size` tokens: slices of segments without tombstones, else row numbers."""
        for view in self.views:
            total = view.segment.record.tokens
            rows = None
            if view.live is not None:
                rows = np.flatnonzero(np.repeat(view.live, np.diff(view.segment.offsets)))
                total = rows.size
            for start in range(0, total, size):
                stop = min(start + size, total)
                yield view, slice(start, stop) if rows is None else rows[start:stop]

    def vector_blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Yield the vectors in blocks of `size` tokens, the last of fewer, float32 (tokens, dim).

        Of several segments together: the fewer tokens at once, the more the search for their centroids takes for each.
        """
        left = self.tokens
        block = np.empty((min(size, left), self.dim), dtype=np.float32)
        filled = 0
        for view, rows in self.runs(size):
            if view.segment.vectors is None:
                raise ValueError(f"{view.segment.path}: stores no vectors")
            vectors = view.segment.vectors[rows]
            start = 0
            while start < len(vectors):
                taken = min(len(vectors) - start, len(block) - filled)
                block[filled : filled + taken] = vectors[start : start + taken]
                start, filled = start + taken, filled + taken
                if filled == len(block):
                    yield block
                    left -= filled
                    block, filled = block[: min(size, left)], 0


def encode(
    store: Store,
    views: Sequence[SegmentView],
    number: int,
    codebook: Codebook,
    bits: int,
    *,
    keep_vectors: bool,
    tick: Tick,
) -> SegmentRecord:
    """Write one segment with codes from the live documents of segments that have vectors.

    Args:
        store: the index.
        views: the segments.
        number: the codebook's number.
        codebook: the codebook.
        bits: bits per dimension.
        keep_vectors: whether to store the vectors beside the codes.
        tick: called with the number of tokens done.
    """
    documents = _LiveDocuments(views)

    encoded = (codebook.encode(vectors, bits) for vectors in documents.vector_blocks(_ENCODED_TOKENS))
    record = _write_codes(store, documents, encoded, len(codebook), bits, tick)
    vectors = _vectors_record(store, documents) if keep_vectors else None
    return documents.record(number, vectors, record, _pooled_record(store, documents))


def merge(store: Store, views: Sequence[SegmentView], codebook: Codebook, *, tick: Tick) -> SegmentRecord:
    """Write one segment from the live documents of segments with codes of one codebook, copying the codes."""
    documents = _LiveDocuments(views)
    first = views[0].segment

    def copied() -> Iterator[Codes]:
        for view, rows in documents.runs(_COPIED_TOKENS):
            arrays = view.segment.codes
            if arrays is None or view.segment.record.codebook != first.record.codebook:
                raise ValueError(f"{view.segment.path}: has no codes of the same codebook")
            ids, scales, errors, residuals = (arrays[name][rows] for name in (*_BYTE_ARRAYS, "residuals"))
            yield Codes(ids, scales, errors, residuals, view.segment.max_norm)

    record = _write_codes(store, documents, copied(), len(codebook), first.bits, tick)
    vectors = _vectors_record(store, documents) if first.vectors is not None else None
    return documents.record(first.record.codebook, vectors, record, _pooled_record(store, documents))


def copy(store: Store, views: Sequence[SegmentView], *, tick: Tick) -> SegmentRecord:
    """Write one segment from the live documents of segments that have vectors and no codes."""
    documents = _LiveDocuments(views)
    record = _vectors_record(store, documents)
    tick(documents.tokens)
    return documents.record(None, record, None, _pooled_record(store, documents))


def _vectors_record(store: Store, documents: _LiveDocuments) -> FileRecord:
    """Return the record of a vectors file: the existing one where nothing in it changes, else of a new one."""
    existing = documents.views[0].segment.record.vectors
    return existing if documents.unchanged and existing is not None else _copy_vectors(store, documents)


def _pooled_record(store: Store, documents: _LiveDocuments) -> FileRecord | None:
    """Return the record of a file of pooled vectors like that of vectors; None where the index stores none."""
    if (pooled := store.settings.pooled) is None:
        return None
    existing = documents.views[0].segment.record.pooled
    if documents.unchanged and existing is not None:
        return existing
    return write_pooled(store.new_file(POOLED), pooled.dim, documents.pooled_blocks(), documents.numbers)


def _copy_vectors(store: Store, documents: _LiveDocuments) -> FileRecord:
    with ArraysWriter(store.new_file(VECTORS), VECTORS) as writer:
        # Documents without tokens give no runs; their file has this array nevertheless.
        writer.append(VECTORS, np.empty((0, documents.dim), dtype=np.float16))
        for view, rows in documents.runs(_COPIED_TOKENS):
            if view.segment.vectors is None:
                raise ValueError(f"{view.segment.path}: stores no vectors")
            writer.append(VECTORS, view.segment.vectors[rows])
        append_documents(writer, documents.numbers, documents.offsets)
    return writer.record


def _write_codes(
    store: Store, documents: _LiveDocuments, runs: Iterator[Codes], centroids: int, bits: int, tick: Tick
) -> FileRecord:
    """Write codes run by run, holding 4 to 6 bytes per token in memory."""
    # Documents without tokens give no runs; their file has these arrays nevertheless.
    types = {name: np.uint8 if name != "ids" else id_type(centroids) for name in _BYTE_ARRAYS}
    byte_arrays: dict[str, list[NDArray[Any]]] = {name: [np.empty(0, dtype)] for name, dtype in types.items()}
    max_norm = 0.0
    with ArraysWriter(store.new_file(CODES), CODES) as writer:
        writer.append("residuals", np.empty((0, row_bytes(documents.dim, bits)), dtype=np.uint8))
        for codes in runs:
            writer.append("residuals", codes.residuals)
            for name, array in codes.byte_arrays.items():
                byte_arrays[name].append(array)
            max_norm = max(max_norm, codes.max_norm)
            tick(len(codes.residuals))
        for name, arrays in byte_arrays.items():
            for array in arrays:
                writer.append(name, array)
        append_documents(writer, documents.numbers, documents.offsets)
        if documents.numbers.size >= _POSTINGS_FROM:
            append_postings(writer, byte_arrays["ids"], documents.offsets, centroids)
        writer.attributes = {"bits": bits, "longest": max_norm}
    return writer.record
