"""Peak memory of a block of code."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType

_STATM = Path("/proc/self/statm")


def resident() -> int:
    """Return the resident bytes of this process, mapped files included; 0 on systems without /proc."""
    if not _STATM.exists():
        return 0
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def anonymous() -> int:
    """Return the resident bytes of this process that are not backed by a file; 0 on systems without /proc."""
    if not _STATM.exists():
        return 0
    pages = _STATM.read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


class PeakMemory:
    """Context manager that samples the memory of this process.

    Attributes:
        increase: peak of the resident bytes, above those at the start.
        anonymous: peak of the resident bytes that are not backed by a file.
    """

    def __init__(self) -> None:
        self.increase = 0
        self.anonymous = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._before = resident()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.01):
            self.increase = max(self.increase, resident() - self._before)
            self.anonymous = max(self.anonymous, anonymous())
