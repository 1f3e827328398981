"""The computation of one plan: which documents of the files an update has to store, and which files are gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from serotine.errors import DuplicateIdError, InputFileError
from serotine.index import SourceRecord
from serotine.ingest.changes import batched, compare_documents, conflicts
from serotine.ingest.collisions import Collisions, Holder, RowNumbersError, TakenIdError
from serotine.ingest.commits import OnProgress
from serotine.ingest.deletions import Deletions
from serotine.ingest.document import Document
from serotine.ingest.document_reader import DocumentReader
from serotine.ingest.extract import NoTextError
from serotine.ingest.file_records import (
    as_recorded,
    had_other_limits,
    has_collisions,
    is_numbered,
    problems,
    skipped_rows,
    unread,
    with_report,
)
from serotine.ingest.file_state import file_size, is_gone, read_digest, read_state, settled_stamp
from serotine.ingest.leftovers import copied, list_known_files
from serotine.ingest.ownership import NewIds
from serotine.ingest.plan import FileChange, OnSkip, Plan, Skipped
from serotine.ingest.rows import SkippedRow, SkippedRows
from serotine.ingest.sources import SourceFile
from serotine.ingest.stored_contexts import StoredContexts
from serotine.ingest.walk import FileSelection
from serotine.texts import is_text

if TYPE_CHECKING:
    from serotine.index import Index

_BATCH = 100
# The part of a file's progress that is its digest, where all of it is read next.
_HASH_DIVISOR = 20


class Planner:
    """The computation of one plan."""

    def __init__(
        self,
        index: Index | None,
        reader: DocumentReader,
        upsert: bool,
        restore_deleted: bool,
        allow_empty: bool,
        selection: FileSelection,
        on_skip: OnSkip | None,
        on_read: OnProgress | None,
    ) -> None:
        self._index = index
        self._reader = reader
        self._upsert = upsert
        self._restore_deleted = restore_deleted
        self._allow_empty = allow_empty
        self._selection = selection
        self._on_skip = on_skip
        self._on_read = on_read
        self._bytes = self._bytes_read = self._position = 0
        self._ids: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._owned: NewIds
        self._contexts: StoredContexts
        self._skipped_rows: list[SkippedRows] = []
        self._problems: list[SkippedRows] = []
        self._unread: Counter[str] = Counter()
        self._deleted: dict[str, int] = {}
        self._restored: dict[str, int] = {}
        self._deleted_counts: dict[str, int] = {}
        # Of the files of the index and of the update: what has the bytes of another file has its ids too.
        self._digests: dict[str | None, str] = {}
        # Files with deleted documents that are gone, by the digest of what a moved one still has.
        self._moved_from: dict[str, list[str]] = {}
        self._changes: list[FileChange] = []
        self._unchanged: list[str] = []
        self._touched: list[SourceRecord] = []
        self._skipped: list[Skipped] = []
        # Recorded files that have no documents any more.
        self._emptied: set[str] = set()
        self._documents = self._to_store = self._new_ids = self._cut_records = self._truncated = 0
        self._bytes_to_store = 0

    def run(self, sources: Sequence[str | Path | SourceFile]) -> Plan:
        """Read the files of sources, and return what an update has to do."""
        listing = list_known_files(self._index, sources, self._selection, allow_empty=self._allow_empty)
        records = {} if self._index is None else self._index.sources.all()
        self._contexts = StoredContexts(self._index, records)
        files = [as_recorded(file, records) for file in listing.files.values()]
        for file in files:
            listing.files.setdefault(file.key, file)
        self._names.update((file.key, file.name) for file in listing.files.values())
        self._owned = NewIds(self._reader, {file.key: file for file in files}, records, listing)
        self._find_deleted(records, listing.is_gone)
        self._digests.update(
            (record.digest, self._names.get(name, name))
            for name, record in records.items()
            if not (listing.is_gone(name) or is_gone(name))
        )
        self._reader.numbered.update(name for name, record in records.items() if is_numbered(record))
        sizes = {file.key: file_size(file) for file in files}
        self._bytes = sum(sizes.values())
        self._report_read(0)
        for source, error in listing.without_files.items():
            self._skip(Skipped(source, str(error)))
        for file in files:
            try:
                self._read(file, records.get(file.key))
            except NoTextError as error:
                self._skip(Skipped(file.name, f"{error}{self._removal(file, records)}"))
                self._owned.record(file.key, set())
            except (InputFileError, DuplicateIdError) as error:
                is_indexed = self._index is not None and file.key in records and any(self._index.sources.ids(file.key))
                self._skip(Skipped.of(file.name, error, is_indexed=is_indexed))
                self._owned.record(file.key, None)
            self._bytes_read += sizes[file.key]
            self._position = 0
            self._report_read(0)
        gone = tuple(name for name in records if listing.is_gone(name) or name in self._emptied)
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
            copied=copied(self._index, self._changes, records, gone),
        )

    def _skip(self, skipped: Skipped) -> None:
        self._skipped.append(skipped)
        if self._on_skip is not None:
            self._on_skip(skipped)

    def _removal(self, file: SourceFile, records: Mapping[str, SourceRecord]) -> str:
        """Return what the index loses with a file that has no documents any more, which is removed from it."""
        if self._index is None or file.key not in records:
            return ""
        self._emptied.add(file.key)
        ids = self._index.sources.ids(file.key)
        if not ids:
            return ""
        if len(ids) == 1:
            return f"; its document leaves the index: {ids[0]!r}"
        return f"; its {len(ids):,} documents leave the index, the first is {ids[0]!r}"

    def _moved(self, gone: Sequence[SourceRecord]) -> dict[str, str]:
        """Return the recorded names of new files by those of files that are gone and had the same bytes."""
        new: dict[str | None, list[str]] = {}
        for change in self._changes:
            if change.previous is None:
                new.setdefault(change.record.digest, []).append(change.file.key)
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
        if self._restore_deleted and self._deleted_counts.get(file.key):
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
        stored_before = self._to_store
        deleted_from = self._deleted_from(file, previous, digest)
        deletions = self._deletions(deleted_from)
        may_be_numbered = previous is None and digest not in self._digests
        record = self._record(file, digest, stamp)
        try:
            read = self._read_documents(file, record, deletions, may_be_numbered=may_be_numbered)
        except RowNumbersError as error:
            self._reader.numbered.add(file.key)
            record, deletions = self._record(file, digest, stamp), self._deletions(deleted_from)
            read = self._read_documents(file, record, deletions, problem=error.row)
        except DuplicateIdError as error:
            if previous is None and digest in self._digests:
                raise DuplicateIdError(f"{error} (a copy of {self._digests[digest]})") from None
            raise
        bad_rows, misread, not_read, collisions, owners = read
        # Collisions end when the other file goes: such a file is read again, and mostly as it was.
        same_losses = known is not None and (known.count, known.lines) == (bad_rows.count, bad_rows.lines)
        is_same = complete and previous is not None and previous.digest == digest and self._to_store == stored_before
        if previous is not None and known is not None and same_losses and is_same:
            self._keep(file, previous, bad_rows)
            return
        self._skipped_rows.append(bad_rows)
        self._problems.append(misread)
        self._unread.update(not_read)
        if deletions.left:
            self._deleted[file.name] = len(deletions.left)
        if deletions.restored:
            self._restored[file.name] = deletions.restored
        record = with_report(
            record,
            bad_rows,
            not_read,
            misread,
            has_collisions=bool(collisions),
            is_numbered=file.key in self._reader.numbered,
        )
        left = () if self._restore_deleted else deleted_from
        self._changes.append(FileChange(file, record, previous, state, frozenset(collisions), frozenset(owners), left))
        self._digests[digest] = file.name

    def _record(self, file: SourceFile, digest: str, stamp: str) -> SourceRecord:
        context = digest if self._reader.is_late(file) else ""
        return SourceRecord(file.key, digest, stamp, self._reader.splitting(file), context=context)

    def _deletions(self, deleted_from: Sequence[str]) -> Deletions:
        return Deletions.of(self._index, deleted_from, restores=self._restore_deleted)

    def _find_deleted(self, records: Mapping[str, SourceRecord], is_removed: Callable[[str], bool]) -> None:
        """Count the deleted documents of recorded files, and find those files that may have been moved."""
        if self._index is None:
            return
        self._deleted_counts = self._index.sources.deleted_counts()
        for name in self._deleted_counts:
            digest = records[name].digest
            # Of a file of another folder, the documents may all be deleted because it is there no more.
            if digest and (is_removed(name) or (is_gone(name) and self._index.sources.ids(name))):
                self._moved_from.setdefault(digest, []).append(name)

    def _deleted_from(self, file: SourceFile, previous: SourceRecord | None, digest: str) -> tuple[str, ...]:
        """Return the names of the records whose deleted documents are those of a file."""
        own = () if previous is None else (file.key,)
        # One that is not complete may be a moved one, of which an interrupted run stored a part.
        is_complete = previous is not None and previous.digest is not None
        return own if is_complete else (*own, *self._moved_from.get(digest, ()))

    def _keep(self, file: SourceFile, record: SourceRecord, known: SkippedRows) -> None:
        self._unchanged.append(file.name)
        self._owned.record(file.key, None)
        self._skipped_rows.append(known)
        self._problems.append(problems(record, file.name))
        self._unread.update(unread(record))
        if deleted := self._deleted_counts.get(file.key):
            self._deleted[file.name] = deleted

    def _read_documents(
        self,
        file: SourceFile,
        file_record: SourceRecord,
        deletions: Deletions,
        *,
        may_be_numbered: bool = False,
        problem: SkippedRow | None = None,
    ) -> tuple[SkippedRows, SkippedRows, Counter[str], set[str], set[str]]:
        """Count what has to be stored of a file.

        Returns its bad rows, lines that may be misread, what is not read of it, colliding ids, and the names of files
        whose ids it takes.

        A broken file counts nothing. `problem` is one that is known already.

        Raises:
            RowNumbersError: `may_be_numbered`, and most ids are row numbers that other files have too.
        """
        ids: set[str] = set()
        owners: set[str] = set()
        is_free, names = partial(self._owned.are_free, file), self._names
        collisions = Collisions(file)
        documents = to_store = bytes_to_store = new_ids = truncated = claimed = 0
        cut_records: set[str] = set()
        bad_rows = misread = SkippedRows()
        if problem is not None:
            misread = misread.with_row(problem)
        not_read: Counter[str] = Counter()
        size, position = file_size(file), 0
        skips_rows = not self._reader.is_text(file) and not self._reader.strict
        has_context = self._contexts.of(file_record, is_late=self._reader.is_late(file))

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
                # The other passages of a long record whose id is taken.
                batch = [document for document in batch if document.ids[-1] not in collisions.ids]
                for record, error in conflicts(
                    self._index, file, batch, upsert=self._upsert, is_free=is_free, names=names
                ):
                    collisions.add(record, error.id, error.holder)
                batch = [document for document in batch if document.ids[-1] not in collisions.ids]
            for document in batch:
                duplicate = min((id_ for id_ in document.ids if id_ in self._ids), default=None)
                if duplicate is not None:
                    raise TakenIdError(document, duplicate, Holder(self._ids[duplicate], is_read=True), file)
            changes = compare_documents(
                self._index,
                file,
                batch,
                upsert=self._upsert,
                is_free=is_free,
                names=names,
                deletions=deletions,
                has_context=has_context,
            )
            for document in batch:
                if document.id not in changes.deleted:
                    ids.update(document.ids)
                cut_records.update(document.ids[1:])
            owners |= changes.owners
            claimed += len(changes.claimed)
            truncated += self._reader.count_truncated(file, batch)
            documents += len(batch)
            position = min(position + sum(document.size for document in batch), size)
            self._report_read(position)
            to_store += len(changes.store)
            bytes_to_store += sum(document.size for document in changes.store)
            new_ids += changes.new
        # A file that was moved and changed has most rows of the one that is gone.
        may_be_numbered = may_be_numbered and not self._upsert and claimed < collisions.count
        if may_be_numbered and collisions.are_row_numbers(ids, self._reader.fields_of(file)):
            raise RowNumbersError(collisions)
        for row in collisions.rows:
            bad_rows = bad_rows.with_row(row)
        if not documents and bad_rows:
            others = bad_rows.count - max(collisions.count, 1)
            more = f" (and {others:,} more: the file has no valid row)" if others else ""
            kind = DuplicateIdError if collisions.count else InputFileError
            raise kind(f"{bad_rows.first[0].message}{more}")
        if not documents:
            content = "text" if self._reader.is_text(file) else "documents"
            raise NoTextError(f"{file.name}: contains no {content}; check that it is the right file")
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
