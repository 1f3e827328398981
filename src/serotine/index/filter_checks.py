"""Warnings about filters whose fields no document has: such a filter is often a misspelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serotine.errors import UnknownFieldWarning
from serotine.index.store import Store
from serotine.notices import Notice, notices_wanted, notify


def filter_notices(store: Store, where: Mapping[str, Any] | None) -> tuple[Notice, ...]:
    """Return a notice that names the fields of a filter that no document has, if there are any.

    Fields that the index declares are not looked up: their names are checked already.

    Raises:
        TypeError, ValueError: the filter is malformed.
    """
    absent = [] if where is None else store.catalog.absent_fields(where)
    if not absent:
        return ()
    names = ", ".join(map(repr, absent[:10])) + (f" (and {len(absent) - 10:,} more)" if len(absent) > 10 else "")
    message = f"where: no document has the field{'s' if len(absent) > 1 else ''} {names}; check the spelling"
    return (Notice(UnknownFieldWarning, message),)


def warn_about_filter(store: Store, where: Mapping[str, Any] | None) -> None:
    """Issue the warnings of `filter_notices`."""
    if notices_wanted():
        for notice in filter_notices(store, where):
            notify(notice.category, notice.message)
