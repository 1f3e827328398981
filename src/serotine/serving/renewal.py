"""Indexes that are replaced or removed on disk while they are served."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from serotine.index import CATALOG_FILE

Stamp = tuple[int, int]


def stamp_of(path: Path) -> Stamp | None:
    """What tells the catalog of an index from another that takes its place; None where there is none.

    A catalog that is open keeps its number: no other file gets it meanwhile.
    """
    try:
        found = (path / CATALOG_FILE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Retired:
    """What is served no longer, closed when those who still used it have ended.

    Args:
        seconds: how long that may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._changing = threading.Lock()

    def put(self, close: Callable[[], None]) -> None:
        """Something to be closed by and by."""
        with self._changing:
            self._waiting.append((time.monotonic() + self._seconds, close))

    def sweep(self, *, all_: bool = False) -> None:
        """Closes what has waited long enough, or, at the end, everything."""
        while self._waiting:
            with self._changing:
                if not self._waiting or not (all_ or self._waiting[0][0] < time.monotonic()):
                    return
                _, close = self._waiting.popleft()
            close()
