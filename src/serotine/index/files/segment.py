"""Segments: immutable runs of documents, as float16 vectors, as residual codes, or as both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serotine import _core
from serotine.errors import index_damaged, reason
from serotine.index.files.arrays import MALFORMED, ArraysFile, ArraysWriter, FileRecord
from serotine.index.files.codebook import Codebook, row_bytes
from serotine.index.files.names import CODES, POOLED, VECTORS
from serotine.index.files.pooled import pooled_vectors

SEGMENT_FOLDER = "segments"
# Codebook training's checkpoint, in the segment folder; the only file there that the catalog does not name.
CHECKPOINT_FILE = "training.checkpoint"
# Of a token, beside its residual: centroid, step, error and posting.
_CODE_BYTES = 4 + 1 + 1 + 4
# Tokens decoded per call.
_DECODED_TOKENS = 1 << 16
# Tokens of new documents written per call.
_WRITTEN_TOKENS = 1 << 14


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """The catalog's record of a segment.

    Attributes:
        documents: number of documents.
        tokens: number of token vectors.
        codebook: number of the codebook of its codes, or None without codes.
        vectors: record of the file of float16 vectors, or None where they are not stored.
        codes: record of the file of residual codes, or None before encoding.
        pooled: record of the file of pooled vectors, or None where the index stores none.
    """

    documents: int
    tokens: int
    codebook: int | None
    vectors: FileRecord | None
    codes: FileRecord | None
    pooled: FileRecord | None = None

    @property
    def files(self) -> list[FileRecord]:
        """Records of its files."""
        return [file for file in (self.vectors, self.codes, self.pooled) if file is not None]

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(file.bytes for file in self.files)


class DocumentVectors(NamedTuple):
    """The vectors of one document.

    Attributes:
        tokens: float16 (tokens, dim).
        pooled: float16 (pooled dim,), zeros for a document without one; None where the index stores none.
    """

    tokens: NDArray[np.float16]
    pooled: NDArray[np.float16] | None = None


def write_vectors(
    new_path: Callable[[str], Path], first_number: int, dim: int, documents: Iterable[DocumentVectors], pooled_dim: int
) -> SegmentRecord:
    """Write a segment without codes: documents numbered from `first_number`; see `write_segments`."""
    offsets = [0]
    with ExitStack() as stack:
        writer = stack.enter_context(ArraysWriter(new_path(VECTORS), VECTORS))
        writer.append(VECTORS, np.empty((0, dim), dtype=np.float16))
        pooled = stack.enter_context(ArraysWriter(new_path(POOLED), POOLED)) if pooled_dim else None
        if pooled is not None:
            pooled.append(POOLED, np.empty((0, pooled_dim), dtype=np.float16))
        waiting: list[NDArray[np.float16]] = []
        waiting_tokens = 0
        for document in documents:
            waiting.append(document.tokens)
            waiting_tokens += len(document.tokens)
            if waiting_tokens >= _WRITTEN_TOKENS:
                writer.append(VECTORS, np.concatenate(waiting))
                waiting, waiting_tokens = [], 0
            offsets.append(offsets[-1] + len(document.tokens))
            if pooled is not None and document.pooled is not None:
                pooled.append(POOLED, document.pooled[None])
        if waiting:
            writer.append(VECTORS, np.concatenate(waiting))
        numbers = np.arange(first_number, first_number + len(offsets) - 1, dtype=np.int64)
        append_documents(writer, numbers, np.array(offsets, dtype=np.int64))
        if pooled is not None:
            pooled.append("numbers", numbers)
    return SegmentRecord(
        len(numbers), offsets[-1], None, writer.record, None, pooled.record if pooled is not None else None
    )


def write_segments(
    new_path: Callable[[str], Path],
    first_number: int,
    dim: int,
    documents: Iterable[DocumentVectors],
    tokens: int,
    pooled_dim: int = 0,
) -> list[SegmentRecord]:
    """Write documents as segments without codes.

    Args:
        new_path: returns a path for a new file of a kind.
        first_number: number of the first document.
        dim: dimension of a token vector.
        documents: the vectors of each.
        tokens: maximum of a segment of more than one document.
        pooled_dim: dimension of their pooled vectors; 0 where the index stores none.
    """
    records: list[SegmentRecord] = []
    for _, segment in groupby(documents, key=_SegmentNumber(tokens)):
        records.append(write_vectors(new_path, first_number, dim, segment, pooled_dim))
        first_number += records[-1].documents
    return records


def token_bytes(dim: int, bits: int, *, keep_vectors: bool, pooled_dim: int = 0) -> int:
    """Return how many bytes of a segment a token takes, with codes or without, at most.

    A document may have a single token, to which its pooled vector is then counted.
    """
    vectors, codes = 2 * dim, row_bytes(dim, bits) + _CODE_BYTES
    return (vectors + codes if keep_vectors else max(vectors, codes)) + 2 * pooled_dim


class _SegmentNumber:
    """The number of the segment that the next document belongs to."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._number = 0
        self._tokens = 0

    def __call__(self, document: DocumentVectors) -> int:
        tokens = len(document.tokens)
        self._tokens += tokens
        if self._limit < self._tokens != tokens:
            self._number += 1
            self._tokens = tokens
        return self._number


def append_documents(writer: ArraysWriter, numbers: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
    """Append the document numbers and token offsets that end a segment file."""
    writer.append("numbers", numbers)
    writer.append("offsets", offsets)


class Segment:
    """An open segment, read-only and memory-mapped.

    Attributes:
        record: the catalog's record.
        dim: dimension of a token vector.
        files: its open files.
        numbers: int64 (documents,), document numbers, ascending.
        offsets: int64 (documents + 1,): document i has the tokens offsets[i]:offsets[i + 1].
        vectors: float16 (tokens, dim), or None.
        codes: the arrays of the codes file, or None.
        pooled: float16 (documents, pooled dim), or None.
        bits: bits per dimension of the residuals; set where there are codes.
        max_norm: upper bound of the norm of every vector rebuilt from the codes; set where there are codes.
        core: the compiled core's view.

    Raises:
        IndexDamagedError: a file is missing, its size differs from the catalog's record, or it is damaged.
    """

    def __init__(
        self, folder: Path, record: SegmentRecord, dim: int, codebook: Codebook | None, pooled_dim: int = 0
    ) -> None:
        self.record = record
        self.dim = dim
        self.files: list[ArraysFile] = []
        self.vectors: NDArray[np.float16] | None = None
        self.codes: dict[str, NDArray[Any]] | None = None
        self.pooled: NDArray[np.float16] | None = None
        vectors_file = self._open(folder, record.vectors, VECTORS)
        codes_file = self._open(folder, record.codes, CODES)
        pooled_file = self._open(folder, record.pooled, POOLED)
        documents_file = codes_file or vectors_file
        if documents_file is None:
            raise index_damaged(f"{folder}: the catalog lists a segment without files")
        try:
            # Copies: commits and searches rely on them, also where the file is cut or overwritten while it is open.
            self.numbers: NDArray[np.int64] = np.array(documents_file.arrays["numbers"])
            self.offsets: NDArray[np.int64] = np.array(documents_file.arrays["offsets"])
            if not self.numbers.size:
                raise ValueError("it has no documents")
            if (self.numbers.size, self.offsets[-1]) != (record.documents, record.tokens):
                raise ValueError(f"documents must be {record.documents:,} by the catalog, got {self.numbers.size:,}")
            if vectors_file is not None:
                self.vectors = vectors_file.arrays[VECTORS]
                if self.vectors.shape != (record.tokens, dim) or self.vectors.dtype != np.float16:
                    raise ValueError(f"vectors of shape {self.vectors.shape}")
            self.core = _core.Segment(
                self.offsets, self.numbers, None if self.vectors is None else self.vectors.view(np.uint16)
            )
            if codes_file is not None:
                if codebook is None:
                    raise ValueError("its codebook is not in the catalog")
                self.codes = codes_file.arrays
                self.bits = int(codes_file.attributes["bits"])
                self._set_codes(codes_file, codebook)
            documents_file = pooled_file or documents_file
            if pooled_file is not None:
                self.pooled = pooled_vectors(pooled_file, pooled_dim, self.numbers)
        except MALFORMED as error:
            raise index_damaged(f"{documents_file.path}: damaged ({reason(error)})") from error

    def _open(self, folder: Path, record: FileRecord | None, kind: str) -> ArraysFile | None:
        if record is None:
            return None
        file = ArraysFile(folder / record.name, record, kind)
        self.files.append(file)
        return file

    def _set_codes(self, file: ArraysFile, codebook: Codebook) -> None:
        arrays = file.arrays
        ids = arrays["ids"]
        self.max_norm = float(file.attributes["longest"])
        self.core.set_codes(
            codebook.core,
            ids.view(np.uint8).reshape(len(ids), ids.dtype.itemsize),
            arrays["steps"],
            arrays["errors"],
            arrays["residuals"],
            self.bits,
            self.max_norm,
        )
        if "postings" in arrays:
            self.core.set_postings(arrays["posting_starts"], arrays["postings"])

    @cached_property
    def has_pooled(self) -> NDArray[np.bool_]:
        """Whether a document has a pooled vector, bool (documents,): one that is not all zeros."""
        if self.pooled is None:
            return np.zeros(self.record.documents, dtype=np.bool_)
        blocks = [self.pooled[i : i + _DECODED_TOKENS].any(axis=1) for i in range(0, len(self.pooled), _DECODED_TOKENS)]
        return np.concatenate(blocks)

    @property
    def path(self) -> Path:
        """Path of its first file."""
        return self.files[0].path

    def document(self, position: int) -> NDArray[np.float16]:
        """Return a document's token vectors, float16 (tokens, dim): stored, or else rebuilt from the codes."""
        first, last = int(self.offsets[position]), int(self.offsets[position + 1])
        if self.vectors is not None:
            return self.vectors[first:last]
        rebuilt = self._rebuild(first, last).astype(np.float16)
        rebuilt.flags.writeable = False
        return rebuilt

    def tokens(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return token vectors by row, ascending: float32 (rows, dim), stored, or else rebuilt from the codes."""
        if self.vectors is not None:
            return self.vectors[rows].astype(np.float32)
        out = np.empty((len(rows), self.dim), dtype=np.float32)
        for start in range(0, self.record.tokens, _DECODED_TOKENS):
            end = min(start + _DECODED_TOKENS, self.record.tokens)
            first, last = np.searchsorted(rows, (start, end))
            if last > first:
                out[first:last] = self._rebuild(start, end)[rows[first:last] - start]
        return out

    def _rebuild(self, first: int, last: int) -> NDArray[np.float32]:
        rows = np.empty((last - first, self.dim), dtype=np.int8)
        scales = np.empty(last - first, dtype=np.float32)
        _core.decode_residuals(self.core, first, rows, scales)
        return rows * scales[:, None]


def append_postings(writer: ArraysWriter, ids: list[NDArray[Any]], offsets: NDArray[np.int64], centroids: int) -> None:
    """Append the posting list of every centroid: 4 bytes per pair of document and centroid, built in memory."""
    all_ids = np.concatenate(ids)
    starts = np.empty(centroids + 1, dtype=np.uint64)
    postings = _core.make_postings(
        all_ids.view(np.uint8).reshape(len(all_ids), all_ids.dtype.itemsize), offsets, starts
    )
    writer.append("posting_starts", starts)
    writer.append("postings", postings)
