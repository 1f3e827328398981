"""The catalog: one SQLite database that is the single source of truth of an index.

WAL with synchronous=FULL: a transaction that has returned survives a power cut. What the catalog does not name does
not exist.
"""

from __future__ import annotations

import hashlib
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

from serotine.errors import IndexDamagedError, NotAnIndexError, SerotineError
from serotine.index.segment import SegmentRecord

CATALOG_FILE = "catalog.sqlite"
FORMAT_VERSION = 1
# SQLite binds at most 32,766 values in one statement; a round number well below.
_MOST_BOUND = 10_000
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE segments (
    segment INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    checksum TEXT NOT NULL,
    documents INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    rows_checksum TEXT NOT NULL
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
CREATE INDEX documents_deleted ON documents (segment, position) WHERE NOT live;
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


def _connect(path: Path, how: str) -> sqlite3.Connection:
    # Statements are serialised by the lock of Catalog, so any thread may use the connection.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None, check_same_thread=False, timeout=30
    )
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _stamp(path: Path) -> tuple[int, int, bool]:
    """Changes when another process has written the catalog, or has begun to."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size, path.with_name(f"{path.name}-wal").exists()


def rows_checksum(documents: Iterable[tuple[str, str | None, str]]) -> str:
    """BLAKE2b-256, in hexadecimal, of a segment's (id, text, metadata as JSON), in position order."""
    digest = hashlib.blake2b(digest_size=32)
    for document in documents:
        digest.update(json.dumps(document, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


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
        self._path = path = folder / CATALOG_FILE
        self._read_only = read_only
        self._closed = False
        self._reconnected = 0
        if not folder.exists():
            raise NotAnIndexError(f"{folder}: no such folder; create an index there first")
        if not path.is_file():
            raise NotAnIndexError(f"{folder}: not a Serotine index (it has no {CATALOG_FILE})")
        with self._telling():
            self._open()
            try:
                self.settings = self._read_settings(folder)
            except BaseException:
                self._connection.close()
                raise

    def _open(self) -> None:
        how = "mode=ro" if self._read_only else "mode=rw"
        stamp = _stamp(self._path)
        # A reader without leave to write beside the catalog cannot keep SQLite's shared memory there. While no
        # writer has made it, the file alone is the whole truth, and is read as it is until its stamp changes.
        alone = self._read_only and not stamp[2] and not os.access(self._path.parent, os.W_OK)
        self._seen = stamp if alone else None
        self._connection = _connect(self._path, "immutable=1" if alone else how)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Makes what SQLite complains of an error of ours."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            # The lower byte of an extended error code is the kind of error.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                raise IndexDamagedError(f"{self._path}: cannot be read ({error}); restore it from a backup") from error
            raise SerotineError(
                f"{self._path}: SQLite cannot go on ({error}); see to the disk and the folder's access, then try again"
            ) from error

    @contextmanager
    def _statements(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time."""
        with self._lock:
            if self._closed:
                raise SerotineError(f"{self._path.parent}: this index is closed; open it again")
            with self._telling():
                yield self._connection

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
            self._closed = True
            self._connection.close()

    def version(self) -> tuple[int, int]:
        """Something that changes when another connection has committed."""
        with self._statements() as connection:
            if self._seen is not None and self._seen != _stamp(self._path):
                connection.close()
                self._open()
                self._reconnected += 1
            return self._reconnected, int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed when the block ends, rolled back when it raises.

        An exception does not tell that nothing was committed: an interrupt may come just after COMMIT has returned,
        and a COMMIT that failed to reach the disk may still be found there after a crash.
        """
        with self._statements() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                commit(connection)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Several reads of one state."""
        with self._statements() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def segments(self) -> list[tuple[int, SegmentRecord]]:
        """Every segment, oldest first."""
        with self._statements() as connection:
            rows = connection.execute(
                "SELECT segment, file, bytes, checksum, documents, tokens FROM segments ORDER BY segment"
            ).fetchall()
        return [(row[0], SegmentRecord(*row[1:])) for row in rows]

    def places(self, segment: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions and document numbers of a segment's documents, in position order; they never change."""
        with self._statements() as connection:
            rows = connection.execute(
                "SELECT position, number FROM documents WHERE segment = ? ORDER BY position", (segment,)
            ).fetchall()
        table = np.array(rows, dtype=np.int64).reshape(-1, 2)
        return table[:, 0], np.ascontiguousarray(table[:, 1])

    def deleted(self) -> dict[int, list[int]]:
        """The positions of deleted documents, by segment; they only ever grow in number."""
        found: dict[int, list[int]] = {}
        with self._statements() as connection:
            for segment, position in connection.execute("SELECT segment, position FROM documents WHERE NOT live"):
                found.setdefault(segment, []).append(position)
        return found

    def live_ids(self, ids: Sequence[str]) -> dict[str, int]:
        """The document numbers of those ids that live documents have."""
        found: dict[str, int] = {}
        with self._statements() as connection:
            for part in _parts(ids):
                found.update(
                    connection.execute(
                        f"SELECT id, number FROM documents WHERE live AND id IN ({_marks(part)})",  # noqa: S608
                        part,
                    )
                )
        return found

    def all_ids(self) -> list[str]:
        """The ids of all live documents, in the order they were added."""
        with self._statements() as connection:
            rows = connection.execute("SELECT id FROM documents WHERE live ORDER BY number")
            return [row[0] for row in rows]

    def rows(self, numbers: Sequence[int]) -> dict[int, Row]:
        """Documents by number, deleted ones included: a reader's snapshot may be older than their deletion."""
        found: dict[int, Row] = {}
        with self._statements() as connection:
            for part in _parts(numbers):
                for row in connection.execute(
                    "SELECT number, id, text, metadata, segment, position FROM documents "  # noqa: S608
                    f"WHERE number IN ({_marks(part)})",
                    part,
                ):
                    found[row[0]] = Row(row[0], row[1], row[2], json.loads(row[3]), row[4], row[5])
        return found

    def counts(self) -> tuple[int, int]:
        """Live documents, and deleted ones whose vectors are still stored."""
        with self._statements() as connection:
            live, everything = connection.execute(
                "SELECT count(*) FILTER (WHERE live), count(*) FROM documents"
            ).fetchone()
        return live, everything - live

    def check(self) -> list[str]:
        """What is wrong with the database: its structure, its references, the rows of every segment."""
        with self._statements() as connection:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            if problems:
                return problems
            orphans = len(connection.execute("PRAGMA foreign_key_check").fetchall())
            wanted = connection.execute("SELECT segment, file, rows_checksum FROM segments").fetchall()
        if orphans:
            problems.append(f"{orphans:,} of its documents belong to no segment")
        problems += [
            f"the texts, ids or metadata of {file} do not match their checksum"
            for segment, file, checksum in wanted
            if rows_checksum(self._stored(segment)) != checksum
        ]
        return problems

    def _stored(self, segment: int) -> Iterator[tuple[str, str | None, str]]:
        # In short reads, so that searches get their turn.
        start = 0
        while True:
            with self._statements() as connection:
                rows = connection.execute(
                    "SELECT id, text, metadata FROM documents WHERE segment = ? AND position >= ? AND position < ? "
                    "ORDER BY position",
                    (segment, start, start + _MOST_BOUND),
                ).fetchall()
            if not rows:
                return
            yield from rows
            start += _MOST_BOUND


def insert_segment(
    connection: sqlite3.Connection, record: SegmentRecord, documents: Sequence[tuple[str, str | None, str]]
) -> None:
    """Names a segment and its documents, (id, text, metadata as JSON), in position order."""
    segment = connection.execute(
        "INSERT INTO segments (file, bytes, checksum, documents, tokens, rows_checksum) VALUES (?, ?, ?, ?, ?, ?)",
        (record.file, record.bytes, record.checksum, record.documents, record.tokens, rows_checksum(documents)),
    ).lastrowid
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
