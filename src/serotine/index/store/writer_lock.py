"""The writer lock: one process at a time changes an index."""

from __future__ import annotations

import os
import time
from pathlib import Path
from weakref import WeakValueDictionary

from filelock import FileLock, Timeout, lock_descriptor

from serotine.errors import IndexLockedError, reason
from serotine.index.store import forks
from serotine.index.store.forks import ForkAware
from serotine.index.store.sqlite_errors import unwritable
from serotine.wording import worded

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = "writer.lock"
# Seconds that a writer waits for a lock: `is_held` takes it for less than a millisecond.
_PATIENCE_SECONDS = 0.1
_POLL_SECONDS = 0.01
# The locks this process holds, by file: an error can then say whose writer it is.
_HELD: WeakValueDictionary[Path, WriterLock] = WeakValueDictionary()


class WriterLock(ForkAware):
    """A lock held from construction until `release`, or until the last reference is dropped or the process ends.

    The folder itself is locked too: the lock file alone would admit a second writer once it was removed. A process that
    is forked meanwhile does not hold the lock, and cannot release it.

    Raises:
        IndexLockedError: another writer holds it.
        SerotineError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder: int | None = None
        # thread_local=False: another thread may close the index than opened it.
        self._file = (folder / LOCK_FILE).resolve()
        self._lock = FileLock(self._file, timeout=_PATIENCE_SECONDS, poll_interval=_POLL_SECONDS, thread_local=False)
        try:
            self._lock.acquire()
            self._folder = _lock_folder(folder)
        except (Timeout, BlockingIOError):
            self._lock.release()
            where = " in this process" if self._file in _HELD else ""
            fix = worded("close it, or open with read_only=True", http="try again in some seconds")
            raise IndexLockedError(f"{folder}: another writer has this index open{where}; {fix}", str(folder)) from None
        except OSError as error:
            self._lock.release()
            raise unwritable(folder, error.strerror or reason(error)) from error
        self._process = os.getpid()
        _HELD[self._file] = self
        forks.watch(self)

    def release(self) -> None:
        """Release the lock; without effect in a forked process."""
        if _HELD.get(self._file) is self:
            del _HELD[self._file]
        self._close_folder()
        if os.getpid() == self._process:
            self._lock.release()

    def after_fork(self) -> None:
        """Close this process's copies: the lock ends with the parent, not with its last child."""
        _HELD.pop(self._file, None)
        self._close_folder()

    def _close_folder(self) -> None:
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def __del__(self) -> None:
        self._close_folder()


def _lock_folder(folder: Path) -> int | None:
    """Lock a folder and return its descriptor, or None on a file system that locks no folders.

    Raises:
        BlockingIOError: another writer holds the lock.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    try:
        while not lock_descriptor(descriptor, blocking=False):
            if time.monotonic() > deadline:
                raise BlockingIOError
            time.sleep(_POLL_SECONDS)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError) and not isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


def is_held(folder: Path) -> bool:
    """Return whether a writer has the index in `folder` open: in another process, or in this one."""
    return _is_locked(folder / LOCK_FILE) or (fcntl is not None and _is_locked(folder))


def _is_locked(path: Path) -> bool:
    try:
        # Without waiting where it is a FIFO.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        if fcntl is None:
            return not lock_descriptor(descriptor, blocking=False)
        # Shared: readers that look at the same time see no lock of each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        # Others are of file systems without locks.
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)
    return False
