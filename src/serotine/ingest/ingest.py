"""Updates of an index from files: new files are added, changed ones replaced, and those that are gone removed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from serotine.coverage import unknown_fix
from serotine.encoders import as_text_encoder
from serotine.errors import DuplicateIdError, InputFileError
from serotine.index import SourceRecord
from serotine.ingest.changes import batched, compare_documents, conflicts
from serotine.ingest.chunking import Chunker, Chunking
from serotine.ingest.collisions import Collisions, Holder, TakenIdError
from serotine.ingest.commits import Commits, OnProgress
from serotine.ingest.document import Document
from serotine.ingest.document_reader import RECORDS, DocumentReader
from serotine.ingest.estimate import Estimate, estimate
from serotine.ingest.fields import Fields
from serotine.ingest.file_records import (
    as_recorded,
    had_other_limits,
    has_collisions,
    problems,
    recorded_fields,
    skipped_rows,
    unread,
    with_report,
)
from serotine.ingest.file_state import file_size, read_digest, read_state, settled_stamp
from serotine.ingest.leftovers import copies, list_known_files
from serotine.ingest.limits import ReadingLimits
from serotine.ingest.ownership import NewIds
from serotine.ingest.plan import FileChange, IngestReport, OnSkip, Plan, Skipped
from serotine.ingest.rows import SkippedRow, SkippedRows
from serotine.ingest.sources import SourceFile
from serotine.ingest.walk import FileSelection
from serotine.texts import is_text

if TYPE_CHECKING:
    from serotine.index import Index, TextEncoder
    from serotine.text_encoder import AnyEncoder

_log = logging.getLogger("serotine.ingest")
_BATCH = 100
# The part of a file's progress that is its digest, where all of it is read next.
_HASH_DIVISOR = 20


class Ingest:
    """Files and folders on their way into an index: `plan` reads them and changes nothing, `apply` commits.

    Args:
        sources: files, folders, and ``SourceFile.named(path, "name.pdf")`` for a file whose path means nothing, such as
            an upload: it is recorded under that name, and replaced by the next file of that name.
        encoder: the encoder of the index, or its name; its tokens are counted to cut texts into passages.
        chunking: how texts are cut; None: as the index's texts were cut before, or the default for the encoder.
        filterable: the declared fields of an index that does not exist yet, as ``IndexStats.filterable`` has them.
        upsert: replace documents of the same ids that came from elsewhere; otherwise their file is skipped.
        strict: skip a file with a bad row whole; otherwise bad rows are skipped and counted, and the others indexed.
        selection: which files of folders are read; None: all of known types, without hidden and generated ones.
        fields: which fields of tables are text, title, id and metadata; None: as they were before in this index, or
            as BEIR names them.
        restore_deleted: store documents again that were deleted from the index, also of files that have not changed.
        limits: what is read of one file, at most; larger records and files are skipped.
    """

    def __init__(
        self,
        sources: Sequence[str | Path | SourceFile],
        encoder: AnyEncoder,
        *,
        chunking: Chunking | None = None,
        filterable: Mapping[str, str] | None = None,
        upsert: bool = False,
        strict: bool = False,
        selection: FileSelection | None = None,
        fields: Fields | None = None,
        restore_deleted: bool = False,
        limits: ReadingLimits | None = None,
    ) -> None:
        self._limits = limits or ReadingLimits()
        self._sources = sources
        self._encoder = as_text_encoder(encoder)
        self._chunking = chunking
        self._filterable = filterable or {}
        self._upsert = upsert
        self._strict = strict
        self._selection = selection or FileSelection()
        self._fields = fields
        self._restore_deleted = restore_deleted
        self._planned: tuple[Plan, DocumentReader] | None = None

    def plan(
        self,
        index: Index | None = None,
        *,
        on_skip: OnSkip | None = None,
        on_read: OnProgress | None = None,
    ) -> Plan:
        """Read every file that is new or changed, without storing anything, and return what `apply` will do.

        Args:
            index: the index to update; None: one that does not exist yet.
            on_skip: called with every file that cannot be indexed.
            on_read: called while files are read with their bytes so far, and in all.

        Raises:
            InputFileError: a source does not exist, or a folder has no files to read.
        """
        plan, _ = self._planned = self._plan(index, on_skip, on_read)
        return plan

    def apply(
        self,
        index: Index,
        *,
        on_progress: OnProgress | None = None,
        on_bytes: OnProgress | None = None,
        on_skip: OnSkip | None = None,
        show_progress: bool = False,
    ) -> IngestReport:
        """Carry out the last plan, or a new one where there is none, in commits of many documents.

        A commit takes about five seconds of encoding. Every changed file is replaced in one transaction; of a large one
        the new documents are staged by earlier commits. Interrupted or killed at any moment, what is committed stays,
        and the next plan continues from there.

        Args:
            index: open for writing: the index of the plan, or the new one it was computed for.
            on_progress: called after every commit with the documents stored so far, and to be stored in all.
            on_bytes: called after every commit with the bytes of text stored so far, and to be stored in all.
            on_skip: called with every file that cannot be indexed, as soon as that is known.
            show_progress: show how far the maintenance of the index is.

        Raises:
            ReadOnlyError, EncoderError: the index cannot be written to.

        Warns:
            TruncatedTextWarning, UnknownTextWarning: once, of documents that were stored, as in `Index.add`.
        """
        plan, reader = self._planned or self._plan(index, on_skip, None)
        self._planned = None
        commits = Commits(
            index,
            plan,
            reader,
            upsert=self._upsert,
            on_progress=on_progress,
            on_bytes=on_bytes,
            on_skip=on_skip,
            show_progress=show_progress,
        )
        with self._limits.applied():
            report = commits.run()
        name = self._encoder.name
        report.coverage.warn_truncated("documents", name, "cut texts into passages: chunking=Chunking(256, 32)")
        report.coverage.warn_unknown("documents", name, unknown_fix(name))
        return report

    def estimate(self, index: Index | None = None, *, on_bytes: OnProgress | None = None) -> Estimate:
        """Return what the last plan, or a new one, will cost: tokens are counted, and a sample is encoded.

        Args:
            index: as for `plan`.
            on_bytes: called with the bytes of text whose tokens are counted so far, and in all.
        """
        plan, reader = self._planned = self._planned or self._plan(index, None, None)
        with self._limits.applied():
            return estimate(plan, reader, self._encoder, index, upsert=self._upsert, on_bytes=on_bytes)

    def _plan(
        self, index: Index | None, on_skip: OnSkip | None, on_read: OnProgress | None
    ) -> tuple[Plan, DocumentReader]:
        chunker = Chunker(self._encoder, self._chunking or previous_chunking(index, self._encoder))
        filterable = self._filterable if index is None else index.stats().filterable
        reader = DocumentReader(chunker, filterable, self._strict, self._fields, recorded_fields(index))
        planner = _Planner(index, reader, self._upsert, self._restore_deleted, self._selection, on_skip, on_read)
        with self._limits.applied():
            plan = planner.run(self._sources)
        _log.info(
            "plan: %d files to store (%d documents), %d unchanged, %d gone, %d skipped, %d bad rows",
            len(plan.changes),
            plan.to_store,
            len(plan.unchanged),
            len(plan.gone),
            len(plan.skipped),
            plan.skipped_rows.count,
        )
        return plan, reader


def update(
    index: Index,
    sources: Sequence[str | Path | SourceFile],
    *,
    chunking: Chunking | None = None,
    upsert: bool = False,
    strict: bool = False,
    selection: FileSelection | None = None,
    fields: Fields | None = None,
    restore_deleted: bool = False,
    limits: ReadingLimits | None = None,
    on_progress: OnProgress | None = None,
    on_skip: OnSkip | None = None,
) -> IngestReport:
    """Update an index from files and folders: add new files, replace changed ones, remove those that are gone.

    Files are compared by content: one with the same bytes is left alone. Every file is replaced in one transaction, so
    that a reader sees all of its old version or all of its new one, even if the process is killed; only of a large new
    file a part may be there, which the next run completes. Documents that did not
    come from these files are never changed; a file that is gone is removed only where its folder is among `sources`.

    Args:
        index: open for writing, and created with an encoder.
        sources: as in `Ingest`.
        chunking: as in `Ingest`.
        upsert: as in `Ingest`.
        strict: as in `Ingest`.
        selection: as in `Ingest`.
        fields: as in `Ingest`.
        restore_deleted: as in `Ingest`.
        limits: as in `Ingest`.
        on_progress: called after every commit with the documents stored so far, and to be stored in all.
        on_skip: called with every file that cannot be indexed, as soon as that is known.

    Returns:
        Counts, and the files and rows that were skipped: a broken file never ends the run.

    Raises:
        InputFileError: a source does not exist, or a folder has no files to read.
        ReadOnlyError, EncoderError: the index cannot be written to.
    """
    ingest = Ingest(
        sources,
        index.encoder,
        chunking=chunking,
        upsert=upsert,
        strict=strict,
        selection=selection,
        fields=fields,
        restore_deleted=restore_deleted,
        limits=limits,
    )
    return ingest.apply(index, on_progress=on_progress, on_skip=on_skip)


def previous_chunking(index: Index | None, encoder: TextEncoder) -> Chunking:
    """Return how the texts of an index were last cut, or the default for its encoder."""
    splittings = [] if index is None else [record.splitting for record in index.sources.all().values()]
    last = next((splitting for splitting in reversed(splittings) if splitting != RECORDS), None)
    return Chunking.of(None, None, encoder) if last is None else Chunking.parse(last)


class _Planner:
    """The computation of one plan."""

    def __init__(
        self,
        index: Index | None,
        reader: DocumentReader,
        upsert: bool,
        restore_deleted: bool,
        selection: FileSelection,
        on_skip: OnSkip | None,
        on_read: OnProgress | None,
    ) -> None:
        self._index = index
        self._reader = reader
        self._upsert = upsert
        self._restore_deleted = restore_deleted
        self._selection = selection
        self._on_skip = on_skip
        self._on_read = on_read
        self._bytes = self._bytes_read = self._position = 0
        self._ids: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._owned: NewIds
        self._skipped_rows: list[SkippedRows] = []
        self._problems: list[SkippedRows] = []
        self._unread: Counter[str] = Counter()
        self._deleted: dict[str, int] = {}
        self._restored: dict[str, int] = {}
        # Of files that are gone, by the digest of what a moved one still has.
        self._moved_deleted: dict[str | None, int] = {}
        self._changes: list[FileChange] = []
        self._unchanged: list[str] = []
        self._touched: list[SourceRecord] = []
        self._skipped: list[Skipped] = []
        self._documents = self._to_store = self._new_ids = self._cut_records = self._truncated = 0
        self._bytes_to_store = 0

    def run(self, sources: Sequence[str | Path | SourceFile]) -> Plan:
        listing = list_known_files(self._index, sources, self._selection)
        records = {} if self._index is None else self._index.sources.all()
        files = [as_recorded(file, records) for file in listing.files.values()]
        for file in files:
            listing.files.setdefault(file.key, file)
        self._names.update((file.key, file.name) for file in listing.files.values())
        self._owned = NewIds(self._reader, {file.key: file for file in files}, records, listing.is_gone)
        gone = tuple(name for name in records if listing.is_gone(name))
        self._moved_deleted = {records[name].digest: records[name].deleted for name in gone}
        sizes = {file.key: file_size(file) for file in files}
        self._bytes = sum(sizes.values())
        self._report_read(0)
        for file in files:
            try:
                self._read(file, records.get(file.key))
            except (InputFileError, DuplicateIdError) as error:
                is_indexed = self._index is not None and file.key in records and any(self._index.sources.ids(file.key))
                skipped = Skipped.of(file.name, error, is_indexed=is_indexed)
                self._skipped.append(skipped)
                self._owned.record(file.key, None)
                if self._on_skip is not None:
                    self._on_skip(skipped)
            self._bytes_read += sizes[file.key]
            self._position = 0
            self._report_read(0)
        return Plan(
            tuple(self._changes),
            tuple(self._unchanged),
            tuple(self._touched),
            gone,
            tuple(self._skipped),
            self._documents,
            self._to_store,
            self._bytes_to_store,
            self._new_ids,
            SkippedRows.total(self._skipped_rows),
            unread=dict(self._unread),
            ignored=listing.ignored,
            cut_records=self._cut_records,
            truncated=self._truncated,
            deleted=self._deleted,
            problems=SkippedRows.total(self._problems),
            moved=self._moved([records[name] for name in gone]),
            restored=self._restored,
            copied=copies(self._index, self._changes, records, gone),
        )

    def _moved(self, gone: Sequence[SourceRecord]) -> dict[str, str]:
        """Return the names of new files by those of files that are gone and had the same bytes."""
        new: dict[str | None, list[str]] = {}
        for change in self._changes:
            if change.previous is None:
                new.setdefault(change.record.digest, []).append(change.file.name)
        return {
            record.name: names.pop(0)
            for record in gone
            if record.digest and (names := new.get(record.digest)) and names
        }

    def _read(self, file: SourceFile, previous: SourceRecord | None) -> None:
        if not is_text(file.key):
            raise InputFileError(f"{file.name}: its name is not UTF-8; rename the file")
        splitting = self._reader.splitting(file)
        state = read_state(file)
        stamp = settled_stamp(state)
        known = None if previous is None else skipped_rows(previous, file.name)
        complete = previous is not None and previous.splitting == splitting and previous.digest is not None
        if previous is not None and previous.deleted and self._restore_deleted:
            complete = False
        if previous is not None and had_other_limits(previous):
            complete = False
        # A file whose bad rows were skipped is read again to reject it.
        is_rejected = bool(known) and self._reader.strict
        may_be_same = complete and not is_rejected and not (previous is not None and has_collisions(previous))
        if previous is not None and known is not None and may_be_same:
            if stamp and previous.stamp == stamp:
                self._keep(file, previous, known)
                return
            digest = read_digest(file, self._report_read)
            if previous.digest == digest:
                self._keep(file, previous, known)
                if stamp:
                    self._touched.append(replace(previous, stamp=stamp))
                return
        else:
            # Little, compared with what follows.
            digest = read_digest(file, lambda size: self._report_read(size // _HASH_DIVISOR))
        stored_before, new_before = self._to_store, self._new_ids
        bad_rows, misread, not_read, collisions, owners = self._read_documents(file, previous)
        # Collisions end when the other file goes: such a file is read again, and mostly as it was.
        same_losses = known is not None and (known.count, known.lines) == (bad_rows.count, bad_rows.lines)
        is_same = complete and previous is not None and previous.digest == digest and self._to_store == stored_before
        if previous is not None and known is not None and same_losses and is_same:
            self._keep(file, previous, bad_rows)
            return
        self._skipped_rows.append(bad_rows)
        self._problems.append(misread)
        self._unread.update(not_read)
        deleted = self._moved_deleted.get(digest, 0) if previous is None else previous.deleted
        restored = min(deleted, self._new_ids - new_before)
        if restored and not self._restore_deleted:
            self._restored[file.name] = restored
        record = SourceRecord(file.key, digest, stamp, splitting)
        record = with_report(record, bad_rows, not_read, misread, has_collisions=bool(collisions))
        self._changes.append(FileChange(file, record, previous, state, frozenset(collisions), frozenset(owners)))

    def _keep(self, file: SourceFile, record: SourceRecord, known: SkippedRows) -> None:
        self._unchanged.append(file.name)
        self._owned.record(file.key, None)
        self._skipped_rows.append(known)
        self._problems.append(problems(record, file.name))
        self._unread.update(unread(record))
        if record.deleted:
            self._deleted[file.name] = record.deleted

    def _read_documents(
        self, file: SourceFile, previous: SourceRecord | None
    ) -> tuple[SkippedRows, SkippedRows, Counter[str], set[str], set[str]]:
        """Count what has to be stored of a file.

        Returns its bad rows, lines that may be misread, what is not read of it, colliding ids, and the names of files
        whose ids it takes.

        A broken file counts nothing.
        """
        ids: set[str] = set()
        owners: set[str] = set()
        is_free, names = self._owned.lacks, self._names
        collisions = Collisions(file)
        documents = to_store = bytes_to_store = new_ids = truncated = 0
        cut_records: set[str] = set()
        bad_rows = misread = SkippedRows()
        not_read: Counter[str] = Counter()
        size, position = file_size(file), 0
        skips_rows = not self._reader.is_text(file) and not self._reader.strict

        def count_bad_row(row: SkippedRow) -> None:
            nonlocal bad_rows
            bad_rows = bad_rows.with_row(row)

        def count_problem(row: SkippedRow) -> None:
            nonlocal misread
            misread = misread.with_row(row)

        def report_part(part: float) -> None:
            self._report_read(int(size * part))

        def is_taken(record: Document, id_: str) -> bool:
            if not skips_rows or id_ not in self._ids:
                return False
            collisions.add(record, id_, Holder(self._ids[id_], is_read=True))
            return True

        for batch in batched(
            self._reader.documents(file, count_bad_row, not_read.update, report_part, is_taken, count_problem), _BATCH
        ):
            if skips_rows:
                for record, error in conflicts(
                    self._index, file, batch, upsert=self._upsert, is_free=is_free, names=names
                ):
                    collisions.add(record, error.id, error.holder)
                batch = [document for document in batch if document.ids[-1] not in collisions.ids]
            for document in batch:
                duplicate = min((id_ for id_ in document.ids if id_ in self._ids), default=None)
                if duplicate is not None:
                    raise TakenIdError(document, duplicate, Holder(self._ids[duplicate], is_read=True), file)
                ids.update(document.ids)
                cut_records.update(document.ids[1:])
            changes = compare_documents(self._index, file, batch, upsert=self._upsert, is_free=is_free, names=names)
            owners |= changes.owners
            truncated += self._reader.count_truncated(batch)
            documents += len(batch)
            position = min(position + sum(document.size for document in batch), size)
            self._report_read(position)
            to_store += len(changes.store)
            bytes_to_store += sum(document.size for document in changes.store)
            new_ids += changes.new
        for row in collisions.rows:
            bad_rows = bad_rows.with_row(row)
        if not ids and bad_rows:
            others = bad_rows.count - max(collisions.count, 1)
            more = f" (and {others:,} more: the file has no valid row)" if others else ""
            kind = DuplicateIdError if collisions.count else InputFileError
            raise kind(f"{bad_rows.first[0].message}{more}")
        if not ids and previous is None:
            content = "text" if self._reader.is_text(file) else "documents"
            raise InputFileError(f"{file.name}: contains no {content}; check that it is the right file")
        self._ids.update(dict.fromkeys(ids, file.name))
        self._owned.record(file.key, ids)
        self._documents += documents
        self._to_store += to_store
        self._bytes_to_store += bytes_to_store
        self._new_ids += new_ids
        self._cut_records += len(cut_records)
        self._truncated += truncated
        return bad_rows, misread, not_read, collisions.ids, owners

    def _report_read(self, position: int) -> None:
        """Report that the current file was read up to a position; one that is behind the last is no progress."""
        self._position = max(self._position, position)
        if self._on_read is not None:
            self._on_read(self._bytes_read + self._position, self._bytes)
