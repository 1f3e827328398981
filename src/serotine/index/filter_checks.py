"""Warnings about filters that cannot match: no document has the field, or none has values of that kind in it."""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from serotine.errors import UnknownFieldWarning, shown
from serotine.index.store import FilterField, Snapshot, Store, field_names, sample_value, undeclared_fields
from serotine.issued_warnings import issue_warning, warnings_wanted

_KINDS = {"text": "text", "number": "a number", "bool": "true or false"}


class FilterChecks:
    """Warnings about the filters of a store's searches; what they look up is cached until the store changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Replaced as a whole, so that threads need no lock; weak, so that no file stays open for it.
        self._cache: tuple[weakref.ref[Snapshot] | None, dict[FilterField, bool]] = (None, {})

    def validate(self, where: Mapping[str, Any] | None) -> None:
        """Raise TypeError or ValueError for a filter that is malformed."""
        if where is not None:
            undeclared_fields(where, self._store.settings.filterable)

    def warnings(
        self, where: Mapping[str, Any] | None, seen: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[UnknownFieldWarning, ...]:
        """Return warnings about the fields of a filter that no document has, or none with values of that kind.

        Fields that the index declares are not looked up: their names and values are checked already.

        Args:
            where: the filter.
            seen: metadata of some documents, which save looking up the fields they have.

        Raises:
            TypeError, ValueError: the filter is malformed.
        """
        if where is None:
            return ()
        fields = undeclared_fields(where, self._store.settings.filterable)
        unseen = [field for field in fields if not any(field.is_in(metadata) for metadata in seen)]
        names = dict.fromkeys(field.name for field in unseen)
        absent = [name for name in names if self._is_absent(FilterField(name))]
        others = [field for field in unseen if field.kind and field.name not in absent and self._is_absent(field)]
        return (*([self._unknown(absent)] if absent else []), *map(self._of_another_kind, others))

    def warn(self, where: Mapping[str, Any] | None) -> None:
        """Issue the warnings about a filter."""
        if warnings_wanted():
            for warning in self.warnings(where):
                issue_warning(warning)

    def _unknown(self, absent: Sequence[str]) -> UnknownFieldWarning:
        names = ", ".join(map(repr, absent[:10])) + (f" (and {len(absent) - 10:,} more)" if len(absent) > 10 else "")
        message = f"where: no document has the field{'s' if len(absent) > 1 else ''} {names}; check the spelling"
        with self._store.catalog.reading() as connection:
            stored = field_names(connection)
        near = dict.fromkeys(close for field in absent[:10] if "." not in field for close in _close(field, stored))
        message += f": did you mean {' or '.join(map(repr, near))}?" if near else ""
        return UnknownFieldWarning(message)

    def _of_another_kind(self, field: FilterField) -> UnknownFieldWarning:
        with self._store.catalog.reading() as connection:
            sample = sample_value(connection, field.name)
        stored = f", but values such as {shown(sample)}" if sample is not None else ""
        return UnknownFieldWarning(
            f"where: no document has {_KINDS[field.kind]} in the field {field.name!r}{stored}; "
            "compare with values of that type, or declare the field's type when the index is created"
        )

    def _is_absent(self, field: FilterField) -> bool:
        """Return whether no live document has a field. A look-up may read the metadata of every document."""
        snapshot = self._store.snapshot()
        looked_up_in, absent = self._cache
        if looked_up_in is None or looked_up_in() is not snapshot:
            absent = {}
            self._cache = (weakref.ref(snapshot), absent)
        if field not in absent:
            absent[field] = self._store.catalog.is_absent(field)
        return absent[field]


def _close(field: str, names: Sequence[str]) -> list[str]:
    """Return the name that is most like a field, in any case; none where none is."""
    by_folded = {name.casefold(): name for name in names}
    return [by_folded[name] for name in difflib.get_close_matches(field.casefold(), by_folded, n=1)]
