"""The writer lock: one process at a time changes an index."""

from __future__ import annotations

from pathlib import Path
from weakref import WeakValueDictionary

from filelock import FileLock, Timeout

from serotine.errors import IndexLockedError

LOCK_FILE = "writer.lock"
# The locks this process holds, by file: an error can then say whose writer it is.
_HELD: WeakValueDictionary[Path, WriterLock] = WeakValueDictionary()


class WriterLock:
    """A lock held from construction until `release`, or until the last reference is dropped or the process ends.

    Raises:
        IndexLockedError: another writer holds it.
    """

    def __init__(self, folder: Path) -> None:
        # thread_local=False: another thread may close the index than opened it.
        self._file = (folder / LOCK_FILE).resolve()
        self._lock = FileLock(self._file, timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            where = " in this process" if self._file in _HELD else ""
            raise IndexLockedError(
                f"{folder}: another writer has this index open{where}; close it, or open with read_only=True",
                str(folder),
            ) from None
        _HELD[self._file] = self

    def release(self) -> None:
        """Release the lock."""
        if _HELD.get(self._file) is self:
            del _HELD[self._file]
        self._lock.release()
