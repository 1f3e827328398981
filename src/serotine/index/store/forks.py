"""What becomes of an open index in a process that was forked from the one that opened it."""

from __future__ import annotations

import ctypes
import os
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
# Those of the fork in progress: the set may change meanwhile.
_forking: list[ForkAware] = []


def watch(value: ForkAware) -> None:
    """Call the methods of `value` whenever this process forks while `value` is alive."""
    _OBJECTS.add(value)


def leak(value: object) -> None:
    """Never finalize `value` in this process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _before() -> None:
    _forking[:] = list(_OBJECTS)
    for value in _forking:
        value.before_fork()


def _in_parent() -> None:
    for value in _forking:
        value.after_fork_in_parent()
    _forking.clear()


def _in_child() -> None:
    for value in _forking:
        value.after_fork()
    _forking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
