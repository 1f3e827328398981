"""Changes of metadata: fields merged into a document's, or in place of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serotine.cutting import PASSAGE_FIELDS, with_own
from serotine.index.store import Row, passage_origin
from serotine.json_values import characters, metadata_problem
from serotine.wording import worded


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """New fields of one document and of its passages.

    Attributes:
        fields: the fields, as JSON represents them.
        replace: whether all other fields are dropped. Otherwise they stay, and a field that is None is removed.
        position: position of the document in the call, for messages.
    """

    fields: Mapping[str, Any]
    replace: bool
    position: int = 0

    def apply(self, row: Row) -> dict[str, Any]:
        """Return the new metadata of a document; a passage never loses the fields that say which it is.

        Raises:
            ValueError: one of these fields would change; or the metadata would have too many characters, and more than
                they have.
        """
        if self.replace:
            changed = dict(self.fields)
        else:
            merged = {**row.metadata, **self.fields}
            changed = {name: value for name, value in merged.items() if value is not None or name not in self.fields}
        for name in _passage_field_names(row):
            if name in self.fields and self.fields[name] != row.metadata.get(name):
                raise ValueError(
                    f"metadata[{self.position}][{name!r}]: says which part of its document the passage {row.id!r} "
                    "is, and cannot change; leave it out"
                )
        changed.update(passage_fields(row))
        self._check_size(changed, row)
        return changed

    def _check_size(self, changed: Mapping[str, Any], row: Row) -> None:
        """Raise ValueError where a change makes metadata too long; those of an older index may be so already."""
        removal = "leave it out" if self.replace else worded("remove it with None", http="remove it with null")
        problem = metadata_problem(changed, fix=f"shorten it, or {removal}")
        if problem and characters(changed) > characters(row.metadata):
            is_alone = self.replace or metadata_problem(self.fields)
            others = "" if is_alone else f"with the fields that {row.id!r} has, "
            raise ValueError(f"metadata[{self.position}]: {others}{problem}")


def passage_fields(row: Row) -> dict[str, Any]:
    """Return the fields that say which passage of a text a document is; none where it is no passage."""
    return {name: row.metadata[name] for name in _passage_field_names(row) if name in row.metadata}


def of_passage(metadata: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a document that replaces a passage, and is that passage: with its `fields`.

    Others of the same names are renamed, as `with_own` does.
    """
    others = {name: value for name, value in metadata.items() if name not in fields or value != fields[name]}
    return with_own(others, fields)


def _passage_field_names(row: Row) -> list[str]:
    origin = passage_origin(row.id, row.metadata)
    if origin is None:
        return []
    # A passage of a file names it as its source.
    return [*PASSAGE_FIELDS, *(["source"] if row.metadata.get("document") != origin else [])]
