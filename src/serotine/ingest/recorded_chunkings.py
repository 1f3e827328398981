"""How an index cut the texts of its files, which runs without options of cutting continue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from serotine.ingest.chunking import Chunking
from serotine.ingest.document_reader import RECORDS
from serotine.ingest.listing import source_roots
from serotine.ingest.sources import SourceFile
from serotine.ingest.walk import root_of

if TYPE_CHECKING:
    from serotine.index import Index, TextEncoder


def previous_chunking(
    index: Index | None, encoder: TextEncoder, sources: Sequence[str | Path | SourceFile] = ()
) -> Chunking:
    """Return how the files of `sources` were cut last; where the index has none of them, as new files are cut."""
    new = None if index is None else recorded_chunking(index)
    counts = file_chunkings(index, sources) if index is not None and sources else Counter[Chunking]()
    return _last(counts, Chunking.of(None, None, encoder) if new is None else new)


def source_chunkings(index: Index, sources: Sequence[str | Path | SourceFile], new: Chunking) -> dict[str, Chunking]:
    """Return how the files of each source were cut last, by root; `new` is how new files are cut."""
    counts: dict[str | None, Counter[Chunking]] = {}
    roots = _roots(sources)
    for name, record in index.sources.all().items():
        if record.splitting != RECORDS:
            counts.setdefault(root_of(name, roots), Counter())[_parsed(record.splitting)] += 1
    return {root: _last(of_root, new) for root, of_root in counts.items() if root is not None}


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
    roots = _roots(sources or ())
    return Counter(
        _parsed(record.splitting)
        for name, record in index.sources.all().items()
        if record.splitting != RECORDS and (sources is None or root_of(name, roots) is not None)
    )


def _last(counts: Counter[Chunking], new: Chunking) -> Chunking:
    """Return how files that were cut in these ways were cut last."""
    # A run that was interrupted leaves files of both kinds.
    return new if new in counts or not counts else counts.most_common(1)[0][0]


def _roots(sources: Sequence[str | Path | SourceFile]) -> set[str]:
    return {
        root
        for source in sources
        for root in ([source.key] if isinstance(source, SourceFile) else source_roots(source))
    }


@lru_cache(maxsize=1 << 10)
def _parsed(splitting: str) -> Chunking:
    return Chunking.parse(splitting)
