"""Whether a file has changed since it was read: its state, the digest of its bytes, whether it still exists."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from serotine.errors import InputFileError
from serotine.ingest.lines import open_file
from serotine.ingest.sources import SourceFile

_BLOCK = 1 << 20
# A file changed just now may change again with the same times, which have the resolution of the system's clock.
_SETTLED_NS = 2_000_000_000


def file_size(file: SourceFile) -> int:
    """Return the number of bytes of a file; 0 where it cannot be reached."""
    try:
        return file.path.stat().st_size
    except OSError:
        return 0


def read_state(file: SourceFile) -> str:
    """Return size, times and inode of a file, which change whenever its content does."""
    try:
        status = file.path.stat()
    except OSError as error:
        raise InputFileError(f"{file.name}: cannot be read ({error.strerror or error}); check the file") from None
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def settled_stamp(state: str) -> str:
    """Return the state to record, or "" where the file changed too recently for its times to prove anything."""
    changed = max(int(number) for number in state.split()[1:3])
    return state if changed < time.time_ns() - _SETTLED_NS else ""


def read_digest(file: SourceFile, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """Return the BLAKE2b digest of a file's bytes, in hexadecimal; `on_bytes` is called with their number so far."""
    digest = hashlib.blake2b(digest_size=16)
    with open_file(file.path, file.name, unpack=False) as stream:
        size = 0
        while block := stream.read(_BLOCK):
            digest.update(block)
            size += len(block)
            on_bytes(size)
    return digest.hexdigest()


def is_gone(name: str) -> bool:
    """Return whether a recorded file certainly no longer exists; one that cannot be reached may exist."""
    if not os.path.isabs(name):  # noqa: PTH117 - a name of the caller's need not be a path
        return False
    try:
        Path(name).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
