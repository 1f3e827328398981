"""``serotine`` and ``python -m serotine``: the command line, which Ctrl-C ends quietly from the first import on."""

from __future__ import annotations

import signal
import sys

from serotine.process_end import end_process, forget_interrupt


def main() -> int:
    """Import the commands and run one; see `serotine.cli.main`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Inside an import KeyboardInterrupt has a traceback, and libraries may turn it into an ImportError. Outside the
        # command, also at the end of the process, nothing would catch it, and Python would end by the signal.
        signal.signal(signal.SIGINT, end_process)
    from serotine.cli import main as run

    status = run()
    forget_interrupt()
    return status


if __name__ == "__main__":
    sys.exit(main())
