"""Which instruction set runs, and on how many threads."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from serotine import _core


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this build and this processor can do.

    Attributes:
        current: the instruction set in use.
        supported: those this processor runs, slowest first.
        compiled: those this build contains.
        threads: how many threads a call may use.
        machine: the processor's architecture.
    """

    current: str
    supported: tuple[str, ...]
    compiled: tuple[str, ...]
    threads: int
    machine: str


def capabilities() -> Capabilities:
    """What the CPU kernels can use here, and what they use now."""
    return Capabilities(
        current=_core.current(),
        supported=tuple(_core.supported()),
        compiled=tuple(_core.compiled()),
        threads=_core.num_threads(),
        machine=platform.machine(),
    )


def use(name: str) -> None:
    """Forces an instruction set, for the whole process: one of ``capabilities().supported``, or "auto".

    The environment variable ``SEROTINE_MAXSIM`` does the same when the module is imported.

    Raises:
        ValueError: this build does not have it, or this processor cannot run it.
    """
    chosen = _core.preferred() if name == "auto" else name
    if not _core.use(chosen):
        raise ValueError(f"name: {name!r} cannot run here; choose one of {', '.join(['auto', *_core.supported()])}")


def set_num_threads(count: int) -> None:
    """Sets how many threads one call may use; ``SEROTINE_NUM_THREADS`` does the same at import.

    Threads are kept between calls. While one call uses them, a call from another thread runs alone on its own
    thread, so a server with many request threads is not oversubscribed.
    """
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"count: want an int of at least 1, got {type(count).__name__}")
    if not 1 <= count <= 1024:
        raise ValueError(f"count: want 1 to 1024 threads, got {count}")
    _core.set_num_threads(count)


def num_threads() -> int:
    """How many threads one call may use: the processors this process may run on, unless set."""
    return _core.num_threads()


def apply_environment() -> None:
    """Applies ``SEROTINE_MAXSIM`` and ``SEROTINE_NUM_THREADS``; called once at import."""
    name = os.environ.get("SEROTINE_MAXSIM")
    if name:
        try:
            use(name)
        except ValueError as error:
            raise ValueError(f"environment variable SEROTINE_MAXSIM: {error}") from None
    threads = os.environ.get("SEROTINE_NUM_THREADS")
    if threads:
        if not threads.isdigit():
            raise ValueError(f"environment variable SEROTINE_NUM_THREADS: want a number, got {threads!r}")
        set_num_threads(int(threads))
