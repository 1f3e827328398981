"""What an update of an index will do, found out before anything changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from serotine.index import SourceRecord
from serotine.ingest.sources import SourceFile


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not taken; what the index holds of it stays.

    Attributes:
        file: its name.
        message: one line that names the file, what is wrong with it, and what to do.
        conflict: whether the file is sound, but one of its document ids is taken.
    """

    file: str
    message: str
    conflict: bool = False

    @property
    def reason(self) -> str:
        """The message without the file's name."""
        rest = self.message.removeprefix(f"{self.file}:")
        return re.sub(r"^(\d+): ", r"line \1: ", rest).strip()


OnSkip = Callable[[Skipped], None]


@dataclass(frozen=True, slots=True)
class FileChange:
    """A new or changed file, whose documents have to be stored or removed.

    Attributes:
        file: where it is.
        record: what the index will record of it.
        previous: what the index has recorded; None for a new file.
        state: size, times and inode when it was read; a different state later means that it has changed meanwhile.
    """

    file: SourceFile
    record: SourceRecord
    previous: SourceRecord | None
    state: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What an update will do. Made by `Ingest.plan`, which changes nothing.

    Attributes:
        changes: new and changed files, in the order of the sources.
        unchanged: names of the files that are as the index recorded them.
        touched: records to renew: files with the same bytes but other times.
        gone: names of recorded files that no longer exist.
        skipped: files that are broken, or in conflict with the index or another file.
        documents: documents in the new and changed files.
        to_store: how many of these have to be stored; the index holds the others already.
        new_ids: how many of those have ids that the index does not hold.
        empty_documents: how many have no text.
        first_empty: id and place of the first of these; "" where there is none.
    """

    changes: tuple[FileChange, ...]
    unchanged: tuple[str, ...]
    touched: tuple[SourceRecord, ...]
    gone: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    documents: int
    to_store: int
    new_ids: int
    empty_documents: int
    first_empty: str

    @property
    def new(self) -> tuple[str, ...]:
        """Names of the files that the index does not know."""
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
    """What an update did.

    Attributes:
        files_added: files that were new.
        files_replaced: files that had changed, or were cut in another way than before.
        files_removed: files that no longer exist.
        files_unchanged: files that were left alone.
        added: documents stored: new ones, and those whose text or metadata changed.
        replaced: how many of these replaced another document with the same id.
        unchanged: documents of new and changed files that the index held already.
        removed: documents that no file contains any more.
        skipped: files that were not taken; what the index held of them stays.
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
