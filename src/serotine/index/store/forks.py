"""What becomes of an open index in a process that was forked from the one that opened it."""

from __future__ import annotations

import ctypes
import os
import threading
from weakref import WeakSet


class ForkAware:
    """An object that changes in a forked child; `watch` registers it."""

    def before_fork(self) -> None:
        """Prepare in the parent, in the thread that forks."""

    def after_fork_in_parent(self) -> None:
        """Undo `before_fork`."""

    def after_fork(self) -> None:
        """Give up what belongs to the parent; called in the child before anything else runs."""


_OBJECTS: WeakSet[ForkAware] = WeakSet()
# Held from before a fork until after it: a thread that forks meanwhile waits. Reentrant, because a signal handler may
# fork in the thread that is about to.
_turn = threading.RLock()
# The objects of the forks in progress, the innermost last: the set may change meanwhile.
_forking: list[list[ForkAware]] = []


def watch(value: ForkAware) -> None:
    """Call the methods of `value` whenever this process forks while `value` is alive."""
    _OBJECTS.add(value)


def leak(value: object) -> None:
    """Never finalize `value` in this process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _before() -> None:
    _turn.acquire()
    prepared: list[ForkAware] = []
    _forking.append(prepared)
    for value in list(_OBJECTS):
        prepared.append(value)
        value.before_fork()


def _in_parent() -> None:
    for value in _forking.pop():
        value.after_fork_in_parent()
    _turn.release()


def _in_child() -> None:
    # The thread that forked may have held it more than once.
    global _turn
    forking, _turn = _forking.pop(), threading.RLock()
    _forking.clear()
    for value in forking:
        value.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
