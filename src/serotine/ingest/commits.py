"""The commits of an update: each stores the changes of many files, or some documents of one large new file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from serotine.ahead import computed_ahead
from serotine.coverage import CoverageReport
from serotine.errors import DuplicateIdError, InputFileError
from serotine.index import SourceRecord, SourceUpdate
from serotine.ingest.changes import batched, compare_documents
from serotine.ingest.deletions import Deletions
from serotine.ingest.document_reader import DocumentReader
from serotine.ingest.encoded_texts import EncodedTexts
from serotine.ingest.file_records import as_part, with_collisions
from serotine.ingest.file_state import read_state
from serotine.ingest.ownership import commit_groups
from serotine.ingest.plan import FileChange, IngestReport, OnSkip, Plan, Skipped
from serotine.ingest.stored_contexts import StoredContexts

if TYPE_CHECKING:
    from serotine.index import Index
    from serotine.ingest.document import Document

_log = logging.getLogger("serotine.ingest")
# Commits start small, and double until one takes _COMMIT_SECONDS: what Ctrl-C loses, and the pace of the progress bar.
_COMMIT_SECONDS = 5.0
_FIRST_COMMIT = 16
_FIRST_COMMIT_BYTES = 1 << 12
# A commit that is quick is held in memory.
_MAX_COMMIT = 8192
_MAX_COMMIT_AFTER_REUSE = 512
_READ_BATCH = 256

OnProgress = Callable[[int, int], None]


class Commits:
    """The execution of one plan.

    Args:
        index: open for writing.
        plan: the changes to make.
        reader: reads the files of the plan.
        upsert: whether documents of the same ids from elsewhere are replaced.
        on_progress: called after every commit with the documents stored, and to be stored.
        on_bytes: called after every commit with the bytes of text stored, and to be stored.
        on_skip: called with every file that turns out not to be indexable.
        show_progress: show the progress of the index's maintenance.
    """

    def __init__(
        self,
        index: Index,
        plan: Plan,
        reader: DocumentReader,
        *,
        upsert: bool,
        on_progress: OnProgress | None,
        on_bytes: OnProgress | None,
        on_skip: OnSkip | None,
        show_progress: bool,
    ) -> None:
        self._index = index
        self._plan = plan
        self._reader = reader
        self._upsert = upsert
        self._on_progress = on_progress
        self._on_bytes = on_bytes
        self._on_skip = on_skip
        self._show_progress = show_progress
        self._expected = len(index) + plan.new_ids
        self._scale = 1.0
        self._pending: list[SourceUpdate] = []
        self._pending_documents = self._pending_bytes = self._stored_bytes = 0
        self._added = self._replaced = self._unchanged = self._removed = self._changed_metadata = 0
        self._reused = 0
        self._files_added = self._files_replaced = 0
        self._skipped = list(plan.skipped)
        self._is_held = False
        self._removed_ids: set[str] = set()
        self._stored_ids: set[str] = set()
        self._coverage = CoverageReport()
        self._contexts = StoredContexts(index)
        self._encoded = EncodedTexts(index)

    def run(self) -> IngestReport:
        """Store and remove documents until the index matches the files of the plan."""
        for group in commit_groups(self._plan.changes):
            self._store_group(group)
        self._commit()
        gone = self._plan.gone
        self._removed += sum(len(self._index.sources.ids(name)) for name in gone)
        self._index.update_sources(
            [SourceUpdate(record) for record in self._plan.touched], removed=gone, show_progress=self._show_progress
        )
        return IngestReport(
            self._files_added,
            self._files_replaced,
            len(gone),
            len(self._plan.unchanged),
            self._added,
            self._replaced,
            self._unchanged,
            self._removed,
            tuple(self._skipped),
            self._plan.skipped_rows,
            unread=self._plan.unread,
            ignored=self._plan.ignored,
            cut_records=self._plan.cut_records,
            coverage=self._coverage,
            changed_metadata=self._changed_metadata,
            reused=self._reused,
            deleted=self._plan.deleted,
            problems=self._plan.problems,
            moved=self._plan.moved,
            restored=self._plan.restored,
            copied=self._plan.copied.files,
        )

    def _store_group(self, group: list[FileChange]) -> None:
        """Store files; several in one transaction, so that a row that moves between them is always in the index."""
        self._is_held = len(group) > 1
        self._removed_ids, self._stored_ids = set(), set()
        for change in group:
            try:
                self._store_file(change)
            except (InputFileError, DuplicateIdError) as error:
                self._skip(change, error)
        self._removed += len(self._removed_ids - self._stored_ids)
        self._is_held = False
        if self._is_due():
            self._commit()

    def _store_file(self, change: FileChange) -> None:
        # The documents of a changed file are staged.
        is_splittable = not self._is_held and change.is_splittable
        staged = {} if is_splittable else self._index.sources.staged(change.record)
        # In the transaction of the first document that is taken: what is unchanged is not read again.
        self._pending += [SourceUpdate(with_collisions(record)) for record in self._losers(change)]
        update = SourceUpdate(change.record)
        part = as_part(change.record, change.previous)
        size = 0
        ids: set[str] = set()
        deletions = Deletions.of(self._index, change.deleted_from)
        documents = self._reader.planned(change)
        is_late = self._reader.is_late(change.file)
        has_context = self._contexts.of(change.record, is_late=is_late)
        find_same_text = self._encoded.of(change, is_late=is_late)
        for batch in _batches(documents):
            changes = compare_documents(
                self._index,
                change.file,
                batch,
                upsert=self._upsert,
                is_free=change.takes_from,
                deletions=deletions,
                has_context=has_context,
            )
            ids.update(document.id for document in batch if document.id not in changes.deleted)
            update.claimed += changes.claimed
            update.displaced += changes.displaced
            update.changed_metadata |= changes.changed_metadata
            self._changed_metadata += len(changes.changed_metadata)
            self._unchanged += changes.unchanged
            self._replaced += len(changes.store) - changes.new
            for document in changes.store:
                entry = staged.get(document.id)
                if entry is not None and entry.matches(document.id, document.text, document.metadata):
                    # Encoded by a run that was interrupted.
                    update.staged.append(document.id)
                    self._added += 1
                    self._stored_bytes += document.size
                    continue
                if self._is_due(len(update.ids), size):
                    if is_splittable:
                        self._append(replace(update, record=part), size)
                        self._commit()
                        update = SourceUpdate(change.record)
                    else:
                        self._stage(update, size)
                    size = 0
                if (same_text_id := find_same_text(document)) is not None:
                    update.same_texts[document.id] = same_text_id
                update.ids.append(document.id)
                update.texts.append(document.text)
                update.metadata.append(document.metadata)
                update.contexts.append(document.context)
                size += document.size
        if read_state(change.file) != change.state:
            raise InputFileError(f"{change.file.name}: changed while it was read; run again")
        update.deleted = deletions.left
        if change.previous is not None:
            update.removed = [id_ for id_ in self._index.sources.ids(change.record.name) if id_ not in ids]
        self._removed_ids.update(update.removed, update.displaced)
        self._stored_ids |= ids
        self._files_added += change.previous is None
        self._files_replaced += change.previous is not None
        if self._is_held and self._is_due(len(update.ids) + self._pending_documents, size + self._pending_bytes):
            self._stage(update, size)
            size = 0
        self._append(update, size)

    def _losers(self, change: FileChange) -> list[SourceRecord]:
        """Return the records that stay as they are of files whose ids a file takes."""
        stored = {other.record.name for other in self._plan.changes}
        records = self._index.sources.all() if change.owners - stored else {}
        return [records[name] for name in sorted(change.owners - stored - {*self._plan.gone}) if name in records]

    def _stage(self, update: SourceUpdate, size: int) -> None:
        """Store the documents of an update ahead of it, and what is pending, unless that is held."""
        staged = SourceUpdate(
            update.record, update.ids, update.texts, update.metadata, update.contexts, same_texts=update.same_texts
        )
        update.staged += update.ids
        update.ids, update.texts, update.metadata, update.contexts = [], [], [], []
        update.same_texts = {}
        if self._is_held:
            self._write([], len(staged.ids), size, staged)
        else:
            self._pending_documents += len(staged.ids)
            self._pending_bytes += size
            self._commit(staged)

    def _is_due(self, documents: int = 0, size: int = 0) -> bool:
        """Return whether these documents of so many bytes, and what is pending but not held, fill a commit."""
        if not self._is_held:
            documents += self._pending_documents
            size += self._pending_bytes
        return documents >= _FIRST_COMMIT * self._scale or size >= _FIRST_COMMIT_BYTES * self._scale

    def _append(self, update: SourceUpdate, size: int) -> None:
        self._pending.append(update)
        self._pending_documents += len(update.ids)
        self._pending_bytes += size

    def _commit(self, staged: SourceUpdate | None = None) -> None:
        if self._pending or staged is not None:
            self._write(self._pending, self._pending_documents, self._pending_bytes, staged)
            self._pending, self._pending_documents, self._pending_bytes = [], 0, 0

    def _write(self, updates: list[SourceUpdate], documents: int, size: int, staged: SourceUpdate | None) -> None:
        """Store updates and staged documents in one transaction; `documents` and `size` are of both."""
        started = time.monotonic()
        done = self._index.update_sources(
            updates, expected_documents=self._expected, staged=staged, show_progress=self._show_progress
        )
        self._coverage.merge(done.coverage)
        self._reused += done.reused
        seconds = time.monotonic() - started
        _log.debug("committed %d documents of %d files in %.2f s", documents, len(updates), seconds)
        scale = max(documents / _FIRST_COMMIT, size / _FIRST_COMMIT_BYTES)
        if scale:
            most = min(2 * self._scale, _MAX_COMMIT / _FIRST_COMMIT)
            if done.reused:
                # That it was quick says nothing of the next one, which may have to encode.
                most = min(most, max(self._scale, _MAX_COMMIT_AFTER_REUSE / _FIRST_COMMIT))
            self._scale = min(scale * _COMMIT_SECONDS / max(seconds, 1e-3), most)
        self._added += documents
        self._stored_bytes += size
        if self._on_progress is not None:
            self._on_progress(self._added, max(self._plan.to_store, self._added))
        if self._on_bytes is not None:
            self._on_bytes(self._stored_bytes, max(self._plan.bytes_to_store, self._stored_bytes))

    def _skip(self, change: FileChange, error: Exception) -> None:
        skipped = Skipped.of(change.file.name, error)
        _log.info("skipped %s", skipped.message)
        self._skipped.append(skipped)
        if self._on_skip is not None:
            self._on_skip(skipped)


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    """Yield the documents of a file in batches; those after the first are read while others are encoded and written."""
    batches = batched(documents, _READ_BATCH)
    first = next(batches, None)
    if first is None:
        return
    yield first
    if len(first) == _READ_BATCH:
        yield from computed_ahead(batches)
