"""Subfolders that are empty although an index has documents of their files: a disk may not be mounted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from serotine.errors import InputFileError
from serotine.ingest.file_state import file_size, read_digest
from serotine.ingest.listing import Listing, NoFilesError, source_roots, with_kept
from serotine.ingest.sources import SourceFile
from serotine.ingest.walk import is_within

if TYPE_CHECKING:
    from serotine.index import Index, SourceRecord


def keep_emptied(listing: Listing, index: Index, sources: Sequence[str | Path | SourceFile]) -> None:
    """Keep what an index has of the files of empty subfolders, except of those that are elsewhere now."""
    records = index.sources.all()
    empty_folder_of = cache(_empty_folder)
    gone: dict[str, list[SourceRecord]] = {}
    for name, record in records.items():
        if listing.is_gone(name) and not listing.is_excluded(name):
            folder = empty_folder_of(os.path.dirname(name))  # noqa: PTH120
            if folder is not None:
                gone.setdefault(folder, []).append(record)
    if not gone:
        return
    missing = [record for of_folder in gone.values() for record in of_folder]
    moved = _digests((file for key, file in listing.files.items() if key not in records), missing)
    for folder, of_folder in gone.items():
        kept = {record.name for record in of_folder if record.digest not in moved}
        documents = sum(len(index.sources.ids(name)) for name in kept)
        if documents:
            listing.kept |= kept
            shown = _shown(folder, sources)
            state = "a link to a folder that does not exist" if os.path.islink(folder) else "an empty folder"  # noqa: PTH114
            listing.without_files[shown] = with_kept(NoFilesError(f"{shown}: {state} now", ""), documents)


def _empty_folder(path: str) -> str | None:
    """Return a folder, or the nearest one above it that exists, if that is empty, or a link to one that is gone."""
    while not os.path.lexists(path):
        parent = os.path.dirname(path)  # noqa: PTH120
        if parent == path:
            return None
        path = parent
    try:
        with os.scandir(path) as entries:
            return path if next(entries, None) is None else None
    except FileNotFoundError:
        return path
    except OSError:
        return None


def _digests(files: Iterable[SourceFile], records: Sequence[SourceRecord]) -> set[str]:
    """Return the digests of those files that may have the content of one of the records, as their sizes say."""
    sizes = {record.stamp.split()[0] if record.stamp else None for record in records}
    digests = set()
    for file in files:
        if None in sizes or str(file_size(file)) in sizes:
            with suppress(InputFileError):
                digests.add(read_digest(file))
    return digests


def _shown(folder: str, sources: Sequence[str | Path | SourceFile]) -> str:
    """Return a folder as a path below the source that it is in, as that was given."""
    for source in sources:
        if isinstance(source, SourceFile):
            continue
        for root in source_roots(source):
            if is_within(folder, root):
                return str(Path(source, os.path.relpath(folder, root)))
    return folder
