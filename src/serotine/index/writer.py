"""Changes to an index: documents added, replaced and deleted, each call one transaction, then maintenance."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import DuplicateIdError, MaintenanceWarning, UnknownIdError, first_and_count, reason
from serotine.index import documents
from serotine.index.documents import DocumentBatch
from serotine.index.files import VECTORS, SegmentRecord, write_vectors
from serotine.index.growth import Maintenance
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.store import SourceUpdate, Store, Transaction
from serotine.index.text_vectors import encode_documents
from serotine.progress import progress_bar
from serotine.texts import strings

_log = logging.getLogger("serotine.index")


class Writer:
    """The changes of one store; `Index` documents the methods of the same names.

    Args:
        store: the index; changing it raises ReadOnlyError where it holds no writer lock.
        encoder: encodes texts.
    """

    def __init__(self, store: Store, encoder: RecordedEncoder) -> None:
        self._store = store
        self._encoder = encoder
        self._maintenance = Maintenance(store)

    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None,
        metadata: Sequence[dict[str, Any]] | None,
        *,
        upsert: bool,
        show_progress: bool,
    ) -> None:
        """Add documents."""
        with self._store.changes:
            self._insert(ids, texts, vectors, metadata, upsert=upsert, show_progress=show_progress)
            self._maintain(show_progress=show_progress)

    def add_batches(
        self,
        batches: Iterable[Mapping[str, Any]],
        *,
        upsert: bool,
        expected_documents: int | None,
        show_progress: bool,
    ) -> int:
        """Add a stream of documents; return how many were added."""
        added = 0
        with progress_bar(expected_documents, "Adding", enabled=show_progress) as advance:
            for batch in batches:
                new = dict(batch) if upsert else self._without_existing(batch)
                with self._store.changes:
                    if new["ids"]:
                        self._insert(**new, upsert=upsert)
                    if expected_documents is not None:
                        self._maintenance.expect(expected_documents)
                    self._maintain()
                added += len(new["ids"])
                advance(len(batch["ids"]))
        if expected_documents is not None:
            with self._store.changes:
                self._maintenance.expect_no_more()
                self._maintain()
        return added

    def update_sources(
        self, updates: Sequence[SourceUpdate], removed: Sequence[str], expected_documents: int | None
    ) -> None:
        """Bring the documents of files up to date."""
        with self._store.changes:
            if updates or removed:
                self._insert(
                    [id_ for update in updates for id_ in update.ids],
                    [text for update in updates for text in update.texts],
                    metadata=[metadata for update in updates for metadata in update.metadata],
                    upsert=True,
                    then=lambda transaction: transaction.update_sources(updates, removed),
                )
            if expected_documents is None:
                self._maintenance.expect_no_more()
            else:
                self._maintenance.expect(expected_documents)
            self._maintain()

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents."""
        with self._store.changes:
            self._store.require_writer()
            unique_ids = list(dict.fromkeys(strings(ids, "ids")))
            numbers = self._store.catalog.live_ids(unique_ids)
            missing = [id_ for id_ in unique_ids if id_ not in numbers]
            if missing:
                raise UnknownIdError(f"ids: {first_and_count(missing)} is not in the index; nothing was deleted")
            if not unique_ids:
                return
            with self._store.transaction() as transaction:
                transaction.mark_deleted(list(numbers.values()))
            _log.info("%s: deleted %d documents", self._store.folder, len(numbers))

    def compact(self, *, show_progress: bool) -> None:
        """Rewrite the index without tombstones."""
        with self._store.changes:
            self._store.require_writer()
            self._maintenance.compact(show_progress=show_progress)

    def _insert(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
        *,
        upsert: bool,
        show_progress: bool = False,
        then: Callable[[Transaction], None] | None = None,
    ) -> None:
        """Insert documents without maintenance; `then` is called in the same transaction."""
        store = self._store
        store.require_writer()
        settings = store.settings
        batch = documents.validate_documents(
            ids,
            texts,
            vectors,
            metadata,
            dim=settings.dim,
            has_encoder=settings.encoder is not None,
            filterable=settings.filterable,
        )
        if not batch.ids and then is None:
            return
        replaced = store.catalog.live_ids(batch.ids)
        if replaced and not upsert:
            existing = [id_ for id_ in batch.ids if id_ in replaced]
            raise DuplicateIdError(
                f"ids: {first_and_count(existing)} is already in the index; pass upsert=True to replace it"
            )
        documents.warn_about_empty_texts(batch)
        number = store.catalog.next_number()
        record: SegmentRecord | None = None
        if batch.ids:
            record = write_vectors(store.new_file(VECTORS), number, settings.dim, self._vectors(batch, show_progress))
        # If this fails, the file stays until the next opening: only reading the catalog again shows whether a commit
        # that raised has happened.
        with store.transaction() as transaction:
            transaction.mark_deleted(list(replaced.values()))
            transaction.insert_documents(number, list(zip(batch.ids, batch.texts, batch.metadata, strict=True)))
            if record is not None:
                transaction.insert_segment(record)
            if then is not None:
                then(transaction)
        _log.info("%s: added %d documents, replacing %d", store.folder, len(batch.ids), len(replaced))

    def _vectors(self, batch: DocumentBatch, show_progress: bool) -> Iterator[NDArray[np.float16]]:
        if batch.vectors is not None:
            return iter(batch.vectors)
        texts = [text or "" for text in batch.texts]
        return encode_documents(self._encoder.get(), texts, self._store.settings.dim, show_progress=show_progress)

    def _without_existing(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return a batch without the documents that are already in the index."""
        if "ids" not in batch:
            keys = ", ".join(map(repr, batch)) or "nothing"
            raise ValueError(f"batches: must be dicts with 'ids', got one with {keys}")
        ids = documents.document_ids(batch["ids"])
        existing = self._store.catalog.live_ids(ids)
        documents.validate_counts(batch, len(ids))
        positions = [i for i, id_ in enumerate(ids) if id_ not in existing]
        return {name: None if values is None else [values[i] for i in positions] for name, values in batch.items()}

    def _maintain(self, *, show_progress: bool = False) -> None:
        try:
            self._maintenance.run(show_progress=show_progress)
        except OSError as error:
            # The new documents are safe; only their rewriting has to wait.
            warnings.warn(
                f"{self._store.folder}: documents are stored, but could not be compressed "
                f"({error.strerror or reason(error)}); the next change tries again",
                MaintenanceWarning,
                stacklevel=4,
            )
