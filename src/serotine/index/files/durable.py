"""The few operations that change files: every write, fsync, rename and removal of the index goes through here.

A file appears under its name only when all of it is on disk: it is written under a temporary name, fsynced, renamed,
and its folder fsynced. Tests replace these functions to stop the process at every operation.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from serotine import files
from serotine.files import named_errors, open_own, open_regular, replace_file, sync_file

TEMPORARY = ".tmp"
# Bytes that `allocate` writes at once.
_ALLOCATED = 1 << 22


def write(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of `data`."""
    file.write(data)


def sync(file: BinaryIO) -> None:
    """Flush a file to the disk."""
    sync_file(file)


def rename(source: Path, target: Path) -> None:
    """Rename a file or folder, replacing a file, or an empty folder, of that name."""
    replace_file(source, target)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    files.sync_folder(folder)


def remove(path: Path) -> None:
    """Remove a file, if it exists."""
    path.unlink(missing_ok=True)


def allocate(path: Path, size: int) -> None:
    """Create, enlarge or cut a file that takes `size` bytes of the disk; it stays as it is if the disk is full."""
    with open_regular(path, "ab", follow=False) as file:
        before = file.tell()
        if size < before:
            os.truncate(path, size)
        try:
            # Random: zeros take no space where the file system compresses.
            for start in range(before, size, _ALLOCATED):
                write(file, os.urandom(min(_ALLOCATED, size - start)))
            sync(file)
        except OSError:
            os.truncate(path, before)
            raise


def overwrite_note(path: Path, data: bytes) -> None:
    """Write a few bytes in place without flushing them, for what may be older than the rest after a power cut."""
    # Windows has descriptors for text, which write CR LF for LF.
    descriptor = open_own(str(path), os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0))
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


class DurableFile:
    """A file that exists under its name complete and on disk, or not at all.

    A context manager: leaving it normally commits, leaving it by an exception removes the temporary file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
        with named_errors(self.path, self._temporary):
            self._file: BinaryIO = self._temporary.open("wb")

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        with named_errors(self.path, self._temporary):
            write(self._file, data)

    def overwrite(self, position: int, data: bytes) -> None:
        """Overwrite the bytes at `position`, then return to the end."""
        with named_errors(self.path, self._temporary):
            self._file.seek(position)
            write(self._file, data)
            self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> DurableFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with named_errors(self.path, self._temporary):
                with self._file:
                    if kind is None:
                        sync(self._file)
                if kind is None:
                    rename(self._temporary, self.path)
        finally:
            # After a failure, remove it now rather than at the next opening: a full disk needs the space.
            if self._temporary.exists():
                remove(self._temporary)
        if kind is None:
            sync_folder(self.path.parent)
