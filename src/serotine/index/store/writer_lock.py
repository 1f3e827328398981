"""The writer's lock: one process at a time changes an index."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from serotine.errors import IndexLockedError

LOCK_FILE = "writer.lock"


class WriterLock:
    """Held from construction until `release`; the operating system lets go of it when the process dies.

    Raises:
        IndexLockedError: another writer holds it.
    """

    def __init__(self, folder: Path) -> None:
        # thread_local=False: an index may be closed by another thread than the one that opened it.
        self._lock = FileLock(folder / LOCK_FILE, timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise IndexLockedError(
                f"{folder}: another writer has this index open; close it, or open with read_only=True"
            ) from None

    def release(self) -> None:
        """Lets the next writer in."""
        self._lock.release()
