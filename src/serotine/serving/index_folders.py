"""Index folders as both servers see them: their names, and their replacement on disk."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from serotine.index import CATALOG_FILE

SUFFIX = ".serotine"
CatalogId = tuple[int, int]


def index_name(path: Path) -> str:
    """Return the name an index is served under: its folder's, without the suffix."""
    return path.absolute().name.removesuffix(SUFFIX)


def is_index(path: Path) -> bool:
    """Return whether a folder holds an index."""
    return (path / CATALOG_FILE).is_file()


def catalog_id(path: Path) -> CatalogId | None:
    """Return device and inode of an index's catalog, or None where there is none.

    They identify an open index: no other file gets the inode of a file that is open.
    """
    try:
        status = (path / CATALOG_FILE).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


class DelayedClose:
    """Closes replaced indexes once the requests that may still use them have ended.

    Args:
        seconds: how long such a request may run.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._queue: deque[tuple[float, Callable[[], None]]] = deque()
        self._lock = threading.Lock()

    def schedule(self, close: Callable[[], None]) -> None:
        """Call `close` after the delay, at a later `sweep`."""
        with self._lock:
            self._queue.append((time.monotonic() + self._seconds, close))

    def sweep(self, *, everything: bool = False) -> None:
        """Close what has waited long enough, or, at shutdown, everything."""
        while self._queue:
            with self._lock:
                if not self._queue or not (everything or self._queue[0][0] < time.monotonic()):
                    return
                _, close = self._queue.popleft()
            close()
