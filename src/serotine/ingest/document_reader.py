"""The reader of an update's files: the documents of a file that are valid for an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from serotine.coverage import text_coverage
from serotine.cutting import (
    PASSAGE_FIELDS,
    new_names,
    passage_id,
    passage_metadata,
    repeated_metadata_problem,
    with_own,
)
from serotine.errors import InputFileError, shown_id
from serotine.ingest.changes import batched
from serotine.ingest.chunking import Chunker
from serotine.ingest.context import in_context
from serotine.ingest.document import Document
from serotine.ingest.extract import plain
from serotine.ingest.field_names import FieldNames
from serotine.ingest.fields import STANDARD, Fields
from serotine.ingest.file_types import file_type
from serotine.ingest.metadata import convert_metadata
from serotine.ingest.rows import BadRowError, OnBadRow, SkippedRow
from serotine.ingest.sources import SourceFile
from serotine.ingest.walk import root_of
from serotine.json_values import characters

if TYPE_CHECKING:
    from serotine.ingest.plan import FileChange

# What indexes of earlier versions recorded for files of records, which were not cut.
RECORDS = "records"
# Records whose tokens are counted together.
_RECORDS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class DocumentReader:
    """Reader of the files of one update.

    Attributes:
        chunker: cuts texts into passages.
        chunkers: those of sources whose files are cut otherwise, by their roots.
        filterable: the declared fields of the index; metadata are converted to their types.
        strict: whether one bad row makes its file broken.
        fields: the fields of tables that make a document; None: as recorded.
        recorded: those with which an index read its tables, by their names, and the last ones by type ("*.csv").
        on_step: called with every row, page of a PDF and portion of a long text; what it raises ends the reading.
        numbered: keys of files whose ids number their rows, as those of other files do: they get the file as prefix,
            unless a field is named as the id.
    """

    chunker: Chunker
    filterable: Mapping[str, str]
    strict: bool = False
    fields: Fields | None = None
    recorded: Mapping[str, Fields] = field(default_factory=dict)
    on_step: Callable[[], None] = lambda: None
    numbered: set[str] = field(default_factory=set)
    chunkers: Mapping[str, Chunker] = field(default_factory=dict)

    def splitting(self, file: SourceFile) -> str:
        """Return how a file is split, as an index records it: split in another way, it has other documents."""
        return f"{self.chunker_of(file).chunking} {self.fields_of(file)}".rstrip()

    def fields_of(self, file: SourceFile) -> Fields:
        """Return the fields that make a document of a table, and the encoding of a file; as recorded if not given."""
        recorded = self.recorded.get(file.key, self.recorded.get(f"*{file_type(file.name)}", STANDARD))
        # Options that say what the fields of tables are do not change how other files are decoded.
        is_given = self.fields is not None and (file.is_table or self.fields.encoding is not None)
        fields = file.fields(self.fields if self.fields is not None and is_given else recorded)
        return replace(fields, prefix_ids=True) if file.key in self.numbered and fields.id is None else fields

    def chunker_of(self, file: SourceFile) -> Chunker:
        """Return what cuts the texts of a file."""
        root = root_of(file.key, self.chunkers.keys()) if self.chunkers else None
        return self.chunker if root is None else self.chunkers[root]

    def is_late(self, file: SourceFile) -> bool:
        """Return whether passages of a file are encoded with the text around them."""
        return self.chunker_of(file).chunking.late

    def is_text(self, file: SourceFile) -> bool:
        """Return whether a file is one text rather than many documents."""
        return file.is_text(self.fields_of(file))

    def documents(
        self,
        file: SourceFile,
        on_bad_row: OnBadRow,
        on_unread: Callable[[Mapping[str, int]], None] | None = None,
        on_part: Callable[[float], None] = lambda _: None,
        is_taken: Callable[[Document, str], bool] = lambda _record, _id: False,
        on_problem: OnBadRow | None = None,
    ) -> Iterator[Document]:
        """Yield the documents of a file with unique ids and converted metadata.

        Args:
            file: the file.
            on_bad_row: called with every row that is skipped.
            on_unread: as in `SourceFile.documents`.
            on_part: as in `SourceFile.documents`.
            on_problem: as in `SourceFile.documents`; also called once with records whose fields are renamed.
            is_taken: returns whether an id of a record is taken; such a record is skipped.

        Raises:
            InputFileError: the file is broken; or, if strict, one of its rows.
        """

        def raise_or_report(row: SkippedRow) -> None:
            self.on_step()
            if self.strict:
                raise BadRowError(row)
            on_bad_row(row)

        def on_page(part: float) -> None:
            self.on_step()
            on_part(part)

        self.on_step()
        chunker = self.chunker_of(file)
        documents = file.documents(
            chunker,
            fields=self.fields_of(file),
            on_bad_row=raise_or_report,
            on_unread=on_unread,
            on_part=on_page,
            on_problem=on_problem,
        )
        if self.is_text(file):
            for document in documents:
                yield replace(document, metadata=convert_metadata(document, self.filterable))
            return
        ids: set[str] = set()
        names = FieldNames()
        for records in batched(documents, _RECORDS_AT_ONCE):
            for record, is_long in zip(records, chunker.are_long([record.text for record in records]), strict=True):
                self.on_step()
                try:
                    converted = self._placed(file, replace(record, metadata=convert_metadata(record, self.filterable)))
                    passages = self._passages(converted, chunker) if is_long else [converted]
                    taken = {id_ for passage in passages for id_ in passage.ids}
                    if duplicate := sorted(taken & ids):
                        raise InputFileError(
                            f"{record.origin}: duplicate id {shown_id(duplicate[0])}; ids must be unique"
                        )
                except InputFileError as error:
                    raise_or_report(BadRowError.of(file.name, record.line or 0, error).row)
                    continue
                # Of ids that are taken too: a repeated one is the same fault, whatever is known of other files.
                ids |= taken
                if any(is_taken(passages[0], id_) for id_ in sorted(taken)):
                    continue
                names.count(passages[0])
                yield from passages
        if on_problem is not None:
            for line, reason in names.problems():
                on_problem(SkippedRow(file.name, line, reason))

    def planned(self, change: FileChange) -> Iterator[Document]:
        """Yield the documents of a file again, as they were planned; the plan has reported the bad rows."""
        return self.documents(change.file, lambda _: None, is_taken=lambda _, id_: id_ in change.collisions)

    def count_truncated(self, file: SourceFile, documents: Sequence[Document]) -> int:
        """Return how many documents of a file are longer than the encoder reads; none where texts are cut."""
        if self.chunker_of(file).chunking.tokens is not None:
            return 0
        coverages = text_coverage(self.chunker.encoder, [document.text for document in documents], query=False)
        return sum(coverage.truncated for coverage in coverages or ())

    def _placed(self, file: SourceFile, record: Document) -> Document:
        """Add where a record is to its metadata; its own fields of these names are renamed.

        A field that the index declares with another type stays the record's own.
        """
        place = {
            name: value
            for name, value in {**record.added, "source": file.name, "line": record.line}.items()
            if name != "title" and self.filterable.get(name) in (None, type(value).__name__)
        }
        renamed = new_names(record.metadata, place)
        return replace(
            record,
            metadata=with_own(record.metadata, place, renamed),
            added={**record.added, **place},
            renamed={**record.renamed, **renamed},
        )

    def _passages(self, record: Document, chunker: Chunker) -> list[Document]:
        """Cut a long record into passages, with its id and their offsets in the metadata."""
        chunks = list(chunker.chunks(plain(record.text, {})))
        if len(chunks) < 2:
            return [record]
        if problem := repeated_metadata_problem(characters(record.metadata) * len(chunks)):
            raise InputFileError(f"{record.origin}: {problem}")
        renamed = {**record.renamed, **new_names(record.metadata, PASSAGE_FIELDS)}
        passages = [
            replace(
                record,
                id=passage_id(record.id, number),
                text=record.text[chunk.start : chunk.end],
                metadata=passage_metadata(record.metadata, record.id, chunk.start, chunk.end),
                record=record.id,
                renamed=renamed,
            )
            for number, chunk in enumerate(chunks, 1)
        ]
        return list(in_context(passages, record.text)) if chunker.chunking.late else passages
