"""Files and folders that appear under their name complete, or not at all.

The index has its own durable files (`serotine.index.files.durable`), which its crash test covers; everything else that
is written to disk goes through this module. A symlink is followed: what it points to is replaced.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Whether files that are open can be removed and renamed, and folders opened: on Windows they cannot.
POSIX_FILES = hasattr(os, "O_DIRECTORY")
# Seconds that a rename waits for other programs to close a file, where open files are not renamed.
_PATIENCE_SECONDS = 2.0
_POLL_SECONDS = 0.02
# Temporary names must fit into the 255 bytes of a file name.
_MAX_STEM = 50
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FREE_SPACE = "; the disk is full: free space, then try again"


class NotRegularError(OSError):
    """A FIFO, device, socket or folder in place of a file, or a symlink where none is followed."""


def open_regular(path: Path, mode: str = "rb", *, follow: bool = True) -> BinaryIO:
    """Open a file, without waiting for the other end where it is a FIFO.

    Args:
        path: the file.
        mode: as of `open`, with "b".
        follow: whether it may be a symlink.

    Raises:
        NotRegularError: it is no regular file.
    """
    return cast(BinaryIO, open(path, mode, opener=_open_regular if follow else open_own))


def open_own(name: str, flags: int) -> int:
    """Return a descriptor of a file that is no symlink, as `os.open` does; errors as of `open_regular`."""
    # Not every system has the flag.
    if Path(name).is_symlink():
        raise _not_regular(name)
    return _open_regular(name, flags | getattr(os, "O_NOFOLLOW", 0))


def _open_regular(name: str, flags: int) -> int:
    try:
        descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError as error:
        # A socket cannot be opened, nor a FIFO for writing that nobody reads; ELOOP: a symlink since it was looked at.
        if error.errno in (errno.ENXIO, errno.ELOOP):
            raise _not_regular(name) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(name)
    return descriptor


def _not_regular(name: str) -> NotRegularError:
    return NotRegularError(errno.EINVAL, "not a regular file", name)


@contextmanager
def named_errors(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Name `path` in errors of the system: they name no file when a disk is full, and else the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        name = str(path if error.filename is None else error.filename)
        if temporary is not None:
            name = name.replace(str(temporary), str(path))
        fault = (error.strerror or "").removesuffix(_FREE_SPACE)
        raise OSError(error.errno, fault + (_FREE_SPACE if error.errno in _FULL else ""), name) from error


def sync_file(file: BinaryIO) -> None:
    """Flush a file to the disk, and the disk's own cache where the system tells the two apart (macOS)."""
    file.flush()
    full_sync = getattr(fcntl, "F_FULLFSYNC", None)
    if full_sync is not None:
        # Not every file system has it.
        with suppress(OSError):
            fcntl.fcntl(file.fileno(), full_sync)
            return
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk; Windows has no such call."""
    if POSIX_FILES:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_file(source: Path, target: Path) -> None:
    """Rename a file or folder, replacing a file, or an empty folder, of that name.

    On Windows, where a program that has the target open prevents that, it is tried for two seconds.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            source.replace(target)
            return
        except PermissionError:
            if POSIX_FILES or time.monotonic() > deadline:
                raise
        if target.is_dir():
            with suppress(OSError):
                target.rmdir()
        time.sleep(_POLL_SECONDS)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file that replaces `path` when the block ends, fsynced; an exception leaves `path` unchanged."""
    path = path.resolve()
    temporary = _temporary(path)
    try:
        with named_errors(path, temporary):
            with temporary.open("wb") as file:
                yield file
                sync_file(file)
            replace_file(temporary, path)
    except BaseException:
        # Where no file can be created, there is none to remove either.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a whole file, text as UTF-8: after a crash `path` has either the old content or the new."""
    with atomic_file(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield a new empty folder beside `path` that replaces it when the block ends, fsynced.

    An exception removes the new folder and leaves `path` unchanged. No portable call exchanges two folders: an
    existing `path` is first renamed, and renamed back if the second rename fails.

    Raises:
        NotADirectoryError: `path` is a file.
    """
    path = path.resolve()
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path}: is a file; give a folder")
    building = _temporary(path)
    try:
        with named_errors(path, building):
            building.mkdir(parents=True)
            yield building
            for child in building.rglob("*"):
                if child.is_dir():
                    sync_folder(child)
                elif child.is_file():
                    # Windows flushes only what is open for writing.
                    with child.open("rb" if POSIX_FILES else "rb+") as file:
                        sync_file(file)
            sync_folder(building)
            _swap(building, path)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    sync_folder(path.parent)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name[:_MAX_STEM]}.{uuid.uuid4().hex}.tmp")


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
