"""Documents from files into an index: all of them looked at first, then added in committed chunks."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serotine.cli.declared import declared
from serotine.cli.output import plural, warn, watched
from serotine.errors import DuplicateIdError, EmptyTextWarning, HousekeepingWarning
from serotine.ingest import Document, read
from serotine.progress import Advance, progress_bar

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


def survey(
    sources: Sequence[Path],
    index: Index | None = None,
    *,
    filterable: Mapping[str, str] | None = None,
    refuse_known: bool = False,
) -> Survey:
    """Reads every document once and keeps none: a bad line is found before the first document is encoded.

    Args:
        sources: files and folders.
        index: where the documents will go, if it is there already.
        filterable: otherwise the fields that the index will have.
        refuse_known: whether an id that the index holds is an error.

    Raises:
        InputFileError: anything that cannot be read, a value that is not what its field is declared as, or no
            documents.
        DuplicateIdError: an id that stands twice, or, with `refuse_known`, one that the index holds.
    """
    seen: set[str] = set()
    known = wordless = 0
    first_wordless = ""
    fields = filterable or {} if index is None else index.stats().filterable
    with progress_bar(None, "Checking", enabled=watched()) as advance:
        for document in read(sources):
            if document.id in seen:
                raise DuplicateIdError(
                    f"{document.origin}: the id {document.id!r} stands there a second time; "
                    "give every document its own id"
                )
            seen.add(document.id)
            declared(document, fields)
            if index is not None and document.id in index:
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

    def run(
        self,
        sources: Sequence[Path],
        total: int,
        *,
        expected: int,
        skip_known: bool = False,
        upsert: bool = False,
    ) -> None:
        """Adds the documents of `sources`, `total` of them, drawing progress on a terminal.

        `expected` is how many the index will then hold: its codebook is trained once, for that size.
        """
        documents = read(sources)
        if skip_known:
            documents = (document for document in documents if document.id not in self._index)
        with progress_bar(total, "Indexing", enabled=watched()) as advance, _one_line_warnings():
            # One bar only: each has a console of its own, so that rich would let two draw over each other, and one of
            # every chunk would stay behind. So the index draws none; the clock of this one goes on while it trains.
            self._index.add_batches(self._batches(documents, advance), upsert=upsert, expected_documents=expected)

    def _batches(self, documents: Iterator[Document], advance: Advance) -> Iterator[dict[str, Any]]:
        filterable = self._index.stats().filterable
        chunk_size = _FIRST_CHUNK
        while chunk := list(islice(documents, chunk_size)):
            started = time.monotonic()
            yield {
                "ids": [document.id for document in chunk],
                "texts": [document.text for document in chunk],
                "metadata": [declared(document, filterable) for document in chunk],
            }
            # The index asks for the next chunk once this one is committed.
            self.added += len(chunk)
            advance(len(chunk))
            if time.monotonic() - started < _QUICK:
                chunk_size = min(2 * chunk_size, _LARGEST_CHUNK)


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Warnings of the index as lines of ours; that texts without words were added the survey has told already."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def shown(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
            if issubclass(category, HousekeepingWarning):
                warn(str(message))
            else:
                show(message, category, *rest, **named)

        warnings.showwarning = shown
        warnings.simplefilter("ignore", EmptyTextWarning)
        warnings.simplefilter("default", HousekeepingWarning)
        yield
