"""Documents of files that an update no longer sees: how many an index has, and the command that deletes them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from serotine.ingest.emptied import keep_emptied
from serotine.ingest.file_state import is_gone
from serotine.ingest.listing import Listing, list_files, source_roots
from serotine.ingest.sources import SourceFile
from serotine.ingest.walk import FileSelection, is_within

if TYPE_CHECKING:
    from serotine.index import Index, SourceRecord
    from serotine.ingest.plan import FileChange

# A longer command is not for people.
_MAX_FILES = 20


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Documents that an index has of files.

    Attributes:
        files: how many, by the names of the files' records.
        command: deletes them.
    """

    files: Mapping[str, int] = field(default_factory=dict)
    command: str = ""

    @property
    def documents(self) -> int:
        """Their number."""
        return sum(self.files.values())

    @classmethod
    def of(cls, index: Index, records: Iterable[str]) -> Leftovers:
        """Return the documents of these files."""
        ids = {name: of_file for name in records if (of_file := index.sources.ids(name))}
        contents = index.sources.contents([of_file[0] for of_file in ids.values()])
        sources = [str(metadata.get("source")) for _, metadata in contents.values()]
        if len(sources) > _MAX_FILES:
            command = "serotine index SOURCES --overwrite, with the files to search"
        else:
            where = json.dumps({"source": {"in": sources}}, ensure_ascii=False)
            command = shlex.join(["serotine", "delete", str(index.path), "--where", where])
        return cls({name: len(of_file) for name, of_file in ids.items()}, command)


def list_known_files(
    index: Index | None,
    sources: Sequence[str | Path | SourceFile],
    selection: FileSelection,
    *,
    allow_empty: bool,
) -> Listing:
    """Return the files of sources, and what an index has of missing ones, which stays; see `list_files`."""
    listing = list_files(sources, selection, lambda source: documents_of(index, source), allow_empty=allow_empty)
    if index is not None and not allow_empty:
        keep_emptied(listing, index, sources)
    return listing


def documents_of(index: Index | None, source: str | Path) -> int:
    """Return how many documents an index has of a file or folder."""
    if index is None:
        return 0
    roots = source_roots(source)
    names = [name for name in index.sources.all() if any(is_within(name, root) for root in roots)]
    return sum(len(index.sources.ids(name)) for name in names)


def copied(
    index: Index | None, changes: Sequence[FileChange], records: Mapping[str, SourceRecord], removed: Iterable[str]
) -> Leftovers:
    """Return what an index has of files that no longer exist, are not removed, and have the content of new ones.

    An upload copies no file of its server.
    """
    if index is None:
        return Leftovers()
    new = {change.record.digest for change in changes if change.previous is None and not change.file.is_named}
    removed_files = set(removed)
    gone = [
        name for name, record in records.items() if record.digest in new and name not in removed_files and is_gone(name)
    ]
    return Leftovers.of(index, gone)
