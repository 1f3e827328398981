"""A sample of the texts of files, read before an encoder is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from serotine.errors import InputFileError, MissingExtraError
from serotine.ingest.fields import STANDARD, Fields
from serotine.ingest.listing import list_files
from serotine.ingest.rows import SkippedRow
from serotine.ingest.sources import SourceFile
from serotine.ingest.walk import FileSelection

Item = TypeVar("Item")
_MAX_TEXTS = 200
_MAX_FILES = 64
# Rows read of a file; the sample is spread over them.
_MAX_ROWS = 4000
_MAX_CHARACTERS = 1000
# Of text files: large PDFs take seconds to read, and are read again for the index.
_MAX_BYTES = 20_000_000


def sample_texts(
    sources: Sequence[str | Path | SourceFile],
    *,
    selection: FileSelection | None = None,
    fields: Fields | None = None,
) -> list[str]:
    """Return the beginnings of up to about 200 texts of files, spread over up to 64 files and their first rows.

    Files and rows that cannot be read are left out: `Ingest.plan` reports them.

    Args:
        sources: as in `Ingest`.
        selection: as in `Ingest`.
        fields: as in `Ingest`.

    Raises:
        InputFileError: a source does not exist, or none can be read.
    """
    files = _spread(
        list(list_files(sources, selection or FileSelection(), allow_empty=True).files.values()), _MAX_FILES
    )
    of_file = max(_MAX_TEXTS // max(len(files), 1), 1)
    texts: list[str] = []
    size = 0
    for file in files:
        size += _size(file)
        if not texts or size <= _MAX_BYTES or not file.is_text(fields or STANDARD):
            texts += _spread(_texts(file, fields or STANDARD), of_file)
    return texts


def _texts(file: SourceFile, fields: Fields) -> list[str]:
    try:
        documents = file.documents(fields=fields, on_bad_row=_skip)
        # A text file is one document: its middle says more about its language than a license at its beginning.
        texts = [document.text for document in islice(documents, _MAX_ROWS)]
    except (InputFileError, MissingExtraError):
        return []
    if file.is_text(fields):
        return [text[max(len(text) - _MAX_CHARACTERS, 0) // 2 :][:_MAX_CHARACTERS] for text in texts]
    return [text[:_MAX_CHARACTERS] for text in texts]


def _spread(items: list[Item], count: int) -> list[Item]:
    """Return `count` items at equal distances, or all of fewer."""
    return items if len(items) <= count else [items[i * len(items) // count] for i in range(count)]


def _size(file: SourceFile) -> int:
    try:
        return file.path.stat().st_size if file.is_text() else 0
    except OSError:
        return 0


def _skip(row: SkippedRow) -> None:
    """Leave out a row that cannot be read."""
