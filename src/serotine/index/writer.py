"""Changes to an index: documents added, replaced and deleted, each call one transaction, then maintenance."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.coverage import CoverageReport, unknown_fix
from serotine.errors import (
    IndexDamagedError,
    MaintenanceWarning,
    UnknownIdError,
    first_and_count,
    reason,
)
from serotine.index import documents
from serotine.index.files import DocumentVectors, SegmentRecord, write_segments
from serotine.index.filter_checks import FilterChecks, StoredFields
from serotine.index.growth import Maintenance
from serotine.index.long_texts import (
    LongTexts,
    check_long_texts,
    truncated_fix,
)
from serotine.index.metadata_change import MetadataChange
from serotine.index.pooled_model import PooledModel
from serotine.index.preparation import Preparation, PreparedDocuments
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.results import SourcesReport
from serotine.index.same_texts import SameTexts
from serotine.index.search import checked_weights
from serotine.index.store import SourceUpdate, Store, Transaction
from serotine.index.text_vectors import encode_documents, encode_with_pooled, with_pooled
from serotine.index.tuning import Tuner, TuneReport
from serotine.issued_warnings import issue_warning
from serotine.languages import load_model_for
from serotine.progress import progress_bar
from serotine.texts import strings

_log = logging.getLogger("serotine.index")


class Writer:
    """The changes of one store; `Index` documents the methods of the same names.

    Args:
        store: the index; changing it raises ReadOnlyError where it holds no writer lock.
        encoder: encodes texts.
        pooled: gives the pooled vectors of texts.
    """

    def __init__(self, store: Store, encoder: RecordedEncoder, pooled: PooledModel) -> None:
        self._store = store
        self._filter_checks = FilterChecks(StoredFields(store))
        self._encoder = encoder
        self._pooled = pooled
        self._preparation = Preparation(store, encoder)
        self._maintenance = Maintenance(store)
        self._same_texts = SameTexts(store)
        self._tuner = Tuner(store, encoder)
        # Seconds of building since the last calibration; calibrating may take a share of them.
        self._building = 0.0

    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None,
        metadata: Sequence[dict[str, Any]] | None,
        upsert: bool,
        long_texts: LongTexts,
        *,
        pooled: object,
        show_progress: bool,
    ) -> None:
        """Add documents."""
        check_long_texts(long_texts)
        documents.check_text_lengths(texts)
        with self._store.changes:
            batch = self._preparation.prepare(
                ids, texts, vectors, metadata, pooled, upsert=upsert, long_texts=long_texts
            )
            self._warn(batch.report, long_texts)
            self._insert(batch, show_progress=show_progress)
            self._maintain(show_progress=show_progress)

    def check_add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None,
        metadata: Sequence[dict[str, Any]] | None,
        upsert: bool,
        long_texts: LongTexts,
    ) -> tuple[list[str], CoverageReport]:
        """Return the ids that `add` would refuse, and what it would warn about; raise what else it would raise."""
        with self._store.changes:
            existing = [] if upsert else self.existing(ids)
            if existing:
                return existing, CoverageReport()
            batch = self._preparation.prepare(ids, texts, vectors, metadata, upsert=upsert, long_texts=long_texts)
            return [], batch.report

    def existing(self, ids: Sequence[str]) -> list[str]:
        """Return those of `ids` that are in the index, as documents or as split ones."""
        known = {*self._store.catalog.live_ids(ids), *self._store.catalog.passages(ids)}
        return [id_ for id_ in ids if id_ in known]

    def add_batches(
        self,
        batches: Iterable[Mapping[str, Any]],
        upsert: bool,
        expected_documents: int | None,
        long_texts: LongTexts,
        *,
        show_progress: bool,
    ) -> int:
        """Add a stream of documents; return how many were added."""
        check_long_texts(long_texts)
        added = 0
        report = CoverageReport()
        with progress_bar(expected_documents, "Adding", enabled=show_progress) as advance:
            for batch in batches:
                checked = documents.validate_batch(batch)
                documents.check_text_lengths(checked.get("texts"))
                new = checked if upsert else self._without_existing(checked)
                with self._store.changes:
                    if new["ids"]:
                        prepared = self._preparation.prepare(**new, upsert=upsert, long_texts=long_texts)
                        self._insert(prepared)
                        report.merge(prepared.report)
                    if expected_documents is not None:
                        self._maintenance.expect(expected_documents)
                    self._maintain(loading=expected_documents is not None)
                added += len(new["ids"])
                advance(len(batch["ids"]))
        if expected_documents is not None:
            with self._store.changes:
                self._maintenance.expect_no_more()
                self._maintain()
        self._warn(report, long_texts)
        return added

    def update_sources(
        self,
        updates: Sequence[SourceUpdate],
        removed: Sequence[str],
        expected_documents: int | None,
        staged: SourceUpdate | None,
        *,
        show_progress: bool,
    ) -> SourcesReport:
        """Bring the documents of files up to date."""
        report = CoverageReport()
        reused = 0
        with self._store.changes:
            if updates or removed:
                batch = self._preparation.prepare(
                    [id_ for update in updates for id_ in update.ids],
                    [text for update in updates for text in update.texts],
                    metadata=[metadata for update in updates for metadata in update.metadata],
                    upsert=True,
                    replace_passages=False,
                    displaced=[id_ for update in updates for id_ in (*update.displaced, *update.staged)],
                )
                for update in updates:
                    documents.validate_metadata(list(update.changed_metadata.values()), self._store.settings.filterable)
                batch = self._of_sources(batch, updates)
                self._insert(batch, then=lambda transaction: transaction.update_sources(updates, removed))
                report = batch.report
                reused += batch.reused
            if staged is not None and staged.ids:
                batch = self._preparation.prepare(
                    staged.ids, staged.texts, metadata=staged.metadata, upsert=True, replace_passages=False
                )
                batch = replace(self._of_sources(batch, [staged]), replaced=[])
                self._insert(batch, staged_for=staged.record.staging_name)
                report.merge(batch.report)
                reused += batch.reused
            if expected_documents is None:
                if self._store.sources.has_staged():
                    with self._store.transaction() as transaction:
                        transaction.discard_staged()
                self._maintenance.expect_no_more()
            else:
                self._maintenance.expect(expected_documents)
            # A rewrite would drop staged documents like tombstones.
            if not self._store.sources.has_staged():
                self._maintain(loading=expected_documents is not None, show_progress=show_progress)
        return SourcesReport(report, reused)

    def delete(self, ids: Sequence[str] | None, where: Mapping[str, Any] | None) -> int:
        """Delete documents; return how many."""
        documents.validate_deletion(ids, where)
        with self._store.changes:
            self._store.require_writer()
            if where is not None:
                numbers: list[int] = self._store.catalog.matching(where).tolist()
                self._filter_checks.check_deletion(where, len(numbers))
            else:
                numbers = self._numbers(ids or [])
            if numbers:
                with self._store.freeing_space(), self._store.transaction() as transaction:
                    transaction.delete(numbers)
            _log.info("%s: deleted %d documents", self._store.folder, len(numbers))
            return len(numbers)

    def _numbers(self, ids: Sequence[str]) -> list[int]:
        """Return the numbers of documents by id; the id of a document means its passages too."""
        unique_ids = list(dict.fromkeys(strings(ids, "ids")))
        numbers = self._numbers_by_id(unique_ids, "nothing was deleted")
        return sorted({number for of_id in numbers.values() for number in of_id})

    def _numbers_by_id(self, ids: Sequence[str], outcome: str) -> dict[str, list[int]]:
        numbers = self._store.catalog.live_ids(ids)
        passages = self._store.catalog.passages([id_ for id_ in ids if id_ not in numbers])
        missing = [id_ for id_ in ids if id_ not in numbers and id_ not in passages]
        if missing:
            raise UnknownIdError(f"ids: {first_and_count(missing)} is not in the index; {outcome}")
        return {id_: [numbers[id_]] if id_ in numbers else list(passages[id_].values()) for id_ in ids}

    def update_metadata(self, ids: Sequence[str], metadata: Sequence[dict[str, Any]], *, replace: bool) -> None:
        """Change the metadata of documents."""
        store = self._store
        with store.changes:
            store.require_writer()
            unique_ids = documents.document_ids(ids)
            documents.validate_counts({"metadata": metadata}, len(unique_ids))
            fields = documents.validate_metadata(metadata, store.settings.filterable)
            numbers = self._numbers_by_id(unique_ids, "nothing was changed")
            changed = self._changed_metadata(
                [
                    (numbers[id_], MetadataChange(values, replace, i))
                    for i, (id_, values) in enumerate(zip(unique_ids, fields, strict=True))
                ]
            )
            if not changed:
                return
            store.require_space(sum(len(stored) for *_, stored in changed))
            with store.transaction() as transaction:
                transaction.replace_metadata(changed)
            _log.info("%s: changed the metadata of %d documents", store.folder, len(changed))

    def check_metadata(self, changes: Mapping[str, MetadataChange]) -> None:
        """Raise what `update_metadata` would raise for changes, by id; ids that are not in the index are left out."""
        numbers = self._numbers_by_id(self.existing(list(changes)), "nothing was changed")
        self._changed_metadata([(of_id, changes[id_]) for id_, of_id in numbers.items()])

    def _changed_metadata(
        self, changes: Sequence[tuple[list[int], MetadataChange]]
    ) -> list[tuple[int, str, str | None, str]]:
        by_number = {number: change for numbers, change in changes for number in numbers}
        return [
            (number, row.id, row.text, documents.metadata_text(by_number[number].apply(row)))
            for number, row in self._store.catalog.rows(list(by_number)).items()
        ]

    def compact(self, *, show_progress: bool) -> None:
        """Rewrite the index without tombstones."""
        with self._store.changes:
            self._store.require_writer()
            started = time.monotonic()
            with self._store.freeing_space():
                self._maintenance.compact(show_progress=show_progress)
            self._building += time.monotonic() - started
            self._tuner.tune_if_due(self._building, show_progress=show_progress)

    def set_pooled_weights(self, late: float, pooled: float) -> None:
        """Record the weights of mode "pooled"."""
        store = self._store
        with store.changes:
            store.require_writer()
            if store.settings.pooled is None:
                raise ValueError(f"{store.folder}: stores no pooled vectors; create the index with them")
            weights = checked_weights((late, pooled))
            with store.transaction() as transaction:
                transaction.set_pooled_weights(*weights)

    def tune(self, queries: Sequence[NDArray[np.float32]] | None, *, show_progress: bool) -> TuneReport:
        """Measure the recall of the index."""
        with self._store.changes:
            self._store.require_writer()
            return self._tuner.tune(queries, show_progress=show_progress)

    def _insert(
        self,
        prepared: PreparedDocuments,
        *,
        show_progress: bool = False,
        then: Callable[[Transaction], None] | None = None,
        staged_for: str | None = None,
    ) -> None:
        """Insert documents without maintenance, staged or live; `then` is called in the same transaction."""
        store, batch = self._store, prepared.documents
        if not batch.ids and then is None:
            return
        started = time.monotonic()
        number = store.catalog.next_number()
        records = self._write(prepared, number, show_progress) if batch.ids else []
        # It takes a second, in which no other process could commit.
        load_model_for(text for text in batch.texts if text)
        # If this fails, the file stays until the next opening: only reading the catalog again shows whether a commit
        # that raised has happened.
        with store.transaction() as transaction:
            transaction.mark_deleted(prepared.replaced)
            rows = list(zip(batch.ids, batch.texts, batch.metadata, strict=True))
            transaction.insert_documents(number, rows, prepared.coverage, staged_for=staged_for)
            for record in records:
                transaction.insert_segment(record)
            if then is not None:
                then(transaction)
        self._building += time.monotonic() - started
        _log.info("%s: added %d documents, replacing %d", store.folder, len(batch.ids), len(prepared.replaced))

    def _write(self, prepared: PreparedDocuments, first_number: int, show_progress: bool) -> list[SegmentRecord]:
        """Write the segments of documents, unless the disk would then be too full to delete documents."""
        store = self._store
        settings = store.settings
        vectors = self._vectors(prepared, show_progress)
        try:
            records = write_segments(
                store.new_file, first_number, settings.dim, vectors, store.segment_tokens, settings.pooled_dim
            )
            store.require_space(prepared.documents.catalog_bytes, records)
        except BaseException:
            store.sweep()
            raise
        return records

    def _of_sources(self, prepared: PreparedDocuments, updates: Sequence[SourceUpdate]) -> PreparedDocuments:
        """Return documents of files with the contexts of their texts, and the vectors that the index has of these."""
        contexts = [context for update in updates for context in update.contexts or [None] * len(update.ids)]
        same_texts = {id_: same for update in updates for id_, same in update.same_texts.items()}
        copied = self._same_texts.vectors(prepared.documents, same_texts)
        return replace(prepared, contexts=contexts, copied=copied)

    def _vectors(self, prepared: PreparedDocuments, show_progress: bool) -> Iterator[DocumentVectors]:
        if not prepared.copied:
            return self._new_vectors(prepared, show_progress)
        missing = [i for i, vectors in enumerate(prepared.copied) if vectors is None]
        to_encode = replace(
            prepared,
            documents=replace(prepared.documents, texts=[prepared.documents.texts[i] for i in missing]),
            contexts=[prepared.contexts[i] for i in missing],
        )
        encoded = self._new_vectors(to_encode, show_progress) if missing else iter(())
        return (next(encoded) if vectors is None else vectors for vectors in prepared.copied)

    def _new_vectors(self, prepared: PreparedDocuments, show_progress: bool) -> Iterator[DocumentVectors]:
        batch, dim = prepared.documents, self._store.settings.dim
        if batch.vectors is None and batch.pooled is None and self._pooled.encodes:
            encoder = self._encoder.get()
            return encode_with_pooled(
                encoder, self._pooled, batch.stored_texts, dim, prepared.contexts, show_progress=show_progress
            )
        if batch.vectors is not None:
            tokens = iter(batch.vectors)
        else:
            tokens = encode_documents(
                self._encoder.get(), batch.stored_texts, dim, prepared.contexts, show_progress=show_progress
            )
        if batch.pooled is None and self._pooled.encodes:
            return with_pooled(tokens, self._pooled, batch.stored_texts)
        return map(DocumentVectors, tokens, repeat(None) if batch.pooled is None else batch.pooled)

    def _without_existing(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return a batch without the documents that are already in the index."""
        ids = documents.document_ids(batch["ids"])
        existing = set(self.existing(ids))
        documents.validate_counts(batch, len(ids))
        positions = [i for i, id_ in enumerate(ids) if id_ not in existing]
        return {name: None if values is None else [values[i] for i in positions] for name, values in batch.items()}

    def _maintain(self, *, loading: bool = False, show_progress: bool = False) -> None:
        started = time.monotonic()
        try:
            self._maintenance.run(loading=loading, show_progress=show_progress)
            self._building += time.monotonic() - started
            if not self._maintenance.awaits_more and self._tuner.tune_if_due(
                self._building, show_progress=show_progress
            ):
                self._building = 0.0
        except (OSError, IndexDamagedError) as error:
            # The new documents are safe; only their rewriting has to wait.
            message = (error.strerror if isinstance(error, OSError) else None) or reason(error)
            issue_warning(
                MaintenanceWarning(
                    f"{self._store.folder}: documents are stored, but could not be compressed ({message}); "
                    "the next change tries again"
                )
            )

    def _warn(self, report: CoverageReport, long_texts: LongTexts) -> None:
        if report.truncated or report.unknown:
            warn_about_coverage(report, self._encoder.get().name, long_texts)


def warn_about_coverage(report: CoverageReport, encoder: str, long_texts: LongTexts) -> None:
    """Warn about truncated texts, unless that was asked for, and about those outside the vocabulary."""
    if long_texts != "truncate":
        report.warn_truncated("texts", encoder, truncated_fix())
    report.warn_unknown("texts", encoder, unknown_fix(encoder))
