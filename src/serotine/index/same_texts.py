"""Vectors of texts that an index stores again under another id: copied, not computed."""

from __future__ import annotations

from collections.abc import Mapping

from serotine.index.documents import DocumentBatch
from serotine.index.files import DocumentVectors
from serotine.index.store import Store


def vectors_of_same_texts(
    store: Store, batch: DocumentBatch, same_texts: Mapping[str, str]
) -> list[DocumentVectors | None]:
    """Return the vectors of documents to be stored of which the index has the text; None where it has to be encoded.

    Args:
        store: the index.
        batch: the documents, encoded alone.
        same_texts: ids of documents of the index by those of documents to be stored, which should have the same text:
            one that has not, or is not there, is passed over.

    Returns:
        One for each document; an empty list where none can be copied.
    """
    if not same_texts or not store.settings.keep_vectors:
        return []
    numbers = store.catalog.live_ids(list(dict.fromkeys(same_texts.values())))
    rows = store.catalog.rows(list(numbers.values()))
    snapshot = store.snapshot()
    copied: list[DocumentVectors | None] = []
    for id_, text in zip(batch.ids, batch.stored_texts, strict=True):
        number = numbers.get(same_texts.get(id_, ""))
        located = None if number is None or rows[number].text != text else snapshot.locate(number)
        if located is None or located[0].vectors is None:
            copied.append(None)
            continue
        segment, position = located
        pooled = None if segment.pooled is None else segment.pooled[position]
        copied.append(DocumentVectors(segment.document(position), pooled))
    return copied if any(vectors is not None for vectors in copied) else []
