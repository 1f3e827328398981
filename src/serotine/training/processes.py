"""Several processes of one run, as `accelerate launch` starts them: what one of them does for all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

# What the others may wait for: a teacher's pass over everything.
_LONGEST_WAIT = timedelta(days=7)


def is_main() -> bool:
    """Whether this process is the only one or the first."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def main_first() -> Iterator[None]:
    """The main process goes first; the others begin when it is through, and find in files what it did."""
    if _count() == 1:
        yield
        return
    with _state().main_process_first():
        yield


def wait() -> None:
    """Until every process is here."""
    if _count() > 1:
        _state().wait_for_everyone()


def _count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _state() -> Any:
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available(), timeout=_LONGEST_WAIT)
