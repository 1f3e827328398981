"""Documents from files into an index: all of them looked at first, then added in committed chunks."""

from __future__ import annotations

import time
import warnings
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from serotine.cli.engine_options import typed
from serotine.cli.output import plural, warn, watched
from serotine.errors import DuplicateIdError, EmptyTextWarning
from serotine.ingest import read
from serotine.progress import progress_bar

if TYPE_CHECKING:
    from serotine.index import Index

# Every chunk is one commit. The first are small, so that progress and safety come early; they double
# while one takes less than _QUICK seconds, so that a large collection is not written in thousands of pieces.
_FIRST_CHUNK = 64
_LARGEST_CHUNK = 8192
_QUICK = 10.0
_REPORT_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Survey:
    """What the sources hold.

    Attributes:
        documents: all documents.
        known: those whose id the index holds already.
    """

    documents: int
    known: int


def survey(sources: Sequence[Path], index: Container[str] = (), *, refuse_known: bool = False) -> Survey:
    """Reads every document once and keeps none: a bad line is found before the first document is encoded.

    Raises:
        InputFileError: anything that cannot be read, or no documents.
        DuplicateIdError: an id that stands twice, or, with `refuse_known`, one that the index holds.
    """
    seen: set[str] = set()
    known = wordless = 0
    first_wordless = ""
    with progress_bar(None, "Checking", enabled=watched()) as advance:
        for document in read(sources):
            if document.id in seen:
                raise DuplicateIdError(
                    f"{document.origin}: the id {document.id!r} stands there a second time; "
                    "give every document its own id"
                )
            seen.add(document.id)
            if document.id in index:
                if refuse_known:
                    raise DuplicateIdError(
                        f"{document.origin}: the id {document.id!r} is in the index already; "
                        "pass --upsert to replace such documents"
                    )
                known += 1
            if not document.text:
                wordless += 1
                first_wordless = first_wordless or f"{document.id!r} at {document.origin}"
            if len(seen) % _REPORT_EVERY == 0:
                advance(_REPORT_EVERY)
        advance(len(seen) % _REPORT_EVERY)
    if wordless:
        warn(
            f"{plural(wordless, 'document')} without words (the first: {first_wordless}); "
            "kept, though no question finds them"
        )
    return Survey(len(seen), known)


class Loading:
    """Adding documents to an index, chunk by chunk; `added` counts what is committed, also after an interruption."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.added = 0

    def run(self, sources: Sequence[Path], total: int, *, skip_known: bool = False, upsert: bool = False) -> None:
        """Adds the documents of `sources`, `total` of them, drawing progress on a terminal."""
        documents = read(sources)
        filterable = self._index.stats().filterable
        if skip_known:
            documents = (document for document in documents if document.id not in self._index)
        chunk_size = _FIRST_CHUNK
        with progress_bar(total, "Indexing", enabled=watched()) as advance, warnings.catch_warnings():
            # The survey has told of all of them in one line.
            warnings.simplefilter("ignore", EmptyTextWarning)
            while chunk := list(islice(documents, chunk_size)):
                started = time.monotonic()
                self._index.add(
                    ids=[document.id for document in chunk],
                    texts=[document.text for document in chunk],
                    metadata=[typed(document, filterable) for document in chunk],
                    upsert=upsert,
                )
                self.added += len(chunk)
                advance(len(chunk))
                if time.monotonic() - started < _QUICK:
                    chunk_size = min(2 * chunk_size, _LARGEST_CHUNK)
