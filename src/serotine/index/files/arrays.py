"""Immutable files of named arrays, memory-mapped; segments and codebooks consist of them.

Layout, little-endian: a 64-byte header (magic, version, kind, offset and length of the footer), the arrays' bytes,
each aligned to 64, and the footer, a JSON object: ``{"arrays": {name: [dtype, shape, offset]}, "attributes": {...}}``.
Nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from serotine.errors import SerotineError, index_damaged, reason, shown
from serotine.files import NotRegularError, open_regular
from serotine.index.files.durable import DurableFile

MAGIC = b"SEROTARR"
VERSION = 1
_HEADER = struct.Struct("<8sI12sQQ24x")
_ALIGN = 64
_HASH_CHUNK = 1 << 22
# Arrays are written in chunks of this size, so that a large array is never copied whole.
_WRITE_CHUNK = 1 << 24
# Chunks of at least this size are hashed on another thread while they are written.
_MIN_THREADED_CHUNK = 1 << 20
MALFORMED = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, struct.error,
)  # fmt: skip
"""What the values of a malformed file raise where they are used."""
_DTYPES = {"<f2", "<f4", "|i1", "|u1", "<u2", "<u4", "<u8", "<i8"}


@dataclass(frozen=True, slots=True)
class FileRecord:
    """The catalog's record of a file.

    Attributes:
        name: within the index's segment folder.
        bytes: size.
        checksum: BLAKE2b-256, in hexadecimal, of the bytes after the header, then the header.
    """

    name: str
    bytes: int
    checksum: str


class FileChecksum:
    """The checksum of a `FileRecord`, from a file's bytes in order."""

    def __init__(self) -> None:
        self._header = b""
        self._hash = hashlib.blake2b(digest_size=32)

    def update(self, data: bytes) -> None:
        """Add the next bytes of the file."""
        missing = _HEADER.size - len(self._header)
        self._header += data[:missing]
        self._hash.update(memoryview(data)[missing:])

    def hexdigest(self) -> str:
        """Return the checksum of all bytes so far; the header counts last, because it is written last."""
        digest = self._hash.copy()
        digest.update(self._header)
        return digest.hexdigest()


class ArraysWriter:
    """Writer of one file, array after array, that holds none of it in memory.

    A context manager: leaving it normally makes the file durable and sets `record`; leaving it by an exception leaves
    no file.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.attributes: dict[str, Any] = {}
        self._record: FileRecord | None = None
        self._path = path
        self._kind = kind.encode()
        self._arrays: dict[str, tuple[str, list[int], int]] = {}
        self._last: str | None = None
        self._position = _HEADER.size
        self._hash = hashlib.blake2b(digest_size=32)
        self._file = DurableFile(path)
        self._started = False

    @property
    def record(self) -> FileRecord:
        """The record for the catalog, available once the file is complete."""
        if self._record is None:
            raise RuntimeError(f"{self._path}: not complete yet")
        return self._record

    def append(self, name: str, array: NDArray[Any]) -> None:
        """Append rows to the array `name`; all rows of an array must be appended consecutively."""
        array = np.ascontiguousarray(array)
        dtype = array.dtype.newbyteorder("<").str
        if name != self._last:
            self._append(bytes(-self._position % _ALIGN))
            self._arrays[name] = (dtype, [0, *array.shape[1:]], self._position)
            self._last = name
        first_dtype, shape, _ = self._arrays[name]
        if dtype != first_dtype or shape[1:] != list(array.shape[1:]):
            raise ValueError(
                f"{name}: must be {first_dtype} rows of shape {shape[1:]}, got {dtype} rows of {array.shape[1:]}"
            )
        shape[0] += len(array)
        if not array.size:
            return
        data = array.reshape(-1).view(np.uint8).data
        for start in range(0, len(data), _WRITE_CHUNK):
            self._append(data[start : start + _WRITE_CHUNK])

    def _append(self, data: bytes | memoryview) -> None:
        if not self._started:
            # Reserve the header: the footer's offset is known only at the end.
            self._file.write(bytes(_HEADER.size))
            self._started = True
        if not data:
            return
        hashing = self._start_hashing(data)
        try:
            self._file.write(data)
        finally:
            if hashing is not None:
                hashing.join()
        self._position += len(data)

    def _start_hashing(self, data: bytes | memoryview) -> threading.Thread | None:
        """Hash small data, or begin to hash it on another thread, which is returned."""
        if len(data) >= _MIN_THREADED_CHUNK:
            thread = threading.Thread(target=self._hash.update, args=(data,), name="serotine-checksum")
            try:
                thread.start()
                return thread
            except RuntimeError:
                # No thread can start: the interpreter is exiting, or the process has too many.
                pass
        self._hash.update(data)
        return None

    def __enter__(self) -> ArraysWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._file.__exit__(kind, error, trace)
            return
        with self._file:
            self._append(bytes(-self._position % _ALIGN))
            start = self._position
            footer = json.dumps({"arrays": self._arrays, "attributes": self.attributes}).encode()
            self._append(footer)
            header = _HEADER.pack(MAGIC, VERSION, self._kind, start, len(footer))
            self._hash.update(header)
            self._file.overwrite(0, header)
        self._record = FileRecord(self._path.name, self._position, self._hash.hexdigest())


class ArraysFile:
    """An open file, read-only and memory-mapped.

    Attributes:
        arrays: by name; views of the file.
        attributes: JSON values stored beside the arrays.

    Raises:
        IndexDamagedError: the file is missing, its size differs from the catalog's record, or it is malformed.
    """

    def __init__(self, path: Path, record: FileRecord, kind: str) -> None:
        self.path = path
        self.record = record
        try:
            # Opened once: a writer may remove the file, and an open one stays readable.
            with open_regular(path, follow=False) as file:
                size = os.fstat(file.fileno()).st_size
                raw = np.memmap(file, dtype=np.uint8, mode="r") if size == record.bytes and size else None
        except (FileNotFoundError, NotADirectoryError):
            raise index_damaged(f"{path}: the file is missing") from None
        except NotRegularError:
            raise index_damaged(f"{path}: not a regular file") from None
        except PermissionError as error:
            raise SerotineError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
        if raw is None:
            raise index_damaged(f"{path}: must have {record.bytes:,} bytes by the catalog, got {size:,}")
        try:
            self.arrays, self.attributes = _parse(raw, kind)
        except MALFORMED as error:
            raise index_damaged(f"{path}: the header is damaged ({reason(error)})") from error


def all_damage(folder: Path, records: Sequence[FileRecord], threads: int) -> list[str]:
    """Return the problems of a folder's files, in their order; at most `threads` files are read at once."""

    def problem_of(record: FileRecord) -> str:
        return damage(folder / record.name, record)

    problems = None
    if (workers := min(threads, len(records))) > 1:
        executor = ThreadPoolExecutor(workers, "serotine-checksum")
        try:
            problems = [future.result() for future in [executor.submit(problem_of, record) for record in records]]
        except RuntimeError:
            # No thread can start: the interpreter is exiting, or the process has too many.
            pass
        finally:
            # After Ctrl-C, without waiting for files of gigabytes.
            executor.shutdown(wait=False, cancel_futures=True)
    if problems is None:
        problems = [problem_of(record) for record in records]
    return [problem for problem in problems if problem]


def damage(path: Path, record: FileRecord) -> str:
    """Return what is wrong with the file on disk now, or "" if it is what was written."""
    try:
        # Read rather than mapped: accessing the missing end of a file truncated meanwhile would kill the process.
        with open_regular(path, follow=False) as file:
            return _mismatch(file, record)
    except OSError as error:
        return f"{record.name} cannot be read ({error.strerror or reason(error)})"


def copy_intact(source: BinaryIO, record: FileRecord, target: Path) -> None:
    """Copy an open file to `target`, on disk, while checking it.

    Raises:
        IndexDamagedError: it is not what was written; there is no copy then.
    """
    with DurableFile(target) as copy:
        problem = _mismatch(source, record, copy)
        if problem:
            raise index_damaged(problem)


def _mismatch(source: BinaryIO, record: FileRecord, copy: DurableFile | None = None) -> str:
    """Read an open file to its end, copying it where asked for; return "" if its checksum is the record's."""
    digest = FileChecksum()
    while data := source.read(_HASH_CHUNK):
        digest.update(data)
        if copy is not None:
            copy.write(data)
    matches = digest.hexdigest() == record.checksum
    return "" if matches else f"the checksum of {record.name} does not match the catalog's"


def _parse(raw: NDArray[np.uint8], kind: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    magic, version, file_kind, start, length = _HEADER.unpack(raw[: _HEADER.size].tobytes())
    if magic != MAGIC or file_kind.rstrip(b"\0").decode() != kind:
        raise ValueError(f"not a {kind} file")
    if version != VERSION:
        raise ValueError(f"version must be {VERSION}, got {version}")
    if start < _HEADER.size or start + length != raw.size:
        raise ValueError("the footer does not end the file")
    footer = json.loads(raw[start:].tobytes())
    described, attributes = footer["arrays"], footer["attributes"]
    if not isinstance(described, dict) or not isinstance(attributes, dict):
        raise ValueError("the footer is not of two JSON objects")
    arrays: dict[str, NDArray[Any]] = {}
    for name, (dtype, shape, offset) in described.items():
        if dtype not in _DTYPES or any(type(n) is not int or n < 0 for n in (*shape, offset)):
            raise ValueError(f"array {shown(name)} has dtype, shape and offset {shown([dtype, shape, offset])}")
        size = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=object))
        if offset % _ALIGN or offset < _HEADER.size or offset + size > start:
            raise ValueError(f"array {shown(name)} lies outside the file")
        arrays[name] = raw[offset : offset + size].view(dtype).reshape(shape)
    return arrays, attributes
