"""How much memory a piece of work takes at its peak."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType

_STATM = Path("/proc/self/statm")


def resident() -> int:
    """Bytes of this process in memory now, mapped files included; 0 where the system does not tell."""
    if not _STATM.exists():
        return 0
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def anonymous() -> int:
    """Bytes of this process in memory now that no file stands behind; 0 where the system does not tell."""
    if not _STATM.exists():
        return 0
    pages = _STATM.read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


class PeakMemory:
    """A context manager that watches this process.

    Attributes:
        above: the most that was resident, above what was at the beginning, in bytes.
        anonymous: the most that no file stood behind, in bytes.
    """

    def __init__(self) -> None:
        self.above = 0
        self.anonymous = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._before = resident()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.above = max(self.above, resident() - self._before)
            self.anonymous = max(self.anonymous, anonymous())
