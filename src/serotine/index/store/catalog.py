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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexDamagedError, NotAnIndexError, SerotineError
from serotine.index.files.arrays import FileRecord
from serotine.index.files.codebook import CodebookRecord
from serotine.index.files.segment import SegmentRecord
from serotine.index.store import filters, lexical

CATALOG_FILE = "catalog.sqlite"
FORMAT_VERSION = 2
# SQLite binds at most 32,766 values in one statement; a round number well below.
_MOST_BOUND = 10_000
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

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
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was fixed when the index was created.

    Attributes:
        dim: dimension of a token vector.
        encoder: name of the encoder, or None for an index of vectors.
        fingerprint: of that encoder.
        encoder_options: what it was loaded with beside its name.
        nbits: bits a dimension of the residual codes: 2, 4 or 8.
        keep_vectors: whether float16 vectors stay beside the codes.
        filterable: type names of the metadata fields that filters find through an index.
        centroids: how many a codebook gets, or None for what the collection's size suggests.
    """

    dim: int
    encoder: str | None = None
    fingerprint: str | None = None
    encoder_options: dict[str, Any] = field(default_factory=dict)
    nbits: int = 4
    keep_vectors: bool = True
    filterable: dict[str, str] = field(default_factory=dict)
    centroids: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One live document as the catalog has it."""

    number: int
    id: str
    text: str | None
    metadata: dict[str, Any]


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


def row_checksum(id_: str, text: str | None, metadata: str) -> bytes:
    """BLAKE2b-64 of a document's id, text and metadata as JSON."""
    return hashlib.blake2b(json.dumps((id_, text, metadata), ensure_ascii=False).encode(), digest_size=8).digest()


def create_catalog(folder: Path, settings: Settings) -> None:
    """Writes a new catalog into `folder` and closes it."""
    connection = sqlite3.connect(folder / CATALOG_FILE, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(f"BEGIN; {_SCHEMA}")
        for statement in filters.index_statements(settings.filterable):
            connection.execute(statement)
        values = {"format_version": FORMAT_VERSION, **asdict(settings)}
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)", [(key, json.dumps(value)) for key, value in values.items()]
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
        # A setting that came with a later version has its default.
        return Settings(**{each.name: json.loads(meta[each.name]) for each in fields(Settings) if each.name in meta})

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
        """Every segment, in the order of the documents they hold."""
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
        """Every codebook, by number."""
        with self._statements() as connection:
            rows = connection.execute("SELECT codebook, file, bytes, checksum, centroids, tokens FROM codebooks")
            return {row[0]: CodebookRecord(FileRecord(*row[1:4]), row[4], row[5]) for row in rows}

    def files(self) -> list[FileRecord]:
        """Every file the catalog names."""
        with self.reading():
            return [
                *(file for _, record in self.segments() for file in record.files),
                *(record.file for record in self.codebooks().values()),
            ]

    def value(self, key: str) -> Any:
        """A setting that may change, or None."""
        with self._statements() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def next_number(self) -> int:
        """The number the next document gets; only for who holds the writer's lock."""
        with self._statements() as connection:
            row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'documents'").fetchone()
        return 1 if row is None else int(row[0]) + 1

    def deleted(self) -> NDArray[np.int64]:
        """The numbers of deleted documents whose vectors are still stored, rising."""
        with self._statements() as connection:
            rows = connection.execute("SELECT number FROM documents WHERE NOT live ORDER BY number")
            return np.fromiter((row[0] for row in rows), dtype=np.int64)

    def matching(self, where: Mapping[str, Any]) -> NDArray[np.int64]:
        """The numbers of live documents that a filter lets through, rising.

        Raises:
            ValueError, TypeError: what is wrong with the filter.
        """
        condition, values = filters.compile_where(where, self.settings.filterable)
        with self._statements() as connection:
            rows = connection.execute(f"SELECT number FROM documents WHERE live AND ({condition})", values)  # noqa: S608
            return np.sort(np.fromiter((row[0] for row in rows), dtype=np.int64))

    def lexical(self, query: str, k: int, where: Mapping[str, Any] | None) -> list[tuple[int, float]]:
        """The k best documents by BM25, as (number, score)."""
        condition = None if where is None else filters.compile_where(where, self.settings.filterable)
        with self._statements() as connection:
            return lexical.search(connection, query, k, condition)

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
        """Documents by number, deleted ones included while their vectors are stored; others are left out."""
        found: dict[int, Row] = {}
        with self._statements() as connection:
            for part in _parts(numbers):
                for row in connection.execute(
                    f"SELECT number, id, text, metadata FROM documents WHERE number IN ({_marks(part)})",  # noqa: S608
                    part,
                ):
                    found[row[0]] = Row(row[0], row[1], row[2], json.loads(row[3]))
        return found

    def counts(self) -> tuple[int, int]:
        """Live documents, and deleted ones whose vectors are still stored."""
        with self._statements() as connection:
            live, everything = connection.execute(
                "SELECT count(*) FILTER (WHERE live), count(*) FROM documents"
            ).fetchone()
        return live, everything - live

    def check(self) -> list[str]:
        """What is wrong with the database: its structure, its references, the rows of every document."""
        with self._statements() as connection:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            if problems:
                return problems
            orphans = len(connection.execute("PRAGMA foreign_key_check").fetchall())
        if orphans:
            problems.append(f"{orphans:,} of its rows refer to a codebook or a source that is not there")
        damaged = [number for number, sound in self._soundness() if not sound]
        if damaged:
            problems.append(
                f"the texts, ids or metadata of {len(damaged):,} documents (the first is number {damaged[0]}) "
                "do not match their checksums"
            )
        return problems

    def _soundness(self) -> Iterator[tuple[int, bool]]:
        # In short reads, so that searches get their turn.
        last = -1
        while True:
            with self._statements() as connection:
                rows = connection.execute(
                    "SELECT number, id, text, metadata, checksum FROM documents WHERE number > ? "
                    "ORDER BY number LIMIT ?",
                    (last, _MOST_BOUND),
                ).fetchall()
            if not rows:
                return
            for row in rows:
                yield row[0], row_checksum(*row[1:4]) == row[4]
            last = rows[-1][0]

    def numbers(self) -> NDArray[np.int64]:
        """The number of every document, deleted ones included, rising."""
        with self._statements() as connection:
            rows = connection.execute("SELECT number FROM documents ORDER BY number")
            return np.fromiter((row[0] for row in rows), dtype=np.int64)


def set_value(connection: sqlite3.Connection, key: str, value: Any) -> None:
    """Changes a setting."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))


def insert_codebook(connection: sqlite3.Connection, record: CodebookRecord) -> int:
    """Names a codebook; returns its number."""
    row = (record.file.name, record.file.bytes, record.file.checksum, record.centroids, record.tokens)
    number = connection.execute(
        "INSERT INTO codebooks (file, bytes, checksum, centroids, tokens) VALUES (?, ?, ?, ?, ?)", row
    ).lastrowid
    if number is None:
        raise SerotineError("the catalog gave no number to a codebook")
    return number


def insert_segment(connection: sqlite3.Connection, record: SegmentRecord) -> None:
    """Names a segment."""
    files = [(file.name, file.bytes, file.checksum) if file else (None,) * 3 for file in (record.vectors, record.codes)]
    connection.execute(
        "INSERT INTO segments (documents, tokens, codebook, vectors_file, vectors_bytes, vectors_checksum, "
        "codes_file, codes_bytes, codes_checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (record.documents, record.tokens, record.codebook, *files[0], *files[1]),
    )


def remove_segments(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Forgets segments, and codebooks that no segment refers to any more."""
    connection.executemany("DELETE FROM segments WHERE segment = ?", ((number,) for number in numbers))


def remove_unused_codebooks(connection: sqlite3.Connection) -> None:
    """Forgets codebooks that no segment refers to and that are not the newest: that one is for what comes."""
    connection.execute(
        "DELETE FROM codebooks WHERE codebook NOT IN (SELECT codebook FROM segments WHERE codebook IS NOT NULL) "
        "AND codebook < (SELECT max(codebook) FROM codebooks)"
    )


def insert_documents(
    connection: sqlite3.Connection, first_number: int, documents: Sequence[tuple[str, str | None, str]]
) -> None:
    """Adds documents, (id, text, metadata as JSON), numbered from `first_number`."""
    connection.executemany(
        "INSERT INTO documents (number, id, text, metadata, checksum) VALUES (?, ?, ?, ?, ?)",
        ((first_number + i, *document, row_checksum(*document)) for i, document in enumerate(documents)),
    )
    lexical.add(connection, ((first_number + i, text) for i, (_, text, _) in enumerate(documents) if text))


def bury(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Marks documents as deleted."""
    _forget_words(connection, numbers)
    connection.executemany("UPDATE documents SET live = 0 WHERE number = ?", ((number,) for number in numbers))


def purge(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Removes deleted documents whose vectors are stored no more."""
    connection.executemany("DELETE FROM documents WHERE number = ? AND NOT live", ((number,) for number in numbers))


def _forget_words(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    for part in _parts(numbers):
        texts = connection.execute(
            f"SELECT number, text FROM documents WHERE live AND text <> '' AND number IN ({_marks(part)})",  # noqa: S608
            part,
        ).fetchall()
        lexical.remove(connection, texts)


def _file_record(values: Sequence[Any]) -> FileRecord | None:
    return None if values[0] is None else FileRecord(*values)


def _parts(values: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), _MOST_BOUND):
        yield list(values[start : start + _MOST_BOUND])


def _marks(values: Sequence[Any]) -> str:
    # Only question marks reach the SQL; the values are bound.
    return ",".join("?" * len(values))
