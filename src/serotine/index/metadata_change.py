"""Changes of metadata: fields merged into a document's, or in place of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serotine.cutting import PASSAGE_FIELDS
from serotine.index.store import Row, is_passage


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """New fields of one document and of its passages.

    Attributes:
        fields: the fields, as JSON represents them.
        replace: whether all other fields are dropped. Otherwise they stay, and a field that is None is removed.
    """

    fields: Mapping[str, Any]
    replace: bool

    def apply(self, row: Row) -> dict[str, Any]:
        """Return the new metadata of a document; a passage never loses the fields that say which it is."""
        if self.replace:
            changed = dict(self.fields)
        else:
            merged = {**row.metadata, **self.fields}
            changed = {name: value for name, value in merged.items() if value is not None or name not in self.fields}
        if is_passage(row.id, row.metadata.get("document")):
            changed.update({name: row.metadata[name] for name in PASSAGE_FIELDS if name in row.metadata})
        return changed
