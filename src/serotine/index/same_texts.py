"""Vectors of texts that an index stores again under another id: copied, not computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from serotine.index.documents import DocumentBatch
from serotine.index.files import SEGMENT_FOLDER, DocumentVectors, Segment, damage
from serotine.index.store import Store

# Of a segment from which less than this share of its tokens is copied, checking the files takes longer than encoding.
_LEAST_SHARE = 0.01


class SameTexts:
    """The stored vectors of one index by text.

    Args:
        store: the index.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # By the name of the vectors' file: whether the files of a segment are intact.
        self._intact: dict[str, bool] = {}

    def vectors(self, batch: DocumentBatch, same_texts: Mapping[str, str]) -> list[DocumentVectors | None]:
        """Return stored vectors of documents whose text the index already has; None where it has to be encoded.

        Args:
            batch: documents to be stored, whose texts would be encoded alone.
            same_texts: ids of documents of the index by those of documents to be stored. An id whose text differs, or
                that is not there any more, is ignored.

        Returns:
            One for each document; an empty list where none are copied.
        """
        settings = self._store.settings
        # Without a recorded encoder, another one may have computed them.
        if not same_texts or not settings.keep_vectors or settings.encoder is None:
            return []
        numbers = self._store.catalog.live_ids(list(dict.fromkeys(same_texts.values())))
        rows = self._store.catalog.rows(list(numbers.values()))
        snapshot = self._store.snapshot()
        located: list[tuple[Segment, int] | None] = []
        tokens: Counter[Segment] = Counter()
        for id_, text in zip(batch.ids, batch.stored_texts, strict=True):
            number = numbers.get(same_texts.get(id_, ""))
            row = None if number is None else rows.get(number)
            place = None if number is None or row is None or row.text != text else snapshot.locate(number)
            located.append(place)
            if place is not None:
                segment, position = place
                tokens[segment] += int(segment.offsets[position + 1] - segment.offsets[position])
        usable = {segment for segment, count in tokens.items() if self._is_usable(segment, count)}
        copied = [None if place is None or place[0] not in usable else _copied(*place) for place in located]
        return copied if usable else []

    def _is_usable(self, segment: Segment, tokens: int) -> bool:
        """Return whether vectors of so many tokens may be copied: damage that is copied would get a valid checksum."""
        vectors = segment.record.vectors
        if vectors is None:
            return False
        if vectors.name not in self._intact:
            if tokens < _LEAST_SHARE * segment.record.tokens:
                return False
            folder = self._store.folder / SEGMENT_FOLDER
            files = [file for file in (vectors, segment.record.pooled) if file is not None]
            self._intact[vectors.name] = not any(damage(folder / file.name, file) for file in files)
        return self._intact[vectors.name]


def _copied(segment: Segment, position: int) -> DocumentVectors:
    pooled = None if segment.pooled is None else segment.pooled[position]
    return DocumentVectors(segment.document(position), pooled)
