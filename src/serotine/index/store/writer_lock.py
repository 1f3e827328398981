"""The writer lock: one process at a time changes an index."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from serotine.errors import IndexLockedError

LOCK_FILE = "writer.lock"


class WriterLock:
    """A lock held from construction until `release`, or until the last reference is dropped or the process ends.

    Raises:
        IndexLockedError: another writer holds it.
    """

    def __init__(self, folder: Path) -> None:
        # thread_local=False: another thread may close the index than opened it.
        self._lock = FileLock(folder / LOCK_FILE, timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise IndexLockedError(
                f"{folder}: another writer has this index open; close it, or open with read_only=True"
            ) from None

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()
