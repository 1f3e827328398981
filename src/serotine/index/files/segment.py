"""Segments: immutable runs of documents, as float16 vectors, as residual codes, or as both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import _core
from serotine.errors import IndexDamagedError
from serotine.index.files.arrays import ArraysFile, ArraysWriter, FileRecord
from serotine.index.files.codebook import Codebook

SEGMENT_FOLDER = "segments"
VECTORS, CODES = "vectors", "codes"
_REBUILT_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """What the catalog keeps of a segment.

    Attributes:
        documents: how many documents it holds.
        tokens: how many token vectors.
        codebook: number of the codebook its codes refer to, or None where it has no codes.
        vectors: the file of its float16 vectors, or None where they are not kept.
        codes: the file of its residual codes, or None where it has none yet.
    """

    documents: int
    tokens: int
    codebook: int | None
    vectors: FileRecord | None
    codes: FileRecord | None

    @property
    def files(self) -> list[FileRecord]:
        """Its files."""
        return [file for file in (self.vectors, self.codes) if file is not None]

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(file.bytes for file in self.files)


def write_vectors(path: Path, first_number: int, dim: int, documents: Iterable[NDArray[np.float16]]) -> SegmentRecord:
    """Writes a segment of documents numbered from `first_number`, float16 (tokens, dim) each, without codes."""
    offsets = [0]
    with ArraysWriter(path, VECTORS) as writer:
        writer.append(VECTORS, np.empty((0, dim), dtype=np.float16))
        for document in documents:
            writer.append(VECTORS, document)
            offsets.append(offsets[-1] + len(document))
        numbers = np.arange(first_number, first_number + len(offsets) - 1, dtype=np.int64)
        append_places(writer, numbers, np.array(offsets, dtype=np.int64))
    return SegmentRecord(len(numbers), offsets[-1], None, writer.record, None)


def append_places(writer: ArraysWriter, numbers: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
    """Ends a segment file: which documents it holds, and where."""
    writer.append("numbers", numbers)
    writer.append("offsets", offsets)


class Segment:
    """One open segment, read-only and memory-mapped.

    Attributes:
        record: what the catalog says of it.
        numbers: int64 (documents,), the catalog's document numbers, rising.
        offsets: int64 (documents + 1,): document i owns the tokens offsets[i]:offsets[i + 1].
        vectors: float16 (tokens, dim), or None.
        codes: the arrays of the codes file, or None.
        core: the compiled core's view of it.

    Raises:
        IndexDamagedError: a file is missing, of another size than the catalog says, or damaged.
    """

    def __init__(self, folder: Path, record: SegmentRecord, dim: int, codebook: Codebook | None) -> None:
        self.record = record
        self.dim = dim
        self.files: list[ArraysFile] = []
        self.vectors: NDArray[np.float16] | None = None
        self.codes: dict[str, NDArray[Any]] | None = None
        kept = self._open(folder, record.vectors, VECTORS)
        coded = self._open(folder, record.codes, CODES)
        places = coded or kept
        if places is None:
            raise IndexDamagedError(f"{folder}: the catalog names a segment without files; restore it from a backup")
        try:
            self.numbers: NDArray[np.int64] = places.arrays["numbers"]
            self.offsets: NDArray[np.int64] = places.arrays["offsets"]
            if (self.numbers.size, self.offsets[-1]) != (record.documents, record.tokens):
                raise ValueError(f"it holds {self.numbers.size:,} documents, the catalog says {record.documents:,}")
            if kept is not None:
                self.vectors = kept.arrays[VECTORS]
                if self.vectors.shape != (record.tokens, dim) or self.vectors.dtype != np.float16:
                    raise ValueError(f"vectors of shape {self.vectors.shape}")
            self.core = _core.Segment(
                self.offsets, self.numbers, None if self.vectors is None else self.vectors.view(np.uint16)
            )
            if coded is not None:
                if codebook is None:
                    raise ValueError("its codebook is not in the catalog")
                self.codes = coded.arrays
                self.bits = int(coded.attributes["bits"])
                self._set_codes(coded, codebook)
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise IndexDamagedError(
                f"{places.path}: damaged ({error}); restore it from a backup, or index again"
            ) from error

    def _open(self, folder: Path, record: FileRecord | None, kind: str) -> ArraysFile | None:
        if record is None:
            return None
        file = ArraysFile(folder / record.name, record, kind)
        self.files.append(file)
        return file

    def _set_codes(self, file: ArraysFile, codebook: Codebook) -> None:
        arrays = file.arrays
        ids = arrays["ids"]
        self.longest = float(file.attributes["longest"])
        self.core.set_codes(
            codebook.core,
            ids.view(np.uint8).reshape(len(ids), ids.dtype.itemsize),
            arrays["steps"],
            arrays["errors"],
            arrays["residuals"],
            self.bits,
            self.longest,
        )
        if "postings" in arrays:
            self.core.set_postings(arrays["posting_starts"], arrays["postings"])

    @property
    def path(self) -> Path:
        """The first of its files."""
        return self.files[0].path

    def document(self, position: int) -> NDArray[np.float16]:
        """The token vectors of one document, float16 (tokens, dim): as kept, or else as the codes rebuild them."""
        first, last = int(self.offsets[position]), int(self.offsets[position + 1])
        if self.vectors is not None:
            return self.vectors[first:last]
        rebuilt = self._rebuilt(first, last).astype(np.float16)
        rebuilt.flags.writeable = False
        return rebuilt

    def tokens(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Token vectors by row, rising: float32 (rows, dim), as kept, or else as the codes rebuild them."""
        if self.vectors is not None:
            return self.vectors[rows].astype(np.float32)
        out = np.empty((len(rows), self.dim), dtype=np.float32)
        for start in range(0, self.record.tokens, _REBUILT_AT_ONCE):
            end = min(start + _REBUILT_AT_ONCE, self.record.tokens)
            first, last = np.searchsorted(rows, (start, end))
            if last > first:
                out[first:last] = self._rebuilt(start, end)[rows[first:last] - start]
        return out

    def _rebuilt(self, first: int, last: int) -> NDArray[np.float32]:
        rows = np.empty((last - first, self.dim), dtype=np.int8)
        scales = np.empty(last - first, dtype=np.float32)
        _core.decode_residuals(self.core, first, rows, scales)
        return rows * scales[:, None]


def append_postings(writer: ArraysWriter, ids: list[NDArray[Any]], offsets: NDArray[np.int64], centroids: int) -> None:
    """Which documents hold each centroid: 4 bytes for every pair, made in memory."""
    joined = np.concatenate(ids)
    starts = np.empty(centroids + 1, dtype=np.uint64)
    found = _core.make_postings(joined.view(np.uint8).reshape(len(joined), joined.dtype.itemsize), offsets, starts)
    writer.append("posting_starts", starts)
    writer.append("postings", found)
