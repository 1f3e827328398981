"""Which file has an id: the one that has it in the index, unless its new content lacks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING

from serotine.errors import DuplicateIdError, InputFileError
from serotine.index import SourceRecord
from serotine.ingest.file_state import is_gone, read_state, settled_stamp
from serotine.ingest.listing import Listing
from serotine.ingest.rows import SkippedRow
from serotine.ingest.sources import SourceFile

if TYPE_CHECKING:
    from serotine.ingest.document_reader import DocumentReader
    from serotine.ingest.plan import FileChange


class NewIds:
    """The ids that the files of an update have from now on; a file is read ahead where another one has an id of it.

    Args:
        reader: reads the files.
        files: those of the update, by the keys that an index records.
        records: the index's records, by key.
        listing: says which recorded files the update removes.
    """

    def __init__(
        self,
        reader: DocumentReader,
        files: Mapping[str, SourceFile],
        records: Mapping[str, SourceRecord],
        listing: Listing,
    ) -> None:
        self._reader = reader
        self._files = files
        self._records = records
        self._listing = listing
        self._ids: dict[str, Set[str] | None] = {}

    def record(self, key: str, ids: Set[str] | None) -> None:
        """Record the ids of a file that was read; None: what the index has of it stays."""
        self._ids[key] = ids

    def are_free(self, taker: SourceFile, key: str, ids: Iterable[str], has_text: bool) -> bool:
        """Return whether a file may have these ids of a recorded one, which has none of them any more.

        For an upload no file is gone: its server need not have the files that an index was made of.

        Args:
            taker: the file.
            key: of the recorded one.
            ids: of a document of both.
            has_text: whether its text is the same.
        """
        if self._listing.is_gone(key):
            return True
        file = self._files.get(key)
        if file is None:
            # Another document may be on a disk that is not mounted.
            return has_text and not taker.is_named and is_gone(key)
        if key not in self._ids:
            self._ids[key] = self._read(file)
        new = self._ids[key]
        return new is not None and new.isdisjoint(ids)

    def _read(self, file: SourceFile) -> Set[str] | None:
        record = self._records.get(file.key)
        bad_rows: list[SkippedRow] = []
        try:
            stamp = settled_stamp(read_state(file))
            is_complete = record is not None and record.digest is not None
            if record is not None and is_complete and record.stamp == stamp != "":
                return None
            documents = self._reader.documents(file, bad_rows.append)
            ids = {id_ for document in documents for id_ in document.ids}
        except (InputFileError, DuplicateIdError):
            return None
        # A file without a valid row is skipped, and keeps its documents.
        return None if bad_rows and not ids else ids


def commit_groups(changes: Sequence[FileChange]) -> list[list[FileChange]]:
    """Return the changes in groups that one transaction has to store: files that take ids from each other."""
    groups = {change.record.name: [change] for change in changes}
    for change in changes:
        for owner in change.owners:
            group, other = groups[change.record.name], groups.get(owner)
            if other is None or other is group:
                continue
            group += other
            groups.update((member.record.name, group) for member in other)
    return list({id(group): group for group in groups.values()}.values())
