"""``serotine`` and ``python -m serotine``: the command line, which Ctrl-C ends quietly from the first import on."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main() -> int:
    """Import the commands and run one; see `serotine.cli.main`."""
    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:
        # Inside an import KeyboardInterrupt has a traceback, and libraries may turn it into an ImportError.
        signal.signal(signal.SIGINT, _end)
    from serotine.cli import main as run

    signal.signal(signal.SIGINT, previous)
    return run()


def _end(_number: int, _frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(2, b"error: interrupted\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
