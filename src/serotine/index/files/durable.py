"""The few operations that change files: every write, fsync, rename and removal of the index goes through here.

A file appears under its name only when all of it is on disk: it is written under a temporary name, fsynced, renamed,
and its folder fsynced. Tests replace these functions to stop the process at every one of them.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

TEMPORARY = ".tmp"


def write(file: BinaryIO, data: bytes | memoryview) -> None:
    """Writes all of `data`."""
    file.write(data)


def sync(file: BinaryIO) -> None:
    """Returns when everything written is on disk."""
    file.flush()
    os.fsync(file.fileno())


def rename(source: Path, target: Path) -> None:
    """Renames a file or folder, replacing a file of that name."""
    source.replace(target)


def sync_folder(folder: Path) -> None:
    """Returns when the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Removes a file; one that is already gone is no error."""
    path.unlink(missing_ok=True)


class DurableFile:
    """A file that exists under its name whole and on disk, or not at all.

    Use as a context manager: leaving it normally commits, leaving it by an exception removes the temporary file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
        self._file: BinaryIO = self._temporary.open("wb")

    def write(self, data: bytes | memoryview) -> None:
        """Appends `data`."""
        write(self._file, data)

    def rewrite(self, position: int, data: bytes) -> None:
        """Replaces what stands at `position`, and returns to the end."""
        self._file.seek(position)
        write(self._file, data)
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> DurableFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._file:
                if kind is None:
                    sync(self._file)
            if kind is None:
                rename(self._temporary, self.path)
        finally:
            # Gone where it was renamed; otherwise, a full disk needs the room now rather than at the next opening.
            if self._temporary.exists():
                remove(self._temporary)
        if kind is None:
            sync_folder(self.path.parent)
