"""The plan of an update, computed before anything changes, and the report of what it did."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serotine.coverage import CoverageReport
from serotine.errors import DuplicateIdError, MissingExtraError
from serotine.index import SourceRecord
from serotine.ingest.chunking import Chunking
from serotine.ingest.leftovers import Leftovers
from serotine.ingest.rows import SkippedRows
from serotine.ingest.sources import SourceFile
from serotine.ingest.walk import Ignored


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not indexed; its documents in the index stay as they are, unless it has no text any more.

    Attributes:
        file: its name.
        message: one line that names the file, what is wrong with it, and what to do.
        conflict: whether the file is valid, but another file or the index has one of its document ids.
        extra: the extra of libraries that would read it; "" if none is missing.
    """

    file: str
    message: str
    conflict: bool = False
    extra: str = ""

    @classmethod
    def of(cls, file: str, error: Exception, *, is_indexed: bool = False) -> Skipped:
        """Return the file with the error that its documents raised, and whether the index has earlier ones of it."""
        extra = error.extra if isinstance(error, MissingExtraError) else ""
        stays = "; what the index has of it stays searchable" if is_indexed else ""
        return cls(file, f"{error}{stays}", isinstance(error, DuplicateIdError), extra)

    @property
    def reason(self) -> str:
        """The message without the file's name."""
        rest = self.message.removeprefix(f"{self.file}:")
        return re.sub(r"^(\d+): ", r"line \1: ", rest).strip()

    def to_json(self) -> dict[str, str]:
        """Return file and reason as JSON values."""
        return {"file": self.file, "reason": self.reason}


OnSkip = Callable[[Skipped], None]


@dataclass(frozen=True, slots=True)
class FileChange:
    """A new or changed file, whose documents have to be stored or removed.

    Attributes:
        file: path and name.
        record: the record that the index will store.
        previous: the record in the index; None for a new file.
        state: size, times and inode when it was read; a different state later means that it has changed.
        collisions: ids of its records that are skipped, because other files have them.
        owners: names of the records of other files whose ids it takes.
        deleted_from: names of the records whose deleted documents stay deleted: its own, or those it was moved from.
    """

    file: SourceFile
    record: SourceRecord
    previous: SourceRecord | None
    state: str
    collisions: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    deleted_from: tuple[str, ...] = ()

    @property
    def is_splittable(self) -> bool:
        """Whether its documents may be stored in several commits.

        A new file has no earlier version that readers could see mixed with it; but what is there of one must not become
        a part that has its context beside a part that has none.
        """
        if self.previous is None:
            return True
        splittings = (self.previous.splitting, self.record.splitting)
        return self.previous.digest is None and len({Chunking.parse(splitting).late for splitting in splittings}) == 1

    def takes_from(self, owner: str, _ids: Sequence[str], _has_text: bool) -> bool:
        """Return whether it was planned that the file takes ids of another file's record."""
        return owner in self.owners


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes that an update will make, as returned by `Ingest.plan`.

    Attributes:
        changes: new and changed files, in the order of the sources.
        unchanged: names of the files that are as the index recorded them.
        touched: records to renew: files with the same bytes but other times.
        gone: names of recorded files that no longer exist, or have no text any more.
        skipped: files that are broken, or in conflict with the index or another file.
        documents: number of documents in the new and changed files.
        to_store: how many of these have to be stored; the index already has the others.
        bytes_to_store: size of their texts.
        new_ids: how many of those to store have ids that the index does not have.
        skipped_rows: bad rows of these files, whose other rows are indexed; those of unchanged files included.
        unread: how many images, attachments and the like of these and unchanged files are not read, by kind.
        ignored: files of the sources' folders that are not read, such as those of unknown types.
        cut_records: number of records (JSON objects, rows) of these files that are cut into passages.
        truncated: number of documents that are longer than the encoder reads, because texts stay whole.
        deleted: number of documents that were deleted from the index, and stay so, by file.
        problems: lines that may not be read as they were meant, such as front matter that is not valid, and encodings
            that are guesses.
        moved: absolute paths of new files, by those of files that are gone and had the same bytes.
        restored: at most how many documents that were deleted from the index are stored again, by file: on request, or
            because their texts have changed.
        copied: documents of files of another folder that no longer exist, and whose content new files have.
    """

    changes: tuple[FileChange, ...]
    unchanged: tuple[str, ...]
    touched: tuple[SourceRecord, ...]
    gone: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    documents: int
    to_store: int
    bytes_to_store: int
    new_ids: int
    skipped_rows: SkippedRows = field(default_factory=SkippedRows)
    unread: Mapping[str, int] = field(default_factory=dict)
    ignored: Ignored = field(default_factory=Ignored)
    cut_records: int = 0
    truncated: int = 0
    deleted: Mapping[str, int] = field(default_factory=dict)
    problems: SkippedRows = field(default_factory=SkippedRows)
    moved: Mapping[str, str] = field(default_factory=dict)
    restored: Mapping[str, int] = field(default_factory=dict)
    copied: Leftovers = field(default_factory=Leftovers)

    @property
    def new(self) -> tuple[str, ...]:
        """Names of the files that are not in the index."""
        return tuple(change.file.name for change in self.changes if change.previous is None)

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the files that have changed, or are cut in another way than before."""
        return tuple(change.file.name for change in self.changes if change.previous is not None)

    @property
    def broken(self) -> tuple[Skipped, ...]:
        """Files that cannot be read."""
        return tuple(skipped for skipped in self.skipped if not skipped.conflict)

    @property
    def conflicts(self) -> tuple[Skipped, ...]:
        """Files with a document id that another file or the index already has."""
        return tuple(skipped for skipped in self.skipped if skipped.conflict)


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Counts of an update's changes.

    Attributes:
        files_added: files that were new.
        files_replaced: files that had changed, or were cut in another way than before.
        files_removed: files that no longer exist, or have no text any more; the latter are skipped too.
        files_unchanged: files that were left alone.
        added: documents stored: new ones, and those whose text changed.
        replaced: how many of these replaced another document with the same id.
        unchanged: documents of new and changed files whose text the index already had; they are not encoded again.
        removed: documents that no file contains any more.
        skipped: files that were not indexed; their documents in the index are unchanged, unless they have no text any
            more.
        skipped_rows: bad rows of the other files, unchanged ones included.
        unread: how many images, attachments and the like of these files are not read, by kind.
        ignored: files of the sources' folders that are not read, such as those of unknown types.
        cut_records: number of records (JSON objects, rows) of new and changed files that were cut into passages.
        coverage: counts of the stored texts that are longer than the encoder reads, or outside its vocabulary.
        changed_metadata: how many of the unchanged documents got other metadata, such as another line.
        reused: how many of the stored documents were not encoded, since the index had their text under another id.
        deleted: number of documents that were deleted from the index, and stay so, by file.
        problems: lines that may not be read as they were meant, such as front matter that is not valid, and encodings
            that are guesses.
        moved: absolute paths of new files, by those of files that are gone and had the same bytes.
        restored: at most how many documents that were deleted from the index are stored again, by file: on request, or
            because their texts have changed.
        copied: number of documents that may be there twice, by the file of another folder that they are of: it no
            longer exists, and a new file has its content.
    """

    files_added: int
    files_replaced: int
    files_removed: int
    files_unchanged: int
    added: int
    replaced: int
    unchanged: int
    removed: int
    skipped: tuple[Skipped, ...]
    skipped_rows: SkippedRows = field(default_factory=SkippedRows)
    unread: Mapping[str, int] = field(default_factory=dict)
    ignored: Ignored = field(default_factory=Ignored)
    cut_records: int = 0
    coverage: CoverageReport = field(default_factory=CoverageReport)
    changed_metadata: int = 0
    reused: int = 0
    deleted: Mapping[str, int] = field(default_factory=dict)
    problems: SkippedRows = field(default_factory=SkippedRows)
    moved: Mapping[str, str] = field(default_factory=dict)
    restored: Mapping[str, int] = field(default_factory=dict)
    copied: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def total(cls, reports: Sequence[IngestReport]) -> IngestReport:
        """Return the counts of several updates, each of its own files, together."""
        numbers = {name: sum(getattr(report, name) for report in reports) for name in _NUMBERS}
        coverage = CoverageReport()
        for report in reports:
            coverage.merge(report.coverage)
        return cls(
            skipped=tuple(skipped for report in reports for skipped in report.skipped),
            skipped_rows=SkippedRows.total(report.skipped_rows for report in reports),
            unread=_summed(report.unread for report in reports),
            ignored=Ignored.total(report.ignored for report in reports),
            coverage=coverage,
            deleted=_summed(report.deleted for report in reports),
            problems=SkippedRows.total(report.problems for report in reports),
            restored=_summed(report.restored for report in reports),
            copied=_summed(report.copied for report in reports),
            moved={old: new for report in reports for old, new in report.moved.items()},
            **numbers,
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values: what ``serotine index --json`` and the jobs of a server say."""
        return {
            "added": self.added,
            "replaced": self.replaced,
            "unchanged": self.unchanged,
            "changed_metadata": self.changed_metadata,
            "reused": self.reused,
            "removed": self.removed,
            "files": {
                "added": self.files_added,
                "replaced": self.files_replaced,
                "unchanged": self.files_unchanged,
                "removed": self.files_removed,
            },
            "skipped": [skipped.to_json() for skipped in self.skipped],
            "skipped_rows": self.skipped_rows.to_json(),
            "problems": self.problems.to_json(),
            "unread": dict(self.unread),
            "ignored": self.ignored.to_json(),
            "deleted": dict(self.deleted),
            "moved": dict(self.moved),
            "restored": dict(self.restored),
            "copied": dict(self.copied),
            "cut_records": self.cut_records,
            "truncated": self.coverage.truncated,
            "unknown": self.coverage.unknown,
            "unknown_scripts": dict(self.coverage.scripts.most_common()),
        }


_NUMBERS = (
    *("files_added", "files_replaced", "files_removed", "files_unchanged"),
    *("added", "replaced", "unchanged", "removed", "cut_records", "changed_metadata", "reused"),
)


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return counts by name together."""
    total: Counter[str] = Counter()
    for by_name in counts:
        total.update(by_name)
    return dict(total)
