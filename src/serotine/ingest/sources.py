"""The files of a source, and their documents, read by suffix."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from serotine.cutting import passage_id, repeated_metadata_problem
from serotine.errors import InputFileError
from serotine.ingest.chunking import Chunker
from serotine.ingest.context import in_context
from serotine.ingest.decoding import decode
from serotine.ingest.document import Document, from_fields, origin_as_id
from serotine.ingest.extract import Extract, with_lead
from serotine.ingest.fields import STANDARD, Fields
from serotine.ingest.file_types import (
    CONTAINERS,
    RECORD_READERS,
    TABLES,
    TEXT_READERS,
    file_type,
    has_own_encoding,
)
from serotine.ingest.limits import ROW_CHARACTERS, check_expansion, check_text, reading_limits
from serotine.ingest.lines import read_whole
from serotine.ingest.readers.pdf import read_pdf
from serotine.ingest.rows import BadRowError, OnBadRow, Problem, ReadRow, Row, SkippedRow, Unread
from serotine.json_values import characters
from serotine.texts import has_visible
from serotine.wording import worded


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to read.

    Attributes:
        path: where it is.
        name: its name in ids and messages; the suffix decides how it is read.
        key: the name an index records it under.
    """

    path: Path
    name: str
    key: str

    @classmethod
    def at(cls, path: Path, key: str | None = None) -> SourceFile:
        """Return a file named by its path as given; an index records `key`, or the path with links resolved."""
        return cls(path, path.as_posix(), os.path.realpath(path) if key is None else key)

    @classmethod
    def named(cls, path: str | Path, name: str) -> SourceFile:
        """Return a file under a name of the caller's, such as an upload with a temporary path."""
        return cls(Path(path), name, name)

    def is_text(self, fields: Fields = STANDARD) -> bool:
        """Return whether the file is one text rather than many documents; a spreadsheet is, unless fields are named."""
        type_ = file_type(self.name)
        return type_ in TEXT_READERS and not (type_ in TABLES and fields.has_columns)

    @property
    def is_named(self) -> bool:
        """Whether its name is the caller's rather than its path, as that of an upload is."""
        return not os.path.isabs(self.key)  # noqa: PTH117 - a name of the caller's need not be a path

    @property
    def is_table(self) -> bool:
        """Whether `Fields` say what its documents are."""
        return file_type(self.name) in TABLES

    def fields(self, given: Fields) -> Fields:
        """Return those of the given fields that are for the file: all for a table, the encoding for other texts."""
        type_ = file_type(self.name)
        if has_own_encoding(type_):
            given = replace(given, encoding=None)
        return given if type_ in TABLES else Fields(encoding=given.encoding)

    def documents(
        self,
        chunker: Chunker | None = None,
        *,
        fields: Fields = STANDARD,
        on_bad_row: OnBadRow | None = None,
        on_unread: Callable[[Mapping[str, int]], None] | None = None,
        on_part: Callable[[float], None] = lambda _: None,
        on_problem: OnBadRow | None = None,
    ) -> Iterator[Document]:
        """Yield its documents one at a time; those of a text are its passages, or the whole text without a chunker.

        An empty text gives none.

        Args:
            chunker: cuts texts into passages.
            fields: the fields of tables that make a document.
            on_bad_row: called with every row that is not a document; None: such a row is an error.
            on_unread: called with the number of images, attachments and the like of a text that are not read, by kind.
            on_part: called with the part of a PDF that is read so far, from 0 to 1.
            on_problem: called with every line that may not be read as it was meant.

        Raises:
            InputFileError: the file is broken; names the file and the line.
        """
        try:
            yield from self._read(chunker, fields, on_bad_row, on_unread, on_part, on_problem)
        except MemoryError:
            raise InputFileError(f"{self.name}: takes more memory to read than there is; split it") from None

    def _read(
        self,
        chunker: Chunker | None,
        fields: Fields,
        on_bad_row: OnBadRow | None,
        on_unread: Callable[[Mapping[str, int]], None] | None,
        on_part: Callable[[float], None],
        on_problem: OnBadRow | None,
    ) -> Iterator[Document]:
        suffix = file_type(self.name)
        fields = self.fields(fields)
        if suffix in RECORD_READERS and not self.is_text(fields):
            rows = RECORD_READERS[suffix](self.path, self.name, fields)
            rows = _without_expansion(rows, self.name, self.path.stat().st_size)
            yield from _row_documents(rows, self.name, fields, on_bad_row, on_problem, on_unread)
        elif suffix in TEXT_READERS:
            limit = None if suffix in CONTAINERS else reading_limits().record_bytes
            data = read_whole(self.path, self.name, limit)
            if fields.encoding is not None:
                text, encoding = decode(data, self.name, given=fields.encoding)
                data = text.encode("utf-8", "replace")
            extract = read_pdf(data, self.name, on_part) if suffix == ".pdf" else TEXT_READERS[suffix](data, self.name)
            check_text(extract.text, self.name)
            extract = with_lead(extract)
            if fields.encoding is not None:
                extract = replace(extract, metadata={**extract.metadata, **encoding.metadata})
            for problem in extract.problems:
                if on_problem is not None:
                    on_problem(SkippedRow(self.name, *problem))
            if on_unread is not None and extract.unread:
                on_unread(extract.unread)
            yield from self._passages(extract, chunker)
        else:
            fix = worded(
                "serotine.ingest.SUFFIXES has the types that are read",
                http="convert it to text, HTML or PDF",
                command="serotine index --help lists the types that are read",
            )
            raise InputFileError(f"{self.name}: unknown type of file, got {suffix or 'no suffix'!r}; {fix}")

    def _passages(self, extract: Extract, chunker: Chunker | None) -> Iterator[Document]:
        name = origin_as_id(self.name)
        if not has_visible(extract.text):
            return
        if chunker is None:
            yield Document(name, extract.text.strip(), extract.metadata, name)
            return
        chunks = chunker.chunks(extract)
        first = list(islice(chunks, 2))
        passages = (
            Document(
                name if len(first) == 1 else passage_id(name, number),
                extract.text[chunk.start : chunk.end],
                {**extract.passage_metadata(chunk.start, chunk.end, chunk.headings), "source": name},
                name,
            )
            for number, chunk in enumerate(chain(first, chunks), 1)
        )
        checked = _with_short_metadata(passages, name)
        yield from in_context(checked, extract.text) if chunker.chunking.late else checked


def _with_short_metadata(passages: Iterator[Document], name: str) -> Iterator[Document]:
    """Yield passages; InputFileError where their metadata are together too long."""
    total = 0
    for passage in passages:
        total += characters(passage.metadata)
        if problem := repeated_metadata_problem(total):
            raise InputFileError(f"{name}: {problem}")
        yield passage


def _without_expansion(rows: Iterator[ReadRow], name: str, file_bytes: int) -> Iterator[ReadRow]:
    """Yield rows; InputFileError where they are together beyond `ReadingLimits.expansion`."""
    total = 0
    for row in rows:
        if isinstance(row, Row):
            total += max(characters(row.fields), ROW_CHARACTERS)
            check_expansion(total, file_bytes, name)
        yield row


def _row_documents(
    rows: Iterator[ReadRow],
    name: str,
    fields: Fields,
    on_bad_row: OnBadRow | None,
    on_problem: OnBadRow | None,
    on_unread: Callable[[Mapping[str, int]], None] | None,
) -> Iterator[Document]:
    for row in rows:
        if isinstance(row, Unread):
            if on_unread is not None:
                on_unread(row.counts)
            continue
        if isinstance(row, Problem):
            if on_problem is not None:
                on_problem(SkippedRow(name, row.line, row.reason))
            continue
        try:
            document = _row_document(row, name, fields)
        except BadRowError as error:
            if on_bad_row is None:
                raise
            on_bad_row(error.row)
            continue
        yield document


def _row_document(row: Row | BadRowError, name: str, fields: Fields) -> Document:
    if isinstance(row, BadRowError):
        raise row
    try:
        document = from_fields(row.fields, name, row.line, fields)
        check_text(document.text, document.origin)
        return replace(document, added={**document.added, **row.place}) if row.place else document
    except InputFileError as error:
        raise BadRowError.of(name, row.line, error) from None
