"""One transaction of the catalog: every change to an index is made through its methods."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serotine.errors import SerotineError
from serotine.index.files import CodebookRecord, FileRecord, SegmentRecord
from serotine.index.store import (
    calibration_table,
    coverage_table,
    deleted_table,
    lexical,
    source_catalog,
    staging,
)
from serotine.index.store.calibration_table import Calibration
from serotine.index.store.catalog import POOLED_WEIGHTS, UNFINISHED
from serotine.index.store.coverage_table import CoverageRow
from serotine.index.store.source_catalog import SourceUpdate
from serotine.index.store.sql import batches, next_number, placeholders, row_checksum


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document with its number; `metadata` as JSON, `live` False for a tombstone."""

    number: int
    id: str
    text: str | None
    metadata: str
    live: bool


class Transaction:
    """An open transaction; `Store.transaction` commits it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def insert_documents(
        self,
        first_number: int,
        documents: Sequence[tuple[str, str | None, str]],
        coverage: Sequence[CoverageRow] = (),
        *,
        staged_for: str | None = None,
    ) -> None:
        """Insert documents, (id, text, metadata as JSON), numbered from `first_number`; `coverage` of some.

        Those of the file `staged_for` are staged: `update_sources` activates them.

        Raises:
            SerotineError: the next number is another: the index was changed without the writer lock.
        """
        if documents and (number := next_number(self._connection)) != first_number:
            raise SerotineError(
                f"the number of the next document must be {first_number}, got {number}: another process changes this "
                "index without its writer lock; nothing was added; stop that process, then open the index again"
            )
        self._connection.executemany(
            "INSERT INTO documents (number, id, text, metadata, checksum, live) VALUES (?, ?, ?, ?, ?, ?)",
            (
                (first_number + i, *document, row_checksum(*document), staged_for is None)
                for i, document in enumerate(documents)
            ),
        )
        if staged_for is not None:
            staging.stage(self._connection, staged_for, first_number, [id_ for id_, _, _ in documents])
        else:
            texts = ((first_number + i, text) for i, (_, text, _) in enumerate(documents) if text)
            lexical.add(self._connection, texts)
            deleted_table.remove(self._connection, [id_ for id_, _, _ in documents])
        coverage_table.record(self._connection, first_number, coverage)

    def insert_numbered(self, documents: Sequence[StoredDocument]) -> None:
        """Insert documents with the numbers they have in another index, tombstones included."""
        self._connection.executemany(
            "INSERT INTO documents (number, id, text, metadata, checksum, live) VALUES (?, ?, ?, ?, ?, ?)",
            (
                (row.number, row.id, row.text, row.metadata, row_checksum(row.id, row.text, row.metadata), row.live)
                for row in documents
            ),
        )
        live = [row for row in documents if row.live]
        lexical.add(self._connection, [(row.number, row.text) for row in live if row.text])

    def mark_deleted(self, numbers: Sequence[int]) -> None:
        """Turn live documents into tombstones: no search returns them, and their vectors stay until a rewrite."""
        for batch in batches(numbers):
            # A damaged text must not prevent a deletion.
            condition = f"live AND text <> '' AND typeof(text) = 'text' AND number IN ({placeholders(batch)})"
            texts = self._connection.execute(f"SELECT number, text FROM documents WHERE {condition}", batch)  # noqa: S608
            lexical.remove(self._connection, texts.fetchall())
        self._connection.executemany(
            "UPDATE documents SET live = 0 WHERE number = ?", ((number,) for number in numbers)
        )

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete documents as somebody asked for, so that updates of their files do not bring them back."""
        source_catalog.record_deleted(self._connection, numbers)
        self.mark_deleted(numbers)

    def replace_metadata(self, rows: Iterable[tuple[int, str, str | None, str]]) -> None:
        """Replace the metadata of documents: (number, id, text, metadata as JSON)."""
        self._connection.executemany(
            "UPDATE documents SET metadata = ?, checksum = ? WHERE number = ?",
            ((metadata, row_checksum(id_, text, metadata), number) for number, id_, text, metadata in rows),
        )

    def purge_deleted(self, numbers: Sequence[int]) -> None:
        """Remove tombstones whose vectors are no longer stored."""
        self._connection.executemany(
            "DELETE FROM documents WHERE number = ? AND NOT live", ((number,) for number in numbers)
        )

    def insert_segment(self, record: SegmentRecord) -> None:
        """Insert a segment whose files are on disk."""
        number = self._connection.execute(
            "INSERT INTO segments (documents, tokens, codebook, vectors_file, vectors_bytes, vectors_checksum, "
            "codes_file, codes_bytes, codes_checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (record.documents, record.tokens, record.codebook, *_columns(record.vectors), *_columns(record.codes)),
        ).lastrowid
        if record.pooled is not None:
            self._connection.execute(
                "UPDATE segments SET pooled_file = ?, pooled_bytes = ?, pooled_checksum = ? WHERE segment = ?",
                (*_columns(record.pooled), number),
            )

    def remove_segments(self, numbers: Sequence[int]) -> None:
        """Remove segments; `Store.sweep` removes their files."""
        self._connection.executemany("DELETE FROM segments WHERE segment = ?", ((number,) for number in numbers))

    def insert_codebook(self, record: CodebookRecord) -> int:
        """Insert a codebook whose file is on disk, and return its number."""
        row = (record.file.name, record.file.bytes, record.file.checksum, record.centroids, record.tokens)
        number = self._connection.execute(
            "INSERT INTO codebooks (file, bytes, checksum, centroids, tokens) VALUES (?, ?, ?, ?, ?)", row
        ).lastrowid
        if number is None:
            raise SerotineError("the catalog returned no number for a codebook")
        return number

    def remove_unused_codebooks(self) -> None:
        """Remove codebooks that no segment uses, except the newest, which encodes the next documents."""
        self._connection.execute(
            "DELETE FROM codebooks WHERE codebook NOT IN (SELECT codebook FROM segments WHERE codebook IS NOT NULL) "
            "AND codebook < (SELECT max(codebook) FROM codebooks)"
        )

    def set_calibration(self, calibration: Calibration) -> None:
        """Store the recall that was measured, in place of an earlier calibration."""
        calibration_table.store(self._connection, calibration)

    def set_pooled_weights(self, late: float, pooled: float) -> None:
        """Store what `Catalog.pooled_weights` returns."""
        self.set_value(POOLED_WEIGHTS, [float(late), float(pooled)])

    def set_value(self, key: str, value: Any) -> None:
        """Change a setting that `Catalog.value` reads."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def update_sources(self, updates: Sequence[SourceUpdate], removed: Sequence[str]) -> None:
        """Record sources whose documents were just inserted; remove the sources `removed` with their documents."""
        source_catalog.ensure_schema(self._connection)
        for update in updates:
            staging.activate(self._connection, update.record.staging_name, update.staged)
            source_catalog.record(self._connection, update)
            self._change_metadata(update.changed_metadata)
        # After every source has claimed its documents: a document that left one file may have moved to another.
        for update in updates:
            if update.removed:
                number = source_catalog.number_of(self._connection, update.record.name)
                self.mark_deleted(source_catalog.live_numbers(self._connection, number, set(update.removed)))
        for name in removed:
            number = source_catalog.number_of(self._connection, name)
            if number is not None:
                self.mark_deleted(source_catalog.live_numbers(self._connection, number, None))
                source_catalog.remove(self._connection, number)

    def set_unfinished(self, sources: Sequence[str]) -> None:
        """Store what `Catalog.unfinished` returns."""
        self.set_value(UNFINISHED, list(sources))

    def set_splitting(self, splitting: str) -> None:
        """Store what `Sources.splitting` returns."""
        self.set_value(source_catalog.SPLITTING, splitting)

    def discard_staged(self) -> None:
        """Leave staged documents as tombstones."""
        staging.discard(self._connection)

    def _change_metadata(self, metadata: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the metadata of live documents by id."""
        for id_, values in metadata.items():
            row = self._connection.execute(
                "SELECT number, text FROM documents WHERE live AND id = ?", (id_,)
            ).fetchone()
            if row is not None:
                stored = json.dumps(values, ensure_ascii=False)
                self.replace_metadata([(row[0], id_, row[1], stored)])


def _columns(file: FileRecord | None) -> tuple[str | int | None, ...]:
    return (None,) * 3 if file is None else (file.name, file.bytes, file.checksum)
