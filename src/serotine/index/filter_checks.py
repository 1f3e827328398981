"""Warnings about filters whose fields no document has: such a filter is often a misspelling."""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from serotine.errors import UnknownFieldWarning
from serotine.index.store import Snapshot, Store, field_names, undeclared_fields
from serotine.issued_warnings import issue_warning, warnings_wanted


class FilterChecks:
    """Warnings about the filters of a store's searches; what they look up is cached until the store changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Replaced as a whole, so that threads need no lock; weak, so that no file stays open for it.
        self._cache: tuple[weakref.ref[Snapshot] | None, dict[str, bool]] = (None, {})

    def validate(self, where: Mapping[str, Any] | None) -> None:
        """Raise TypeError or ValueError for a filter that is malformed."""
        if where is not None:
            undeclared_fields(where, self._store.settings.filterable)

    def warnings(
        self, where: Mapping[str, Any] | None, seen: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[UnknownFieldWarning, ...]:
        """Return a warning that names the fields of a filter that no document has, if there are any.

        Fields that the index declares are not looked up: their names are checked already.

        Args:
            where: the filter.
            seen: metadata of some documents, which save looking up the fields they have.

        Raises:
            TypeError, ValueError: the filter is malformed.
        """
        if where is None:
            return ()
        fields = undeclared_fields(where, self._store.settings.filterable)
        absent = self._absent([field for field in fields if not any(_has(metadata, field) for metadata in seen)])
        if not absent:
            return ()
        names = ", ".join(map(repr, absent[:10])) + (f" (and {len(absent) - 10:,} more)" if len(absent) > 10 else "")
        message = f"where: no document has the field{'s' if len(absent) > 1 else ''} {names}; check the spelling"
        with self._store.catalog.reading() as connection:
            stored = field_names(connection)
        near = dict.fromkeys(close for field in absent[:10] if "." not in field for close in _close(field, stored))
        message += f": did you mean {' or '.join(map(repr, near))}?" if near else ""
        return (UnknownFieldWarning(message),)

    def warn(self, where: Mapping[str, Any] | None) -> None:
        """Issue the warnings about a filter."""
        if warnings_wanted():
            for warning in self.warnings(where):
                issue_warning(warning)

    def _absent(self, fields: Sequence[str]) -> list[str]:
        """Return the fields that no live document has. Each look-up reads the metadata of every document."""
        if not fields:
            return []
        snapshot = self._store.snapshot()
        looked_up_in, absent = self._cache
        if looked_up_in is None or looked_up_in() is not snapshot:
            absent = {}
            self._cache = (weakref.ref(snapshot), absent)
        for field in fields:
            if field not in absent:
                absent[field] = self._store.catalog.is_absent(field)
        return [field for field in fields if absent[field]]


def _has(metadata: Mapping[str, Any], field: str) -> bool:
    """Return whether a document has a field, or a value at a path; null counts."""
    if field in metadata:
        return True
    value: Any = metadata
    for name in field.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return True


def _close(field: str, names: Sequence[str]) -> list[str]:
    """Return the name that is most like a field, in any case; none where none is."""
    by_folded = {name.casefold(): name for name in names}
    return [by_folded[name] for name in difflib.get_close_matches(field.casefold(), by_folded, n=1)]
