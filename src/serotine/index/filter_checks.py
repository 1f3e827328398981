"""Warnings about filters whose fields no document has: such a filter is often a misspelling."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from serotine.errors import UnknownFieldWarning
from serotine.index.store import Store, field_names
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
    with store.catalog.reading() as connection:
        stored = field_names(connection)
    near = dict.fromkeys(close for field in absent[:10] if "." not in field for close in _close(field, stored))
    message += f": did you mean {' or '.join(map(repr, near))}?" if near else ""
    return (Notice(UnknownFieldWarning, message),)


def _close(field: str, names: Sequence[str]) -> list[str]:
    """Return the name that is most like a field, in any case; none where none is."""
    by_folded = {name.casefold(): name for name in names}
    return [by_folded[name] for name in difflib.get_close_matches(field.casefold(), by_folded, n=1)]


def warn_about_filter(store: Store, where: Mapping[str, Any] | None) -> None:
    """Issue the warnings of `filter_notices`."""
    if notices_wanted():
        for notice in filter_notices(store, where):
            notify(notice.category, notice.message)
