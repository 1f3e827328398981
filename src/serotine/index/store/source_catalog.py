"""The files that documents were read from, recorded in the transactions that insert and delete those documents.

The table is created when an index first needs it, so that indexes of format 2 without one stay as they are. A document
added otherwise, or replaced since by other means, has no source.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serotine.cutting import PassageContext
from serotine.index.store import deleted_table, passages, staging
from serotine.index.store.deleted_table import DeletedDocument
from serotine.index.store.settings import decoded, decoded_metadata
from serotine.index.store.sql import batches, placeholders, row_checksum

_SCHEMA = (
    """CREATE TABLE sources (
        source INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        digest TEXT,
        stamp TEXT NOT NULL,
        reading TEXT NOT NULL,
        report TEXT NOT NULL DEFAULT ''
    )""",
    "ALTER TABLE documents ADD COLUMN source INTEGER REFERENCES sources (source) ON DELETE SET NULL",
    "CREATE INDEX documents_by_source ON documents (source) WHERE source IS NOT NULL",
)
# The key of `Sources.splitting` among the values of the catalog.
SPLITTING = "splitting"
# Columns that indexes of earlier versions do not have, with their definitions and what they stand for there.
_LATER_COLUMNS = {"report": ("TEXT NOT NULL DEFAULT ''", "''")}


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """The catalog's record of a file.

    Attributes:
        name: unique name: its absolute path, or a name of the caller's.
        digest: digest of its bytes; None while only some of its documents are in the index.
        stamp: size and times of the file when it was read; "" where they prove nothing.
        splitting: how the file was split into documents; another way gives other documents from the same bytes.
        report: JSON about what was not stored of the file, for updates that do not read it again; "" for nothing.
        context: what the vectors of its documents depend on beside their texts, such as its other bytes; not stored.
    """

    name: str
    digest: str | None
    stamp: str
    splitting: str
    report: str = ""
    context: str = ""

    @property
    def staging_name(self) -> str:
        """The name that documents are staged under: split in another way or in another context, they differ."""
        return f"{self.name}\n{self.splitting}\n{self.context}".rstrip("\n")


@dataclass(slots=True)
class SourceUpdate:
    """The changes of one transaction to the documents of one file.

    Attributes:
        record: the record to store.
        ids: documents to insert, replacing those of the same ids.
        texts: their texts.
        metadata: their metadata.
        contexts: what their texts are encoded in, None for one that is encoded alone; empty where all are.
        claimed: ids of unchanged documents of the index that become this source's.
        removed: ids of documents of this source that the file no longer contains.
        displaced: ids of documents from elsewhere that these replace under other ids.
        changed_metadata: new metadata of documents of the index whose texts stay, by id.
        staged: ids of staged documents of this file to insert, replacing those of the same ids.
        same_texts: ids of documents of the index that have the same text, by those of documents to insert, which get
            their vectors.
        deleted: documents of this version of the file that were deleted from the index and stay so; None: as recorded.
    """

    record: SourceRecord
    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    contexts: list[PassageContext | None] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    displaced: list[str] = field(default_factory=list)
    changed_metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    staged: list[str] = field(default_factory=list)
    same_texts: dict[str, str] = field(default_factory=dict)
    deleted: list[DeletedDocument] | None = None


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A document's entry in the catalog, without its text.

    Attributes:
        source: name of its source, or None.
        checksum: checksum of its row.
    """

    source: str | None
    checksum: bytes

    def matches(self, id_: str, text: str, metadata: dict[str, Any]) -> bool:
        """Return whether the stored document equals this one."""
        return self.checksum == row_checksum(id_, text, json.dumps(metadata, ensure_ascii=False))


class Sources:
    """The files recorded in the catalog of an index."""

    def __init__(self, reading: Callable[[], AbstractContextManager[sqlite3.Connection]], path: Path) -> None:
        self._reading = reading
        self._path = path

    def all(self) -> dict[str, SourceRecord]:
        """Return every source by name."""
        with self._reading() as connection:
            if not _has_sources(connection):
                return {}
            columns = _columns(connection)
            later = ", ".join(name if name in columns else value for name, (_, value) in _LATER_COLUMNS.items())
            rows = connection.execute(f"SELECT name, digest, stamp, reading, {later} FROM sources ORDER BY source")  # noqa: S608
            return {row[0]: SourceRecord(*row) for row in rows}

    def splitting(self) -> str | None:
        """Return how new files are split: as the last update with options of cutting said; None before any."""
        with self._reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (SPLITTING,)).fetchone()
        value = None if row is None else decoded(row[0], self._path, f"the value of {SPLITTING!r}")
        return value if isinstance(value, str) else None

    def ids(self, name: str) -> list[str]:
        """Return the ids of a source's live documents, in the order they were added."""
        with self._reading() as connection:
            if not _has_sources(connection):
                return []
            rows = connection.execute(
                "SELECT id FROM documents JOIN sources USING (source) WHERE live AND name = ? ORDER BY number", (name,)
            )
            return [row[0] for row in rows]

    def deleted(self, name: str) -> list[DeletedDocument]:
        """Return the documents of a source that were deleted from the index on request."""
        with self._reading() as connection:
            return deleted_table.of_source(connection, name)

    def deleted_counts(self) -> dict[str, int]:
        """Return the numbers of documents that were deleted on request, by the name of their source."""
        with self._reading() as connection:
            return deleted_table.counts(connection)

    def contents(self, ids: Sequence[str]) -> dict[str, tuple[str | None, dict[str, Any]]]:
        """Return text and metadata of those `ids` that are in the index."""
        contents: dict[str, tuple[str | None, dict[str, Any]]] = {}
        with self._reading() as connection:
            for batch in batches(ids):
                condition = f"live AND id IN ({placeholders(batch)})"
                rows = connection.execute(f"SELECT id, text, metadata FROM documents WHERE {condition}", batch)  # noqa: S608
                for id_, text, metadata in rows:
                    contents[id_] = (text, decoded_metadata(metadata, self._path, id_))
        return contents

    def passages(self, documents: Sequence[str]) -> dict[str, list[str]]:
        """Return the ids of the live passages of those `documents` that are stored as passages."""
        with self._reading() as connection:
            return {document: list(ids) for document, ids in passages.numbers(connection, documents).items()}

    def staged(self, record: SourceRecord) -> dict[str, CatalogEntry]:
        """Return the catalog's entries of a file's staged documents by id."""
        with self._reading() as connection:
            checksums = staging.checksums(connection, record.staging_name)
            return {id_: CatalogEntry(record.name, checksum) for id_, checksum in checksums.items()}

    def has_staged(self) -> bool:
        """Return whether any file has staged documents."""
        with self._reading() as connection:
            return staging.exists(connection)

    def entries(self, ids: Sequence[str]) -> dict[str, CatalogEntry]:
        """Return the catalog's entries of those `ids` that are in the index."""
        entries: dict[str, CatalogEntry] = {}
        with self._reading() as connection:
            joined = _has_sources(connection)
            name, join = ("name", "LEFT JOIN sources USING (source)") if joined else ("NULL", "")
            for batch in batches(ids):
                rows = connection.execute(
                    f"SELECT id, {name}, checksum FROM documents {join} "  # noqa: S608
                    f"WHERE live AND id IN ({placeholders(batch)})",
                    batch,
                )
                entries.update((row[0], CatalogEntry(row[1], row[2])) for row in rows)
        return entries


def ensure_schema(connection: sqlite3.Connection) -> None:
    """Create the table of sources and its columns, unless they exist."""
    if not _has_sources(connection):
        for statement in _SCHEMA:
            connection.execute(statement)
        return
    columns = _columns(connection)
    for name, (definition, _) in _LATER_COLUMNS.items():
        if name not in columns:
            connection.execute(f"ALTER TABLE sources ADD COLUMN {name} {definition}")


def record(connection: sqlite3.Connection, update: SourceUpdate) -> None:
    """Store a source's record and link its documents to it."""
    source = update.record
    connection.execute(
        "INSERT INTO sources (name, digest, stamp, reading, report) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, stamp = excluded.stamp, "
        "reading = excluded.reading, report = excluded.report",
        (source.name, source.digest, source.stamp, source.splitting, source.report),
    )
    number = number_of(connection, source.name)
    connection.executemany(
        "UPDATE documents SET source = ? WHERE live AND id = ?",
        ((number, id_) for id_ in [*update.ids, *update.staged, *update.claimed]),
    )
    if update.deleted is not None and number is not None:
        deleted_table.replace(connection, number, update.deleted)


def record_deleted(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Record documents that are deleted on request at the sources they were read from."""
    if _has_sources(connection):
        deleted_table.add(connection, numbers)


def remove(connection: sqlite3.Connection, number: int) -> None:
    """Remove a source; its documents lose the link to it."""
    connection.execute("DELETE FROM sources WHERE source = ?", (number,))


def number_of(connection: sqlite3.Connection, name: str) -> int | None:
    """Return the number of a source, or None where there is none of that name."""
    row = connection.execute("SELECT source FROM sources WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def live_numbers(connection: sqlite3.Connection, source: int | None, ids: set[str] | None) -> list[int]:
    """Return the document numbers of a source's live documents: those of `ids`, or all."""
    rows = connection.execute("SELECT number, id FROM documents WHERE live AND source = ?", (source,))
    return [number for number, id_ in rows.fetchall() if ids is None or id_ in ids]


def _has_sources(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sources'").fetchone() is not None


def _columns(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM pragma_table_info('sources')")}
