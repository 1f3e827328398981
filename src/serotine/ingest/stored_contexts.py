"""Whether an index has passages in the context that they are encoded in (late chunking)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from serotine.ingest import context
from serotine.ingest.chunking import Chunking
from serotine.ingest.context import PassageGroup
from serotine.ingest.document import Document
from serotine.ingest.file_records import is_part_of

if TYPE_CHECKING:
    from serotine.index import CatalogEntry, Index, SourceRecord

HasContext = Callable[[Document, "CatalogEntry"], bool]
"""Whether the vectors of a document that is in the index, with the same text, have the same context."""


class StoredContexts:
    """What an index has of passages and their contexts, as it was before an update.

    Args:
        index: the index; None where it does not exist yet.
        records: the records of its files by name; those of the index unless given.
    """

    def __init__(self, index: Index | None, records: Mapping[str, SourceRecord] | None = None) -> None:
        self._index = index
        if records is None:
            records = {} if index is None else index.sources.all()
        self._records = records
        self._late = {name for name, record in records.items() if Chunking.parse(record.splitting).late}
        # The group asked about last: its passages come one after the other.
        self._group: PassageGroup | None = None
        self._is_same = False

    def of(self, record: SourceRecord, *, is_late: bool) -> HasContext:
        """Return what compares the documents of a file.

        Args:
            record: of the file as it is now.
            is_late: whether its passages are encoded in their context now.
        """
        previous = self._records.get(record.name)
        return partial(self._has, record.name, is_late, previous is not None and is_part_of(previous, record))

    def _has(self, name: str, is_late: bool, is_part: bool, document: Document, entry: CatalogEntry) -> bool:
        if document.group is None:
            # Whole documents have no context.
            return is_late or entry.source not in self._late
        if is_part and entry.source == name:
            # Of the same bytes: the passages that are not there yet are what they were.
            return True
        if entry.source not in self._late or self._index is None:
            return False
        if document.group is not self._group:
            self._group, self._is_same = document.group, _is_stored(self._index, document.group)
        return self._is_same


def _is_stored(index: Index, group: PassageGroup) -> bool:
    """Return whether an index has exactly these passages as a group: their texts, and how far they are apart."""
    *ids, next_id = group.ids
    stored = index.sources.contents([*ids, next_id])
    starts = [stored[id_][1].get("start") if id_ in stored else None for id_ in (*ids, next_id)]
    offset, begin = group.spans[0][0], starts[0]
    if not isinstance(begin, int):
        return False
    for i, (id_, (start, end)) in enumerate(zip(ids, group.spans, strict=True)):
        text = group.text[start - offset : end - offset]
        if id_ not in stored or stored[id_][0] != text or starts[i] != begin + start - offset:
            return False
    # The one after them was none of the group.
    after = starts[-1]
    return after is None or (isinstance(after, int) and after // context.STRETCH != begin // context.STRETCH)
