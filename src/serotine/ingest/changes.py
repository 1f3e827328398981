"""Comparison of a file's documents with those of an index."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from serotine.ingest.collisions import Holder, TakenIdError
from serotine.ingest.deletions import Deletions
from serotine.ingest.document import Document
from serotine.ingest.sources import SourceFile
from serotine.ingest.stored_contexts import HasContext

if TYPE_CHECKING:
    from serotine.index import CatalogEntry, Index

# Held in memory at a time, together.
_BATCH_CHARACTERS = 1 << 24
_NO_NAMES: Mapping[str, str] = {}

IsFree = Callable[[str, Sequence[str], bool], bool]
"""Whether a file may have these ids of a recorded one; the last: whether they are of the same text there."""


@dataclass(slots=True)
class DocumentChanges:
    """Documents of one file, by the action they need.

    Attributes:
        store: documents to store.
        claimed: ids of documents that the index already has, from elsewhere, and that become this file's.
        changed_metadata: new metadata, by id, of documents whose text the index already has.
        unchanged: number of documents whose text the index already has, those above included.
        new: how many of `store` have ids that the index does not have.
        displaced: ids of documents from elsewhere to remove: a record that is now cut, or passages of one that is not.
        owners: names of the records of other files whose documents these replace.
        deleted: ids of documents that were deleted from the index, and stay so.
    """

    store: list[Document] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)
    changed_metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    unchanged: int = 0
    new: int = 0
    displaced: list[str] = field(default_factory=list)
    owners: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)


def compare_documents(
    index: Index | None,
    file: SourceFile,
    documents: Sequence[Document],
    *,
    upsert: bool,
    is_free: IsFree,
    names: Mapping[str, str] = _NO_NAMES,
    deletions: Deletions | None = None,
    has_context: HasContext | None = None,
) -> DocumentChanges:
    """Compare documents of a file with an index.

    Args:
        index: the index to update; None where it does not exist yet.
        file: the file that contains the documents.
        documents: as `DocumentReader.documents` yields them.
        upsert: whether they replace documents of the same ids from elsewhere.
        is_free: returns whether the file may have ids of another one, as `NewIds.are_free` does.
        names: names of the files that are read, by the keys that an index records.
        deletions: of the file, with its earlier documents already applied.
        has_context: compares the contexts of passages, as `StoredContexts.of` returns it; None: they do not matter.

    Raises:
        TakenIdError: the index has another document with one of the ids.
    """
    entries = {} if index is None else index.sources.entries([document.id for document in documents])
    changes = DocumentChanges()
    if index is not None:
        displaced = _displaced(index, file, documents, upsert=upsert, is_free=is_free, names=names)
        changes.displaced = list(displaced)
        changes.owners = {owner for owner in displaced.values() if owner is not None}
    differing = [
        document.id
        for document in documents
        if document.id in entries and not entries[document.id].matches(document.id, document.text, document.metadata)
    ]
    contents = {} if index is None or not differing else index.sources.contents(differing)
    for document in documents:
        entry = entries.get(document.id)
        if entry is None:
            if deletions is not None and deletions.apply_to(document):
                changes.deleted.add(document.id)
                continue
            changes.new += 1
            changes.store.append(document)
            continue
        text, metadata = contents.get(document.id, (document.text, document.metadata))
        has_text = text == document.text
        same = has_text and _is_same(document, metadata)
        if entry.source != file.key:
            if not _may_take(entry, document.ids, is_free, upsert=upsert, same=same, has_text=has_text, names=names):
                raise TakenIdError(document, _declared_id(index, document), Holder.of(entry.source, names), file)
            if entry.source is not None:
                changes.owners.add(entry.source)
        if text != document.text:
            if entry.source == file.key and deletions is not None and deletions.apply_to(document):
                changes.deleted.add(document.id)
                continue
            changes.store.append(document)
            continue
        if has_context is not None and not has_context(document, entry):
            changes.store.append(document)
            continue
        changes.unchanged += 1
        if document.id in contents:
            changes.changed_metadata[document.id] = document.metadata
        if entry.source != file.key:
            changes.claimed.append(document.id)
    return changes


def _declared_id(index: Index | None, document: Document) -> str:
    """Return the id of a document that the index has: its record's, where both are passages of such a record."""
    if index is None or document.record is None:
        return document.id
    passages = index.sources.passages([document.record]).get(document.record, ())
    return document.record if document.id in passages else document.id


def _is_same(document: Document, metadata: Mapping[str, Any]) -> bool:
    """Return whether metadata are a document's, with or without what its reader adds."""
    own = {name: value for name, value in document.metadata.items() if name not in document.added}
    given = json.dumps(metadata, sort_keys=True)
    return given in (json.dumps(own, sort_keys=True), json.dumps(document.metadata, sort_keys=True))


def conflicts(
    index: Index | None,
    file: SourceFile,
    documents: Sequence[Document],
    *,
    upsert: bool,
    is_free: IsFree,
    names: Mapping[str, str],
) -> Iterator[tuple[Document, TakenIdError]]:
    """Yield the records, by their first document, that `compare_documents` refuses, and why."""
    try:
        compare_documents(index, file, documents, upsert=upsert, is_free=is_free, names=names)
    except TakenIdError:
        for _, group in groupby(documents, key=lambda document: document.ids[-1]):
            record = list(group)
            try:
                compare_documents(index, file, record, upsert=upsert, is_free=is_free, names=names)
            except TakenIdError as error:
                yield record[0], error


def _displaced(
    index: Index,
    file: SourceFile,
    documents: Sequence[Document],
    *,
    upsert: bool,
    is_free: IsFree,
    names: Mapping[str, str],
) -> dict[str, str | None]:
    """Return the ids under which the index has these documents from elsewhere: whole where cut, or cut otherwise.

    Each with the name of its file's record.
    """
    by_record = {document.record or document.id: document for document in documents if document.line is not None}
    cut = index.sources.passages(list(by_record))
    others = {id_: record for record, ids in cut.items() for id_ in ids}
    others |= {record: record for record, document in by_record.items() if document.record is not None}
    for document in documents:
        others.pop(document.id, None)
    displaced: dict[str, str | None] = {}
    for id_, entry in index.sources.entries(list(others)).items():
        if entry.source == file.key:
            continue
        if not _may_take(entry, (id_, others[id_]), is_free, upsert=upsert, names=names):
            raise TakenIdError(by_record[others[id_]], others[id_], Holder.of(entry.source, names), file)
        displaced[id_] = entry.source
    return displaced


def batched(documents: Iterator[Document], size: int) -> Iterator[list[Document]]:
    """Yield lists of at most `size` documents, or fewer long ones."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) == size or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _may_take(
    entry: CatalogEntry,
    ids: Sequence[str],
    is_free: IsFree,
    *,
    upsert: bool,
    names: Mapping[str, str],
    same: bool = False,
    has_text: bool = False,
) -> bool:
    """Return whether a document from elsewhere may become this file's: the same one, or one its file no longer has.

    With `upsert` any other, but none of a file that is read too: the next run would give it back. One from a file need
    only have the same text, as its metadata name that file.
    """
    if entry.source is None:
        return same or upsert
    if upsert and entry.source not in names:
        return True
    return is_free(entry.source, ids, has_text)
