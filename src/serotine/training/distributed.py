"""Synchronization of the processes of one run, as `accelerate launch` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

# The longest wait for the main process: it cleans millions of texts alone.
_TIMEOUT = timedelta(days=7)


def world_size() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Return whether this process is the only one or the first."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def main_process_first() -> Iterator[None]:
    """Run a block in the main process first; the others then run it, and read its results from files."""
    if world_size() == 1:
        yield
        return
    with _state().main_process_first():
        yield


def wait_for_all() -> None:
    """Wait until every process has called this."""
    if world_size() > 1:
        _state().wait_for_everyone()


def _state() -> Any:
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available(), timeout=_TIMEOUT)
