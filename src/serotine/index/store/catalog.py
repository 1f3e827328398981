"""The catalog: one SQLite database that is the single source of truth of an index.

WAL with synchronous=FULL: a transaction that has returned survives a power cut. A file that the catalog does not name
is not part of the index.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serotine.errors import index_damaged
from serotine.index.files import CodebookRecord, FileRecord, SegmentRecord
from serotine.index.store import (
    calibration_table,
    coverage_table,
    file_rows,
    filter_fields,
    filters,
    integrity,
    lexical,
    passages,
    record_checksums,
    sql,
)
from serotine.index.store.calibration_table import Calibration
from serotine.index.store.connection import CATALOG_FILE, CatalogConnection
from serotine.index.store.coverage_table import CoverageCounts
from serotine.index.store.file_rows import Refusal
from serotine.index.store.filter_fields import FilterField
from serotine.index.store.pages import live_pages, matching_numbers
from serotine.index.store.settings import Settings, decoded, decoded_metadata, settings_rows
from serotine.index.store.sql import MAX_BOUND, batches, next_number, placeholders
from serotine.index.store.sqlite_errors import translated_errors
from serotine.index.store.word_statistics import WordStatistics

# The key of `Catalog.unfinished` among the values of the catalog.
UNFINISHED = "unfinished_updates"
# The key of `Catalog.pooled_weights`.
POOLED_WEIGHTS = "pooled_weights"
# A page of `Catalog.scan`: documents may be long.
_DOCUMENTS_PER_PAGE = 256

_SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE codebooks (
    codebook INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    checksum TEXT NOT NULL,
    centroids INTEGER NOT NULL,
    tokens INTEGER NOT NULL
);
CREATE TABLE segments (
    segment INTEGER PRIMARY KEY AUTOINCREMENT,
    documents INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    codebook INTEGER REFERENCES codebooks (codebook),
    vectors_file TEXT UNIQUE,
    vectors_bytes INTEGER,
    vectors_checksum TEXT,
    codes_file TEXT UNIQUE,
    codes_bytes INTEGER,
    codes_checksum TEXT
);
CREATE TABLE documents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    text TEXT,
    metadata TEXT NOT NULL,
    checksum BLOB NOT NULL,
    live INTEGER NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX documents_by_live_id ON documents (id) WHERE live;
CREATE INDEX documents_deleted ON documents (number) WHERE NOT live;
{lexical.SCHEMA}
{lexical.LANGUAGES_SCHEMA}
"""
_POOLED_SCHEMA = """
ALTER TABLE segments ADD COLUMN pooled_file TEXT;
ALTER TABLE segments ADD COLUMN pooled_bytes INTEGER;
ALTER TABLE segments ADD COLUMN pooled_checksum TEXT;
CREATE UNIQUE INDEX segments_by_pooled_file ON segments (pooled_file);
"""


class Row(NamedTuple):
    """The catalog's row of a document."""

    number: int
    id: str
    text: str | None
    metadata: dict[str, Any]


def create_catalog(folder: Path, settings: Settings) -> None:
    """Write a new catalog into `folder`."""
    with translated_errors(folder / CATALOG_FILE):
        connection = sqlite3.connect(folder / CATALOG_FILE, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA fullfsync=ON")
            connection.executescript(f"BEGIN; {_SCHEMA}{_POOLED_SCHEMA if settings.pooled else ''}")
            for statement in filters.index_statements(settings.filterable):
                connection.execute(statement)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", settings_rows(settings))
            record_checksums.renew(connection, 0)
            sql.commit(connection)
        finally:
            connection.close()


class Catalog(CatalogConnection):
    """An open catalog; every method is thread-safe.

    Raises:
        NotAnIndexError: the folder holds no catalog, or one of another format.
        IndexDamagedError: the catalog is not a readable database.
    """

    def segments(self, refuse: Refusal | None = None) -> list[tuple[int, SegmentRecord]]:
        """Return every segment with its number, in the order of their documents.

        Args:
            refuse: takes what is wrong with rows, instead of an IndexDamagedError.
        """
        columns = file_rows.SEGMENT_COLUMNS
        if self.settings.pooled is not None:
            columns = f"{columns}, {file_rows.POOLED_COLUMNS}"
        with self._statements() as connection:
            rows = connection.execute(f"SELECT {columns} FROM segments ORDER BY segment").fetchall()  # noqa: S608
        return file_rows.segment_records(rows, refuse or file_rows.refusal(self._path))

    def codebooks(self, refuse: Refusal | None = None) -> dict[int, CodebookRecord]:
        """Return every codebook by number; `refuse` as for `segments`."""
        with self._statements() as connection:
            rows = connection.execute(f"SELECT {file_rows.CODEBOOK_COLUMNS} FROM codebooks").fetchall()  # noqa: S608
        return file_rows.codebook_records(rows, refuse or file_rows.refusal(self._path))

    def files(self) -> list[FileRecord]:
        """Return every file that the catalog names."""
        with self.reading():
            return [
                *(file for _, record in self.segments() for file in record.files),
                *(record.file for record in self.codebooks().values()),
            ]

    def damaged_records(self) -> list[str]:
        """Return the names of the rows of segments, codebooks and values that are not what was written."""
        with self._statements() as connection:
            return record_checksums.damaged(connection)

    def value(self, key: str) -> Any:
        """Return a value that `Transaction.set_value` stored, or None."""
        with self._statements() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else decoded(row[0], self._path, f"the value of {key!r}")

    def unfinished(self) -> tuple[str, ...]:
        """Return the files and folders whose update has begun but not ended: interrupted, or still running."""
        names = self.value(UNFINISHED)
        return tuple(map(str, names)) if isinstance(names, list) else ()

    def pooled_weights(self) -> tuple[float, float] | None:
        """Return the weights of MaxSim and of the pooled vectors that were recorded, or None.

        Raises:
            IndexDamagedError: they are none.
        """
        value = self.value(POOLED_WEIGHTS)
        if value is None:
            return None
        if not (isinstance(value, list) and len(value) == 2 and all(isinstance(one, float) for one in value)):
            raise index_damaged(f"{self._path}: the value of {POOLED_WEIGHTS!r} is no pair of weights")
        return value[0], value[1]

    def calibration(self) -> Calibration | None:
        """Return the recall that was measured last, for whatever codebook it was."""
        with self._statements() as connection:
            return calibration_table.load(connection)

    def next_number(self) -> int:
        """Return the number of the next document; requires the writer lock."""
        with self._statements() as connection:
            return next_number(connection)

    def deleted(self) -> NDArray[np.int64]:
        """Return the document numbers of all tombstones, ascending."""
        with self._statements() as connection:
            rows = connection.execute("SELECT number FROM documents WHERE NOT live ORDER BY number")
            return np.fromiter((row[0] for row in rows), dtype=np.int64)

    def matching(self, where: Mapping[str, Any]) -> NDArray[np.int64]:
        """Return the document numbers of live documents that pass a filter, ascending.

        Raises:
            ValueError, TypeError: the filter is malformed.
        """
        condition, values = filters.compile_where(where, self.settings.filterable)
        with self._statements() as connection:
            return matching_numbers(connection, condition, values)

    def absent(self, fields: Sequence[FilterField]) -> list[bool]:
        """Return for every field whether no live document has it with a value of its kind, if there are documents."""
        with self._statements() as connection:
            return filter_fields.absent(connection, fields)

    def lexical(self, query: str, k: int, where: Mapping[str, Any] | None) -> list[tuple[int, float]]:
        """Return the k best documents by BM25, as (document number, score)."""
        condition = None if where is None else filters.compile_where(where, self.settings.filterable)
        with self._statements() as connection:
            hits = lexical.search(connection, query, k, condition)
        return self._without_duplicates(hits)

    def word_statistics(self, queries: Sequence[str], languages: Sequence[str]) -> list[WordStatistics]:
        """Return the word statistics of this index for queries that are searched as stems of `languages` too."""
        with self.reading() as connection:
            return [lexical.statistics(connection, query, languages) for query in queries]

    def lexical_of_collection(
        self, query: str, k: int, where: Mapping[str, Any] | None, collection: WordStatistics
    ) -> list[list[tuple[int, float]]]:
        """Return the k best documents by BM25 with the statistics of a collection; see `lexical.rankings`."""
        condition = None if where is None else filters.compile_where(where, self.settings.filterable)
        with self.reading() as connection:
            rankings = lexical.rankings(connection, query, k, condition, collection)
        return [self._without_duplicates(hits) for hits in rankings]

    def _without_duplicates(self, hits: list[tuple[int, float]]) -> list[tuple[int, float]]:
        if len({number for number, _ in hits}) < len(hits):
            raise index_damaged(f"{self._path}: a document is in the word index more than once")
        return hits

    def word_count(self, word: str) -> tuple[int, int]:
        """Return the number of texts, and of those that have a word."""
        with self._statements() as connection:
            return lexical.count(connection, word)

    def live_ids(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the document numbers of those `ids` that live documents have."""
        numbers: dict[str, int] = {}
        with self._statements() as connection:
            for batch in batches(ids):
                numbers.update(
                    connection.execute(
                        f"SELECT id, number FROM documents WHERE live AND id IN ({placeholders(batch)})",  # noqa: S608
                        batch,
                    )
                )
        return numbers

    def passages(self, documents: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return the document numbers of the live passages of `documents`, by document and passage id."""
        with self._statements() as connection:
            return passages.numbers(connection, documents)

    def coverage(self) -> CoverageCounts:
        """Return the numbers of live documents that the encoder does not read whole, or does not know the words of."""
        with self._statements() as connection:
            return coverage_table.counts(connection)

    def unknown_scripts(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the main script of every live document among `ids` that is outside the encoder's vocabulary."""
        with self._statements() as connection:
            return coverage_table.unknown_scripts(connection, ids)

    def rows(self, numbers: Sequence[int], where: Mapping[str, Any] | None = None) -> dict[int, Row]:
        """Return documents by number, tombstones included; numbers that have no row, or do not pass, are omitted."""
        rows: dict[int, Row] = {}
        condition, values = ("1", []) if where is None else filters.compile_where(where, self.settings.filterable)
        with self._statements() as connection:
            for batch in batches(numbers):
                chosen = f"number IN ({placeholders(batch)}) AND {condition}"
                statement = f"SELECT number, id, text, metadata FROM documents WHERE {chosen}"  # noqa: S608
                for row in connection.execute(statement, [*batch, *values]):
                    rows[row[0]] = self._row(row)
        return rows

    def scan(self, where: Mapping[str, Any] | None) -> Iterator[Row]:
        """Yield live documents that pass a filter, in the order they were added, all of one committed state.

        The state is that of the first document. The rows are read in pages, over a connection of its own: searches and
        changes continue meanwhile.

        Raises:
            ValueError, TypeError: the filter is malformed; raised by this call.
        """
        return (self._row(row) for row in self._scan("number, id, text, metadata", where, _DOCUMENTS_PER_PAGE))

    def scan_ids(self, where: Mapping[str, Any] | None) -> Iterator[str]:
        """Yield the ids of the documents that `scan` yields."""
        return (row[1] for row in self._scan("number, id", where, MAX_BOUND))

    def _scan(self, columns: str, where: Mapping[str, Any] | None, page: int) -> Iterator[tuple[Any, ...]]:
        # Compiled before the first document is asked for, so that the call itself raises.
        condition = None if where is None else filters.compile_where(where, self.settings.filterable)
        return self._scanned(columns, condition, page)

    def _scanned(self, columns: str, condition: tuple[str, list[Any]] | None, page: int) -> Iterator[tuple[Any, ...]]:
        with self._one_state() as connection:
            for rows in live_pages(connection, columns, condition, page):
                yield from rows
                self._require_open()

    def _row(self, values: Sequence[Any]) -> Row:
        number, id_, text, metadata = values
        if not sql.has_row_types(id_, text, metadata):
            raise index_damaged(f"{self._path}: the id, text or metadata of document {number} is no text")
        return Row(number, id_, text, decoded_metadata(metadata, self._path, id_))

    def counts(self) -> tuple[int, int]:
        """Return the numbers of live documents and of tombstones."""
        with self._statements() as connection:
            live, total = connection.execute("SELECT count(*) FILTER (WHERE live), count(*) FROM documents").fetchone()
        return live, total - live

    def check(self) -> list[str]:
        """Return the problems of the database: its structure, its references, the rows of every document."""
        return integrity.problems(self._statements, self._one_state)

    def numbers(self) -> NDArray[np.int64]:
        """Return the document number of every row, tombstones included, ascending."""
        with self._statements() as connection:
            rows = connection.execute("SELECT number FROM documents ORDER BY number")
            return np.fromiter((row[0] for row in rows), dtype=np.int64)
