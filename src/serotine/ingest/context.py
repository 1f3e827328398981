"""Passages that are encoded with the text around them (late chunking)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, groupby

from serotine.cutting import PassageContext, passage_id
from serotine.ingest.document import Document

# Passages that begin in one such stretch of characters are encoded together: more than most encoders read at once.
STRETCH = 1 << 17


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
    for _, group in groupby(chain((first, second), iterator), key=lambda passage: passage.metadata["start"] // STRETCH):
        members = list(group)
        spans = tuple((member.metadata["start"], member.metadata["end"]) for member in members)
        document, _, number = members[0].id.rpartition("#")
        shared = PassageGroup(document, int(number), spans, text[spans[0][0] : spans[-1][1]])
        yield from (replace(member, group=shared, place=i) for i, member in enumerate(members))
