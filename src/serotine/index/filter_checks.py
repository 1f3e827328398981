"""Warnings about filters that cannot match: no document has the field, or none has values of that kind in it."""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from serotine.errors import UnknownFieldWarning, shown
from serotine.index.store import FilterField, Snapshot, Store, field_names, sample_value, undeclared_fields
from serotine.issued_warnings import issue_warning, warnings_wanted

_KINDS = {"text": "text", "number": "a number", "bool": "true or false"}


class Fields(Protocol):
    """The fields of documents."""

    @property
    def filterable(self) -> Mapping[str, str]:
        """Type names of the fields that are declared."""
        ...

    def is_absent(self, field: FilterField) -> bool:
        """Return whether no document has a field with a value of its kind, although there are documents."""
        ...

    def names(self) -> list[str]:
        """Return the names of the fields of the first thousand documents."""
        ...

    def sample(self, name: str) -> Any:
        """Return a value that a document has in a field; None where none has one."""
        ...


class StoredFields:
    """The fields of the documents of a store; what is looked up is cached until the store changes. See `Fields`."""

    def __init__(self, store: Store) -> None:
        self.filterable = store.settings.filterable
        self._store = store
        # Replaced as a whole, so that threads need no lock; weak, so that no file stays open for it.
        self._cache: tuple[weakref.ref[Snapshot] | None, dict[FilterField, bool]] = (None, {})

    def is_absent(self, field: FilterField) -> bool:
        """See `Fields`. A look-up may read the metadata of every document."""
        snapshot = self._store.snapshot()
        looked_up_in, absent = self._cache
        if looked_up_in is None or looked_up_in() is not snapshot:
            absent = {}
            self._cache = (weakref.ref(snapshot), absent)
        if field not in absent:
            absent[field] = self._store.catalog.is_absent(field)
        return absent[field]

    def names(self) -> list[str]:
        """See `Fields`."""
        with self._store.catalog.reading() as connection:
            return field_names(connection)

    def sample(self, name: str) -> Any:
        """See `Fields`."""
        with self._store.catalog.reading() as connection:
            return sample_value(connection, name)


class FilterChecks:
    """Warnings about the filters of searches of documents with these fields."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def validate(self, where: Mapping[str, Any] | None) -> None:
        """Raise TypeError or ValueError for a filter that is malformed."""
        if where is not None:
            undeclared_fields(where, self._fields.filterable)

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
        fields = undeclared_fields(where, self._fields.filterable)
        unseen = [field for field in fields if not any(field.is_in(metadata) for metadata in seen)]
        names = dict.fromkeys(field.name for field in unseen)
        absent = [name for name in names if self._fields.is_absent(FilterField(name))]
        others = [
            field for field in unseen if field.kind and field.name not in absent and self._fields.is_absent(field)
        ]
        return (*([self._unknown(absent)] if absent else []), *map(self._of_another_kind, others))

    def warn(self, where: Mapping[str, Any] | None) -> None:
        """Issue the warnings about a filter."""
        if warnings_wanted():
            for warning in self.warnings(where):
                issue_warning(warning)

    def check_deletion(self, where: Mapping[str, Any], matching: int) -> None:
        """Raise ValueError where documents would be deleted because they lack a mistyped field; else warn of it."""
        found = self.warnings(where)
        if found and matching:
            raise ValueError(
                f"{found[0]}; nothing was deleted, though {matching:,} match without it: to delete them, pass their ids"
            )
        for warning in found:
            issue_warning(warning)

    def _unknown(self, absent: Sequence[str]) -> UnknownFieldWarning:
        names = ", ".join(map(repr, absent[:10])) + (f" (and {len(absent) - 10:,} more)" if len(absent) > 10 else "")
        message = f"where: no document has the field{'s' if len(absent) > 1 else ''} {names}; check the spelling"
        names_of_fields = self._fields.names()
        close = (near for field in absent[:10] if "." not in field for near in _close(field, names_of_fields))
        near = dict.fromkeys(close)
        message += f": did you mean {' or '.join(map(repr, near))}?" if near else ""
        return UnknownFieldWarning(message)

    def _of_another_kind(self, field: FilterField) -> UnknownFieldWarning:
        sample = self._fields.sample(field.name)
        found = f"where: no document has {_KINDS[field.kind]} in the field {field.name!r}"
        if sample is None:
            return UnknownFieldWarning(f"{found}: all values there are null or objects")
        return UnknownFieldWarning(
            f"{found}, but values such as {shown(sample)}; compare with values of that type, or declare the field's "
            "type when the index is created (filterable)"
        )


def _close(field: str, names: Sequence[str]) -> list[str]:
    """Return the name that is most like a field, in any case; none where none is."""
    by_folded = {name.casefold(): name for name in names}
    return [by_folded[name] for name in difflib.get_close_matches(field.casefold(), by_folded, n=1)]
