"""Files and folders that appear under their name whole, or not at all.

The index has its own durable files (`serotine.index.files.durable`), which its crash test covers; everything else that
is written to disk goes through here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file that replaces `path` when the block ends, fsynced; an exception leaves `path` as it was."""
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a whole file, text as UTF-8: after a crash `path` holds the old content or the new, never a part."""
    with atomic_file(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield a new empty folder beside `path` that replaces it when the block ends.

    An exception removes the new folder and leaves `path` as it was. No portable call exchanges two folders: where
    `path` exists, it is moved aside first, and put back if the second rename fails.
    """
    building = _temporary(path)
    building.mkdir(parents=True)
    try:
        yield building
        for file in building.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        _swap(building, path)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    _sync_folder(path.parent)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def _swap(building: Path, path: Path) -> None:
    if not path.exists():
        building.rename(path)
        return
    replaced = _temporary(path)
    path.rename(replaced)
    try:
        building.rename(path)
    except BaseException:
        replaced.rename(path)
        raise
    shutil.rmtree(replaced)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
