"""Serotine's warnings: issued as Python warnings, or collected by a caller that reports them itself.

`warnings.catch_warnings` changes the whole process; servers answer many requests at once, so they collect by context.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from serotine.errors import SerotineWarning, UnknownFieldWarning, WeakMatchWarning

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120 - as frames name their files

_collected: ContextVar[list[SerotineWarning] | None] = ContextVar("serotine_warnings", default=None)
_muted: ContextVar[bool] = ContextVar("serotine_warnings_muted", default=False)


def warnings_wanted() -> bool:
    """Return whether warnings are reported rather than dropped by `muted_warnings`."""
    return not _muted.get()


def issue_warning(warning: SerotineWarning) -> None:
    """Issue a warning at the first caller outside this package, unless a caller collects warnings."""
    if _muted.get():
        return
    collected = _collected.get()
    if collected is not None:
        collected.append(warning)
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(warning, stacklevel=level)


def issue_query_warnings(warnings_of_queries: Iterable[Iterable[SerotineWarning]]) -> None:
    """Issue one warning per kind: the first query's that has it, with the number of other queries that have it.

    Weak matches are an answer, not a fault, and are not issued.
    """
    faults = [
        warning for of_query in warnings_of_queries for warning in of_query if not isinstance(warning, WeakMatchWarning)
    ]
    for kind, (first, *others) in by_kind(faults):
        # A filter is that of all queries.
        more = f" (and {len(others):,} more queries)" if others and kind is not UnknownFieldWarning else ""
        issue_warning(kind(f"{first}{more}"))


def by_kind(issued: Iterable[SerotineWarning]) -> list[tuple[type[SerotineWarning], list[SerotineWarning]]]:
    """Return every kind of warning with the warnings of that kind, in order."""
    kinds: dict[type[SerotineWarning], list[SerotineWarning]] = {}
    for warning in issued:
        kinds.setdefault(type(warning), []).append(warning)
    return list(kinds.items())


@contextmanager
def collected_warnings() -> Iterator[list[SerotineWarning]]:
    """Collect the warnings of this thread or task instead of issuing them."""
    collected: list[SerotineWarning] = []
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)


@contextmanager
def muted_warnings() -> Iterator[None]:
    """Drop the warnings of this thread or task, for a caller that reports them itself or needs none."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)
