"""The instruction set and the number of threads of the CPU kernels."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from serotine import _core
from serotine.errors import invalid, not_one_of, wrong_type


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Instruction sets of this build and this processor.

    Attributes:
        current: the instruction set in use.
        supported: instruction sets this processor runs, slowest first.
        compiled: instruction sets this build contains.
        threads: the number of threads a call may use.
        machine: the processor's architecture.

    >>> import dataclasses
    >>> [field.name for field in dataclasses.fields(Capabilities)]
    ['current', 'supported', 'compiled', 'threads', 'machine']
    """

    current: str
    supported: tuple[str, ...]
    compiled: tuple[str, ...]
    threads: int
    machine: str


def capabilities() -> Capabilities:
    """Return the instruction sets and threads that the CPU kernels can use, and those in use.

    >>> capabilities().current in capabilities().supported
    True
    """
    return Capabilities(
        current=_core.current(),
        supported=tuple(_core.supported()),
        compiled=tuple(_core.compiled()),
        threads=_core.num_threads(),
        machine=platform.machine(),
    )


def use(name: str) -> None:
    """Set the instruction set of the whole process: one of ``capabilities().supported``, or "auto".

    The environment variable ``SEROTINE_MAXSIM`` does the same when the module is imported.

    Raises:
        ValueError: this build does not have it, or this processor cannot run it.

    >>> use("portable")
    >>> capabilities().current
    'portable'
    >>> use("auto")
    """
    if not _core.use(_core.preferred() if name == "auto" else name):
        raise not_one_of("name", ["auto", *_core.supported()], name)


def set_num_threads(count: int) -> None:
    """Set the number of threads one call may use; ``SEROTINE_NUM_THREADS`` does the same at import.

    The threads persist between calls. While one call uses them, a call from another thread runs on its own thread only,
    so a server with many request threads is not oversubscribed.

    Raises:
        TypeError: not an int.
        ValueError: not between 1 and 1024.

    >>> default = num_threads()
    >>> set_num_threads(2)
    >>> num_threads()
    2
    >>> set_num_threads(default)
    """
    if isinstance(count, bool) or not isinstance(count, int):
        raise wrong_type("count", "an int of at least 1", count)
    if not 1 <= count <= 1024:
        raise invalid("count", "between 1 and 1024", count)
    _core.set_num_threads(count)


def num_threads() -> int:
    """Return the number of threads one call may use: the processors this process may run on, unless set.

    >>> num_threads() >= 1
    True
    """
    return _core.num_threads()


def apply_environment() -> None:
    """Apply ``SEROTINE_MAXSIM`` and ``SEROTINE_NUM_THREADS``; called once at import."""
    name = os.environ.get("SEROTINE_MAXSIM")
    if name:
        paths = ["auto", *_core.supported()]
        if name not in paths:
            raise not_one_of("environment variable SEROTINE_MAXSIM", paths, name)
        use(name)
    threads = os.environ.get("SEROTINE_NUM_THREADS")
    if threads:
        if not threads.isdecimal() or not 1 <= int(threads) <= 1024:
            raise invalid("environment variable SEROTINE_NUM_THREADS", "between 1 and 1024", threads)
        set_num_threads(int(threads))
