"""Segments: immutable files of token vectors, memory-mapped.

Layout, little-endian: a 64-byte header (magic, format version, dim, documents, tokens), the vectors as float16
(tokens, dim) row by row, zeros up to a multiple of 64, and int64 offsets (documents + 1): document i owns the token
rows offsets[i]:offsets[i + 1].
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexDamagedError
from serotine.index.storage import DurableFile

MAGIC = b"SEROTSEG"
VERSION = 1
_HEADER = struct.Struct("<8sIIQQ32x")
_ALIGN = 64
_HASH_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """What the catalog keeps of a segment file.

    Attributes:
        file: its name within the index's segment folder.
        bytes: its size.
        checksum: BLAKE2b-256, in hexadecimal, of the body and then the header.
        documents: how many documents it holds.
        tokens: how many token vectors.
    """

    file: str
    bytes: int
    checksum: str
    documents: int
    tokens: int


class SegmentWriter:
    """Writes one segment, document by document, holding none of it in memory.

    A context manager: leaving it normally makes the file durable (then `record` is there), leaving it by an exception
    leaves nothing.
    """

    def __init__(self, path: Path, dim: int) -> None:
        self.record: SegmentRecord | None = None
        self._path = path
        self._dim = dim
        self._offsets = [0]
        self._hash = hashlib.blake2b(digest_size=32)
        self._file = DurableFile(path)
        self._begun = False

    def add(self, vectors: NDArray[np.float16]) -> None:
        """Appends one document: float16, shape (tokens, dim), which may have no rows."""
        self._append(np.ascontiguousarray(vectors).data.cast("B") if vectors.size else b"")
        self._offsets.append(self._offsets[-1] + vectors.shape[0])

    def _append(self, data: bytes | memoryview) -> None:
        if not self._begun:
            # The header's place; the counts that go there are known at the end.
            self._file.write(bytes(_HEADER.size))
            self._begun = True
        self._hash.update(data)
        self._file.write(data)

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._file.__exit__(kind, error, trace)
            return
        tokens = self._offsets[-1]
        with self._file:
            self._append(bytes(-(_HEADER.size + tokens * self._dim * 2) % _ALIGN))
            self._append(np.array(self._offsets, dtype="<i8").tobytes())
            header = _HEADER.pack(MAGIC, VERSION, self._dim, len(self._offsets) - 1, tokens)
            self._hash.update(header)
            self._file.rewrite(0, header)
        self.record = SegmentRecord(
            file=self._path.name,
            bytes=self._path.stat().st_size,
            checksum=self._hash.hexdigest(),
            documents=len(self._offsets) - 1,
            tokens=tokens,
        )


class Segment:
    """One segment, read-only and memory-mapped.

    Attributes:
        offsets: int64 (documents + 1,).
        vectors: float16 (tokens, dim).

    Raises:
        IndexDamagedError: the file is missing, of another size than the catalog says, or not such a segment.
    """

    def __init__(self, path: Path, record: SegmentRecord, dim: int) -> None:
        self.path = path
        self.record = record
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise IndexDamagedError(
                f"{path}: the segment file is missing; restore it from a backup, or index again"
            ) from None
        if size != record.bytes:
            raise IndexDamagedError(
                f"{path}: the segment file has {size:,} bytes where the catalog says {record.bytes:,}; "
                "restore it from a backup, or index again"
            )
        raw = np.memmap(path, dtype=np.uint8, mode="r")
        magic, version, stored_dim, documents, tokens = _HEADER.unpack(raw[: _HEADER.size].tobytes())
        if (magic, version, stored_dim, documents, tokens) != (
            MAGIC,
            VERSION,
            dim,
            record.documents,
            record.tokens,
        ):
            raise IndexDamagedError(f"{path}: the segment's header does not match the catalog; restore a backup")
        end = _HEADER.size + tokens * dim * 2
        start = end + -end % _ALIGN
        self.vectors: NDArray[np.float16] = raw[_HEADER.size : end].view("<f2").reshape(tokens, dim)
        self.offsets: NDArray[np.int64] = raw[start:].view("<i8")
        # Offsets that fall, or point past the end, would make the kernels read outside the file.
        if (
            self.offsets.size != documents + 1
            or self.offsets[0] != 0
            or self.offsets[-1] != tokens
            or (np.diff(self.offsets) < 0).any()
        ):
            raise IndexDamagedError(f"{path}: the segment's offsets are damaged; restore it from a backup")

    def document(self, position: int) -> NDArray[np.float16]:
        """The token vectors of one document, float16 (tokens, dim)."""
        return self.vectors[self.offsets[position] : self.offsets[position + 1]]

    def checksum(self) -> str:
        """The checksum of what is on disk now, comparable with the record's.

        Raises:
            OSError: the file is not there any more, or the disk cannot read it.
        """
        digest = hashlib.blake2b(digest_size=32)
        # Read, not looked at through the map: touching the missing end of a file cut short since kills the process.
        with self.path.open("rb") as file:
            header = file.read(_HEADER.size)
            while data := file.read(_HASH_CHUNK):
                digest.update(data)
        digest.update(header)
        return digest.hexdigest()
