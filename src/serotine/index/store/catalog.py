"""The catalog: one SQLite database that is the single source of truth of an index.

WAL with synchronous=FULL: a transaction that has returned survives a power cut. A file that the catalog does not name
is not part of the index.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexDamagedError, IndexReplacedError, NotAnIndexError, SerotineError
from serotine.index.files import CodebookRecord, FileRecord, SegmentRecord
from serotine.index.store import (
    calibration_table,
    commits,
    coverage_table,
    filter_fields,
    filters,
    forks,
    integrity,
    lexical,
    passages,
)
from serotine.index.store.calibration_table import Calibration
from serotine.index.store.coverage_table import CoverageCounts
from serotine.index.store.filter_fields import FilterField
from serotine.index.store.forks import ForkAware
from serotine.index.store.pages import live_pages, matching_numbers
from serotine.index.store.settings import Settings, decoded, decoded_metadata, read_settings, settings_rows
from serotine.index.store.sql import MAX_BOUND, batches, next_number, placeholders
from serotine.index.store.sqlite_errors import has_wal, translated_errors

CATALOG_FILE = "catalog.sqlite"
# A page of `Catalog.scan`: documents may be long.
_DOCUMENTS_PER_PAGE = 256
# Seconds that a fork waits for a statement of another thread.
_FORK_TIMEOUT = 10

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


@dataclass(frozen=True, slots=True)
class Row:
    """The catalog's row of a document."""

    number: int
    id: str
    text: str | None
    metadata: dict[str, Any]


def commit(connection: sqlite3.Connection) -> None:
    """Commit a transaction; when this returns, it is on disk."""
    connection.execute("COMMIT")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # Catalog's lock serializes statements, so any thread may use the connection.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=30
    )
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _stamp(path: Path) -> tuple[int, int, bool]:
    """Return values that change when another process writes the catalog, or starts to."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size, has_wal(path)


def _identity(path: Path) -> tuple[int, int]:
    """Return device and inode: no other file gets those of a file that is open."""
    status = path.stat()
    return status.st_dev, status.st_ino


def create_catalog(folder: Path, settings: Settings) -> None:
    """Write a new catalog into `folder`."""
    with translated_errors(folder / CATALOG_FILE):
        connection = sqlite3.connect(folder / CATALOG_FILE, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(f"BEGIN; {_SCHEMA}")
            for statement in filters.index_statements(settings.filterable):
                connection.execute(statement)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", settings_rows(settings))
            commit(connection)
        finally:
            connection.close()


def copy_database(connection: sqlite3.Connection, path: Path) -> None:
    """Copy a database to a new file at `path`, through SQLite's backup, and check the structure of the copy."""
    copy = sqlite3.connect(path, isolation_level=None)
    try:
        copy.execute("PRAGMA synchronous=FULL")
        connection.backup(copy)
        copy.execute("PRAGMA journal_mode=WAL")
        (problem,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    finally:
        copy.close()
    if problem != "ok":
        raise IndexDamagedError(f"{path.name}: {problem}; repair it with `serotine verify --repair`")


class Catalog(ForkAware):
    """An open catalog; every method is thread-safe.

    Raises:
        NotAnIndexError: the folder holds no catalog, or one of another format.
        IndexDamagedError: the catalog is not a readable database.
    """

    def __init__(self, folder: Path, *, read_only: bool) -> None:
        self._lock = threading.RLock()
        self._path = path = folder / CATALOG_FILE
        self._read_only = read_only
        self._closed = False
        self._inherited = False
        self._fork_locked = False
        self._reconnections = 0
        if not folder.exists():
            raise NotAnIndexError(f"{folder}: no such folder; create an index there first", str(folder))
        if not path.is_file():
            raise NotAnIndexError(f"{folder}: not a Serotine index (it has no {CATALOG_FILE})", str(folder))
        with translated_errors(self._path):
            self._open()
            try:
                self.settings = read_settings(self._connection, folder / CATALOG_FILE)
            except BaseException:
                self._connection.close()
                raise
        forks.watch(self)

    def _open(self) -> None:
        mode = "mode=ro" if self._read_only else "mode=rw"
        stamp = _stamp(self._path)
        # A reader without write permission in the folder cannot create SQLite's shared memory there. While no
        # commit is in a WAL, the file alone is complete, and is read as immutable until its stamp changes.
        immutable = self._read_only and not stamp[2] and not os.access(self._path.parent, os.W_OK)
        self._immutable_stamp = stamp if immutable else None
        self._mode = "immutable=1" if immutable else mode
        self._connection = _connect(self._path, self._mode)
        self._identity = _identity(self._path)

    @contextmanager
    def _statements(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection to one thread at a time."""
        with self._lock:
            self._require_open()
            self._require_in_place()
            with translated_errors(self._path):
                if self._inherited:
                    self._open()
                    self._inherited = False
                    self._reconnections += 1
                yield self._connection

    def before_fork(self) -> None:
        """Wait for the statement that another thread is running."""
        self._fork_locked = self._lock.acquire(timeout=_FORK_TIMEOUT)

    def after_fork_in_parent(self) -> None:
        """Let other threads run statements again."""
        if self._fork_locked:
            self._lock.release()

    def after_fork(self) -> None:
        """Leave the parent's connection; the next read opens one of this process."""
        self._lock = threading.RLock()
        self._read_only = True
        if self._closed or self._inherited:
            return
        self._inherited = True
        # Closed, because SQLite would take the parent's locks for this process's. The parent still has the database
        # open, so closing writes nothing; within a transaction it would.
        if self._fork_locked and not self._connection.in_transaction:
            self._connection.close()
        else:
            forks.leak(self._connection)

    def _require_open(self) -> None:
        if self._closed:
            raise SerotineError(f"{self._path.parent}: this index is closed; open it again")

    def _require_in_place(self) -> None:
        """Raise IndexReplacedError where the folder has another catalog than the open one, or none."""
        try:
            current = _identity(self._path)
        except (FileNotFoundError, NotADirectoryError):
            raise IndexReplacedError(f"{self._path.parent}: was removed; open another index") from None
        if current != self._identity:
            raise IndexReplacedError(f"{self._path.parent}: was replaced by another index; open it again")

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._closed = True
            if not self._inherited:
                self._connection.close()

    def __del__(self) -> None:
        # A connection refers to itself through its statement cache: only closing it frees its files at once.
        connection: sqlite3.Connection | None = getattr(self, "_connection", None)
        if connection is not None and not self._inherited:
            connection.close()

    def version(self) -> tuple[int, int]:
        """Return a value that changes when another connection commits."""
        with self._statements() as connection:
            if self._immutable_stamp is not None and self._immutable_stamp != _stamp(self._path):
                connection.close()
                self._open()
                self._reconnections += 1
            return self._reconnections, int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction: committed when the block ends, rolled back when it raises.

        An exception does not prove that nothing was committed: an interrupt may arrive just after COMMIT returned, and
        a COMMIT that failed to reach the disk may still be there after a crash.
        """
        with self._statements() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                number = commits.increment(connection)
                commit(connection)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            commits.note(self._path, number)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Run several reads of one committed state."""
        with self._statements() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def segments(self) -> list[tuple[int, SegmentRecord]]:
        """Return every segment with its number, in the order of their documents."""
        with self._statements() as connection:
            rows = connection.execute(
                "SELECT segment, documents, tokens, codebook, vectors_file, vectors_bytes, vectors_checksum, "
                "codes_file, codes_bytes, codes_checksum FROM segments ORDER BY segment"
            ).fetchall()
        return [
            (row[0], SegmentRecord(row[1], row[2], row[3], _file_record(row[4:7]), _file_record(row[7:10])))
            for row in rows
        ]

    def codebooks(self) -> dict[int, CodebookRecord]:
        """Return every codebook by number."""
        with self._statements() as connection:
            rows = connection.execute("SELECT codebook, file, bytes, checksum, centroids, tokens FROM codebooks")
            return {row[0]: CodebookRecord(FileRecord(*row[1:4]), row[4], row[5]) for row in rows}

    def files(self) -> list[FileRecord]:
        """Return every file that the catalog names."""
        with self.reading():
            return [
                *(file for _, record in self.segments() for file in record.files),
                *(record.file for record in self.codebooks().values()),
            ]

    def value(self, key: str) -> Any:
        """Return a value that `Transaction.set_value` stored, or None."""
        with self._statements() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else decoded(row[0], self._path, f"the value of {key!r}")

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

    def is_absent(self, field: FilterField) -> bool:
        """Return whether no live document has a field with a value of its kind, although there are documents."""
        with self._statements() as connection:
            return filter_fields.is_absent(connection, field)

    def lexical(self, query: str, k: int, where: Mapping[str, Any] | None) -> list[tuple[int, float]]:
        """Return the k best documents by BM25, as (document number, score)."""
        condition = None if where is None else filters.compile_where(where, self.settings.filterable)
        with self._statements() as connection:
            return lexical.search(connection, query, k, condition)

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

    def live_rows(self, ids: Sequence[str]) -> list[tuple[str, Row | None]]:
        """Return every id with its live document, or with None; all of one committed state."""
        with self.reading():
            numbers = self.live_ids(ids)
            rows = self.rows(list(numbers.values()))
        return [(id_, rows[numbers[id_]] if id_ in numbers else None) for id_ in ids]

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

    @contextmanager
    def _one_state(self) -> Iterator[sqlite3.Connection]:
        """Yield another connection that reads one committed state until the block ends."""
        with self._statements():
            connection = _connect(self._path, self._mode)
        try:
            self._require_in_place()
            with translated_errors(self._path):
                connection.execute("BEGIN")
            yield connection
        finally:
            connection.close()

    def _row(self, values: Sequence[Any]) -> Row:
        number, id_, text, metadata = values
        return Row(number, id_, text, decoded_metadata(metadata, self._path, id_))

    def counts(self) -> tuple[int, int]:
        """Return the numbers of live documents and of tombstones."""
        with self._statements() as connection:
            live, total = connection.execute("SELECT count(*) FILTER (WHERE live), count(*) FROM documents").fetchone()
        return live, total - live

    def copy_to(self, path: Path) -> None:
        """Write one committed state to a new database at `path`, on disk; changes and searches continue meanwhile.

        Raises:
            IndexDamagedError: the structure of the database is damaged.
        """
        with self._one_state() as connection, translated_errors(path):
            copy_database(connection, path)

    def require_commits(self) -> None:
        """Raise IndexDamagedError where commits are missing that were on disk."""
        with self._statements() as connection:
            commits.require_all(connection, self._path)

    def close_writer(self) -> None:
        """Move the commits out of the WAL, as far as open readers let it, and close; requires the writer lock."""
        with self._lock:
            # On a full disk they stay there, which is no less safe.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self.close()
            commits.forget(self._path)

    def check(self) -> list[str]:
        """Return the problems of the database: its structure, its references, the rows of every document."""
        return integrity.problems(self._statements, self._one_state)

    def numbers(self) -> NDArray[np.int64]:
        """Return the document number of every row, tombstones included, ascending."""
        with self._statements() as connection:
            rows = connection.execute("SELECT number FROM documents ORDER BY number")
            return np.fromiter((row[0] for row in rows), dtype=np.int64)


def _file_record(values: Sequence[Any]) -> FileRecord | None:
    return None if values[0] is None else FileRecord(*values)
