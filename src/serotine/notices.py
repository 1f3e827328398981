"""Warnings about texts: issued as Python warnings, or collected by a caller that reports them itself.

`warnings.catch_warnings` changes the whole process; servers answer many requests at once, so they collect by context.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120 - as frames name their files


@dataclass(frozen=True, slots=True)
class Notice:
    """One warning: its class and its message."""

    category: type[Warning]
    message: str


_collected: ContextVar[list[Notice] | None] = ContextVar("serotine_notices", default=None)
_muted: ContextVar[bool] = ContextVar("serotine_notices_muted", default=False)


def notices_wanted() -> bool:
    """Return whether warnings are reported rather than dropped by `muted_notices`."""
    return not _muted.get()


def notify(category: type[Warning], message: str) -> None:
    """Issue a warning at the first caller outside this package, unless a caller collects warnings."""
    if _muted.get():
        return
    notices = _collected.get()
    if notices is not None:
        notices.append(Notice(category, message))
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def collected_notices() -> Iterator[list[Notice]]:
    """Collect the warnings of this thread or task instead of issuing them."""
    notices: list[Notice] = []
    token = _collected.set(notices)
    try:
        yield notices
    finally:
        _collected.reset(token)


@contextmanager
def muted_notices() -> Iterator[None]:
    """Drop the warnings of this thread or task, for a caller that reports them itself or needs none."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)
