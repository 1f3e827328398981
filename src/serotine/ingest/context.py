"""Passages that are encoded with the text around them (late chunking), and whether the index has them so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import TYPE_CHECKING

from serotine.cutting import PassageContext, passage_id
from serotine.ingest.chunking import Chunking
from serotine.ingest.document import Document

if TYPE_CHECKING:
    from serotine.index import CatalogEntry, Index, SourceRecord

# Passages that begin in one such stretch of characters are encoded together: more than most encoders read at once.
_STRETCH = 1 << 17


@dataclass(frozen=True, slots=True, eq=False)
class PassageGroup:
    """Consecutive passages of one document that are encoded together.

    Attributes:
        document: what their ids begin with.
        first: number of the first.
        spans: the (start, end) of each in the document.
        text: from the first one's first character to the last one's last.
    """

    document: str
    first: int
    spans: tuple[tuple[int, int], ...]
    text: str

    @property
    def ids(self) -> list[str]:
        """The id of every passage, and that of the one after them."""
        return [passage_id(self.document, self.first + i) for i in range(len(self.spans) + 1)]

    def context(self, number: int) -> PassageContext:
        """Return what a passage is encoded in, by its place in the group."""
        start, end = self.spans[number]
        offset = self.spans[0][0]
        return PassageContext(self.text, start - offset, end - offset)


def in_context(passages: Iterable[Document], text: str) -> Iterator[Document]:
    """Yield the passages of a document with the group of each; a document of one passage is encoded alone."""
    iterator = iter(passages)
    first, second = next(iterator, None), next(iterator, None)
    if first is None:
        return
    if second is None:
        yield first
        return
    for _, group in groupby(
        chain((first, second), iterator), key=lambda passage: passage.metadata["start"] // _STRETCH
    ):
        members = list(group)
        spans = tuple((member.metadata["start"], member.metadata["end"]) for member in members)
        document, _, number = members[0].id.rpartition("#")
        shared = PassageGroup(document, int(number), spans, text[spans[0][0] : spans[-1][1]])
        yield from (replace(member, group=shared, place=i) for i, member in enumerate(members))


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
        self._late = {name for name, record in records.items() if Chunking.parse(record.splitting).late}
        # The group asked about last: its passages come one after the other.
        self._group: PassageGroup | None = None
        self._is_same = False

    def has(self, document: Document, entry: CatalogEntry, *, is_late: bool) -> bool:
        """Return whether the vectors of a document that is in the index, with the same text, have the same context.

        Args:
            document: as it is read now.
            entry: its entry in the catalog.
            is_late: whether passages are encoded in their context now.
        """
        if document.group is None:
            # Whole documents have no context.
            return is_late or entry.source not in self._late
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
    return after is None or (isinstance(after, int) and after // _STRETCH != begin // _STRETCH)
