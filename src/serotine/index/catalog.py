"""The catalog: one SQLite database that is the single source of truth of an index.

WAL with synchronous=FULL: a transaction that has returned survives a power cut. What the catalog does not name does
not exist.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexDamagedError, NotAnIndexError
from serotine.index.segment import SegmentRecord

CATALOG_FILE = "catalog.sqlite"
FORMAT_VERSION = 1
# SQLite binds at most 32,766 values in one statement; a round number well below.
_MOST_BOUND = 10_000

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE segments (
    segment INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    checksum TEXT NOT NULL,
    documents INTEGER NOT NULL,
    tokens INTEGER NOT NULL
);
CREATE TABLE documents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    text TEXT,
    metadata TEXT NOT NULL,
    segment INTEGER NOT NULL REFERENCES segments (segment),
    position INTEGER NOT NULL,
    live INTEGER NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX documents_by_live_id ON documents (id) WHERE live;
CREATE UNIQUE INDEX documents_by_place ON documents (segment, position);
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was fixed when the index was created."""

    dim: int
    encoder: str | None
    fingerprint: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One live document as the catalog has it."""

    number: int
    id: str
    text: str | None
    metadata: dict[str, Any]
    segment: int
    position: int


def commit(connection: sqlite3.Connection) -> None:
    """Ends a transaction; when this returns, it is on disk."""
    connection.execute("COMMIT")


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    location = f"file:{_quoted(path)}?mode={'ro' if read_only else 'rw'}"
    if read_only and not os.access(path.parent, os.W_OK):
        # Without leave to write beside the catalog, SQLite cannot keep its shared memory there; nobody can be
        # writing either, so the file may be read as it is.
        location = f"file:{_quoted(path)}?immutable=1"
    # Statements are serialised by the lock of Catalog, so any thread may use the connection.
    connection = sqlite3.connect(location, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA foreign_keys=ON")
    if not read_only:
        connection.execute("PRAGMA synchronous=FULL")
    return connection


def _quoted(path: Path) -> str:
    return path.absolute().as_uri().removeprefix("file://")


def create_catalog(folder: Path, settings: Settings) -> None:
    """Writes a new catalog into `folder` and closes it."""
    connection = sqlite3.connect(folder / CATALOG_FILE, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(f"BEGIN; {_SCHEMA}")
        values = {
            "format_version": str(FORMAT_VERSION),
            "dim": str(settings.dim),
            "encoder": settings.encoder,
            "fingerprint": settings.fingerprint,
        }
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)", [(key, value) for key, value in values.items() if value is not None]
        )
        commit(connection)
    finally:
        connection.close()


class Catalog:
    """An open catalog. Every method may be called from any thread.

    Raises:
        NotAnIndexError: the folder holds no catalog, or one of a format this version does not read.
        IndexDamagedError: the catalog is not a readable database.
    """

    def __init__(self, folder: Path, *, read_only: bool) -> None:
        self._lock = threading.RLock()
        path = folder / CATALOG_FILE
        if not folder.exists():
            raise NotAnIndexError(f"{folder}: no such folder; create an index there first")
        if not path.is_file():
            raise NotAnIndexError(f"{folder}: not a Serotine index (it has no {CATALOG_FILE})")
        try:
            self._connection = _connect(path, read_only=read_only)
            try:
                self.settings = self._read_settings(folder)
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.DatabaseError as error:
            raise IndexDamagedError(f"{path}: cannot be read ({error}); restore it from a backup") from error

    def _read_settings(self, folder: Path) -> Settings:
        has_meta = self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
        meta = dict(self._connection.execute("SELECT key, value FROM meta")) if has_meta else {}
        version = meta.get("format_version")
        if version is None:
            raise NotAnIndexError(f"{folder}: its {CATALOG_FILE} is not a Serotine catalog")
        if version != str(FORMAT_VERSION):
            raise NotAnIndexError(
                f"{folder}: index format {version} is not the {FORMAT_VERSION} this version of Serotine reads; "
                "open it with the version that wrote it, or index again"
            )
        return Settings(int(meta["dim"]), meta.get("encoder"), meta.get("fingerprint"))

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            self._connection.close()

    def version(self) -> int:
        """A number that changes when another connection has committed."""
        with self._lock:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                commit(self._connection)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Several reads of one state."""
        with self._lock:
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.execute("ROLLBACK")

    def segments(self) -> list[tuple[int, SegmentRecord]]:
        """Every segment, oldest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT segment, file, bytes, checksum, documents, tokens FROM segments ORDER BY segment"
            ).fetchall()
        return [(row[0], SegmentRecord(*row[1:])) for row in rows]

    def places(self, segment: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Position, document number and liveness of a segment's documents, in position order."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT position, number, live FROM documents WHERE segment = ? ORDER BY position", (segment,)
            ).fetchall()
        table = np.array(rows, dtype=np.int64).reshape(-1, 3)
        return table[:, 0], np.ascontiguousarray(table[:, 1]), table[:, 2] != 0

    def live_ids(self, ids: Sequence[str]) -> dict[str, int]:
        """The document numbers of those ids that live documents have."""
        found: dict[str, int] = {}
        with self._lock:
            for part in _parts(ids):
                found.update(
                    self._connection.execute(
                        f"SELECT id, number FROM documents WHERE live AND id IN ({_marks(part)})",  # noqa: S608
                        part,
                    )
                )
        return found

    def all_ids(self) -> list[str]:
        """The ids of all live documents, in the order they were added."""
        with self._lock:
            rows = self._connection.execute("SELECT id FROM documents WHERE live ORDER BY number")
            return [row[0] for row in rows]

    def rows(self, numbers: Sequence[int]) -> dict[int, Row]:
        """Documents by number, deleted ones included: a reader's snapshot may be older than their deletion."""
        found: dict[int, Row] = {}
        with self._lock:
            for part in _parts(numbers):
                for row in self._connection.execute(
                    "SELECT number, id, text, metadata, segment, position FROM documents "  # noqa: S608
                    f"WHERE number IN ({_marks(part)})",
                    part,
                ):
                    found[row[0]] = Row(row[0], row[1], row[2], json.loads(row[3]), row[4], row[5])
        return found

    def counts(self) -> tuple[int, int]:
        """Live documents, and deleted ones whose vectors are still stored."""
        with self._lock:
            live, everything = self._connection.execute(
                "SELECT count(*) FILTER (WHERE live), count(*) FROM documents"
            ).fetchone()
        return live, everything - live

    def check(self) -> list[str]:
        """What SQLite itself finds wrong with the database; empty when sound."""
        with self._lock:
            rows = self._connection.execute("PRAGMA integrity_check").fetchall()
        return [row[0] for row in rows if row[0] != "ok"]


def insert_segment(connection: sqlite3.Connection, record: SegmentRecord) -> int:
    """Names a segment; returns its number."""
    cursor = connection.execute(
        "INSERT INTO segments (file, bytes, checksum, documents, tokens) VALUES (?, ?, ?, ?, ?)",
        (record.file, record.bytes, record.checksum, record.documents, record.tokens),
    )
    number = cursor.lastrowid
    if number is None:
        raise IndexDamagedError("the catalog gave a new segment no number")
    return number


def insert_documents(
    connection: sqlite3.Connection, segment: int, documents: Iterable[tuple[str, str | None, str]]
) -> None:
    """Names a segment's documents, (id, text, metadata as JSON), in position order."""
    connection.executemany(
        "INSERT INTO documents (id, text, metadata, segment, position) VALUES (?, ?, ?, ?, ?)",
        ((*document, segment, position) for position, document in enumerate(documents)),
    )


def bury(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Marks documents as deleted."""
    connection.executemany("UPDATE documents SET live = 0 WHERE number = ?", ((number,) for number in numbers))


def _parts(values: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), _MOST_BOUND):
        yield list(values[start : start + _MOST_BOUND])


def _marks(values: Sequence[Any]) -> str:
    # Only question marks reach the SQL; the values are bound.
    return ",".join("?" * len(values))
