"""How an index cut the texts of its files, which runs without options of cutting continue."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from serotine.ingest.chunking import Chunking
from serotine.ingest.document_reader import RECORDS
from serotine.ingest.listing import source_roots
from serotine.ingest.sources import SourceFile

if TYPE_CHECKING:
    from serotine.index import Index, TextEncoder


def previous_chunking(
    index: Index | None, encoder: TextEncoder, sources: Sequence[str | Path | SourceFile] = ()
) -> Chunking:
    """Return how the files of `sources` were cut last; where the index has none of them, as new files are cut."""
    last = None if index is None else recorded_chunking(index)
    counts = Counter[Chunking]() if index is None else file_chunkings(index, sources)
    if not counts:
        return Chunking.of(None, None, encoder) if last is None else last
    # A run that was interrupted leaves files of both kinds.
    return last if last is not None and last in counts else counts.most_common(1)[0][0]


def recorded_chunking(index: Index) -> Chunking | None:
    """Return how an index cuts new files: as the last run with options said; None where it has no texts of files.

    Indexes of earlier versions cut them as their newest file.
    """
    last = index.sources.splitting()
    if last is not None:
        return Chunking.parse(last)
    splittings = [record.splitting for record in index.sources.all().values() if record.splitting != RECORDS]
    return Chunking.parse(splittings[-1]) if splittings else None


def file_chunkings(index: Index, sources: Sequence[str | Path | SourceFile] | None = None) -> Counter[Chunking]:
    """Return how many files of `sources` were cut in which way; of None, all files of the index."""
    roots = {
        root
        for source in sources or ()
        for root in ([source.key] if isinstance(source, SourceFile) else source_roots(source))
    }
    splittings = Counter(
        record.splitting
        for name, record in index.sources.all().items()
        if record.splitting != RECORDS and (sources is None or _is_below(name, roots))
    )
    chunkings = Counter[Chunking]()
    for splitting, files in splittings.items():
        chunkings[Chunking.parse(splitting)] += files
    return chunkings


def _is_below(path: str, roots: Set[str]) -> bool:
    """Return whether a path is one of `roots`, or below one; there may be as many roots as files."""
    while path not in roots:
        parent = os.path.dirname(path)  # noqa: PTH120
        if parent in (path, ""):
            return False
        path = parent
    return True
