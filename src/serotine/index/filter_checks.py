"""Warnings about filters that cannot match: no document has the field, or none has values of that kind in it."""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    def absent(self, fields: Sequence[FilterField]) -> list[bool]:
        """Return for every field whether no document has it with a value of its kind, although there are documents."""
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

    def absent(self, fields: Sequence[FilterField]) -> list[bool]:
        """See `Fields`. A look-up may read the metadata of every document."""
        snapshot = self._store.snapshot()
        looked_up_in, absent = self._cache
        if looked_up_in is None or looked_up_in() is not snapshot:
            absent = {}
            self._cache = (weakref.ref(snapshot), absent)
        unknown = [field for field in fields if field not in absent]
        absent.update(zip(unknown, self._store.catalog.absent(unknown), strict=True))
        return [absent[field] for field in fields]

    def names(self) -> list[str]:
        """See `Fields`."""
        with self._store.catalog.reading() as connection:
            return field_names(connection)

    def sample(self, name: str) -> Any:
        """See `Fields`."""
        with self._store.catalog.reading() as connection:
            return sample_value(connection, name)


@dataclass(frozen=True, slots=True)
class _Finding:
    """A field of a filter that no document has, or none with values of that kind.

    Attributes:
        fault: what is wrong.
        fix: what to do; "" for nothing.
        deletion_fix: what to do where documents were to be deleted; "" for nothing.
    """

    fault: str
    fix: str
    deletion_fix: str

    @property
    def warning(self) -> UnknownFieldWarning:
        return UnknownFieldWarning(self.fault + self.fix)


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
        return tuple(finding.warning for finding in self._findings(where, seen))

    def _findings(self, where: Mapping[str, Any], seen: Sequence[Mapping[str, Any]] = ()) -> list[_Finding]:
        fields = undeclared_fields(where, self._fields.filterable)
        unseen = [field for field in fields if not any(field.is_in(metadata) for metadata in seen)]
        names = [FilterField(name) for name in dict.fromkeys(field.name for field in unseen)]
        absent = [field.name for field in self._absent(names)]
        others = self._absent([field for field in unseen if field.kind and field.name not in absent])
        return [*([self._unknown(absent)] if absent else []), *map(self._of_another_kind, others)]

    def _absent(self, fields: Sequence[FilterField]) -> list[FilterField]:
        return [field for field, absent in zip(fields, self._fields.absent(fields), strict=True) if absent]

    def warn(self, where: Mapping[str, Any] | None) -> None:
        """Issue the warnings about a filter."""
        if warnings_wanted():
            for warning in self.warnings(where):
                issue_warning(warning)

    def check_deletion(self, where: Mapping[str, Any], matching: int) -> None:
        """Raise ValueError where documents would be deleted because they lack a mistyped field; else warn of it."""
        findings = self._findings(where)
        if findings and matching:
            fix = f"{findings[0].deletion_fix}, or " if findings[0].deletion_fix else ""
            documents = "document that matches" if matching == 1 else f"{matching:,} documents that match"
            ids = "id" if matching == 1 else "ids"
            raise ValueError(
                f"{findings[0].fault}, so nothing was deleted; {fix}pass the {ids} of the {documents} without it"
            )
        for finding in findings:
            issue_warning(finding.warning)

    def _unknown(self, absent: Sequence[str]) -> _Finding:
        names = ", ".join(map(repr, absent[:10])) + (f" (and {len(absent) - 10:,} more)" if len(absent) > 10 else "")
        fault = f"where: no document has the field{'s' if len(absent) > 1 else ''} {names}"
        names_of_fields = self._fields.names()
        close = (near for field in absent[:10] if "." not in field for near in _close(field, names_of_fields))
        near = " or ".join(map(repr, dict.fromkeys(close)))
        if not near:
            return _Finding(fault, "; check the spelling", "check the spelling")
        return _Finding(fault, f"; check the spelling: did you mean {near}?", f"use {near}")

    def _of_another_kind(self, field: FilterField) -> _Finding:
        sample = self._fields.sample(field.name)
        found = f"where: no document has {_KINDS[field.kind]} in the field {field.name!r}"
        if sample is None:
            return _Finding(f"{found}: all values there are null or objects", "", "")
        fix = "compare with values of that type"
        declare = "declare the field's type when the index is created (filterable)"
        return _Finding(f"{found}, but values such as {shown(sample)}", f"; {fix}, or {declare}", fix)


def _close(field: str, names: Sequence[str]) -> list[str]:
    """Return the name that is most like a field, in any case; none where none is."""
    by_folded = {name.casefold(): name for name in names}
    return [by_folded[name] for name in difflib.get_close_matches(field.casefold(), by_folded, n=1)]
