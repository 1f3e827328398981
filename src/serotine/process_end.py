"""The end of a process at Ctrl-C, where nothing is in progress: while it starts, and after its command."""

from __future__ import annotations

import os
from contextlib import suppress
from types import FrameType

INTERRUPTED = 130
"""Exit status of an interrupted process: 128 + SIGINT, as shells count."""


def forget_interrupt() -> None:
    """Let the process end with its exit status after a KeyboardInterrupt that was handled.

    Where one has passed through `exec` of a string, as in the creation of a dataclass or a named tuple at an import,
    CPython ends the process by SIGINT instead, although it was caught; the next `exec` of a string resets that.
    """
    exec("")  # noqa: S102


def end_process(_number: int, _frame: FrameType | None) -> None:
    """Handle SIGINT: one line, then the exit status, without what KeyboardInterrupt would print."""
    with suppress(OSError):
        os.write(2, b"error: interrupted\n")
    os._exit(INTERRUPTED)
