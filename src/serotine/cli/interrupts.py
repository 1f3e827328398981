"""Ctrl-C: the first ends a command in order, the second ends the process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from serotine.process_end import end_process


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first Ctrl-C, and end the process at once at the second.

    What an index has committed is safe from either. Where someone else handles Ctrl-C, nothing changes.
    """
    previous = signal.getsignal(signal.SIGINT)
    replaceable = previous in (signal.default_int_handler, end_process)
    if not replaceable or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
