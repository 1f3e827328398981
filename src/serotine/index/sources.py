"""Which files documents came from, recorded in the transactions that store and remove those documents.

The table is made when an index first needs it, so that indexes of format 2 that have none stay what they were. A
document that came from no file, or was since replaced by other means, belongs to no source.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from serotine.index.store import catalog as catalogs
from serotine.index.store.catalog import Catalog

_MOST_BOUND = 10_000
_SCHEMA = (
    """CREATE TABLE sources (
        source INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        digest TEXT,
        stamp TEXT NOT NULL,
        reading TEXT NOT NULL
    )""",
    "ALTER TABLE documents ADD COLUMN source INTEGER REFERENCES sources (source) ON DELETE SET NULL",
    "CREATE INDEX documents_by_source ON documents (source) WHERE source IS NOT NULL",
)


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A file as the catalog knows it.

    Attributes:
        name: what tells it from others: its absolute path, or a name of the caller's.
        digest: of its bytes; None while only a part of its documents is in the index.
        stamp: size and times of the file when it was read; "" where they prove nothing.
        reading: how it was made into documents; another way makes others of the same bytes.
    """

    name: str
    digest: str | None
    stamp: str
    reading: str


@dataclass(slots=True)
class SourceUpdate:
    """What one transaction does about one file.

    Attributes:
        record: as it is to be recorded.
        ids: documents to store, in place of those of the same ids.
        texts: theirs.
        metadata: theirs.
        taken: ids of documents that are there as they should be, and become this source's.
        removed: ids of documents of this source that it does not give any more.
    """

    record: SourceRecord
    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Holding:
    """What the catalog has under an id: the name of the source, None where there is none, and the row's checksum."""

    source: str | None
    checksum: bytes

    def same(self, id_: str, text: str, metadata: dict[str, Any]) -> bool:
        """Whether it is this very document."""
        return self.checksum == catalogs.row_checksum(id_, text, json.dumps(metadata, ensure_ascii=False))


class Sources:
    """What the catalog of an index knows of files."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def all(self) -> dict[str, SourceRecord]:
        """Every source, by name."""
        with self._catalog.reading() as connection:
            if not _known(connection):
                return {}
            rows = connection.execute("SELECT name, digest, stamp, reading FROM sources ORDER BY source")
            return {row[0]: SourceRecord(*row) for row in rows}

    def ids(self, name: str) -> list[str]:
        """The ids of the live documents of a source, in the order they were added."""
        with self._catalog.reading() as connection:
            if not _known(connection):
                return []
            rows = connection.execute(
                "SELECT id FROM documents JOIN sources USING (source) WHERE live AND name = ? ORDER BY number", (name,)
            )
            return [row[0] for row in rows]

    def holdings(self, ids: Sequence[str]) -> dict[str, Holding]:
        """Of those of `ids` that the index holds, what it holds."""
        found: dict[str, Holding] = {}
        with self._catalog.reading() as connection:
            name, joined = ("name", "LEFT JOIN sources USING (source)") if _known(connection) else ("NULL", "")
            for start in range(0, len(ids), _MOST_BOUND):
                part = list(ids[start : start + _MOST_BOUND])
                marks = ",".join("?" * len(part))
                rows = connection.execute(
                    f"SELECT id, {name}, checksum FROM documents {joined} WHERE live AND id IN ({marks})",  # noqa: S608
                    part,
                )
                found.update((row[0], Holding(row[1], row[2])) for row in rows)
        return found


def _known(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sources'").fetchone() is not None


def record_sources(connection: sqlite3.Connection, updates: Sequence[SourceUpdate], gone: Sequence[str]) -> None:
    """Records sources, whose documents have just been stored, and forgets those that are `gone`, with theirs."""
    if not _known(connection):
        for statement in _SCHEMA:
            connection.execute(statement)
    for update in updates:
        told = update.record
        connection.execute(
            "INSERT INTO sources (name, digest, stamp, reading) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE "
            "SET digest = excluded.digest, stamp = excluded.stamp, reading = excluded.reading",
            (told.name, told.digest, told.stamp, told.reading),
        )
        source = _number(connection, told.name)
        connection.executemany(
            "UPDATE documents SET source = ? WHERE live AND id = ?",
            ((source, id_) for id_ in [*update.ids, *update.taken]),
        )
    # Only now that every source has taken what is its: what one file gives no more, another may have come to give.
    for update in updates:
        if update.removed:
            _bury(connection, _number(connection, update.record.name), update.removed)
    for name in gone:
        source = _number(connection, name)
        if source is not None:
            _bury(connection, source, None)
            connection.execute("DELETE FROM sources WHERE source = ?", (source,))


def _number(connection: sqlite3.Connection, name: str) -> int | None:
    row = connection.execute("SELECT source FROM sources WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def _bury(connection: sqlite3.Connection, source: int | None, ids: Sequence[str] | None) -> None:
    """Buries documents of a source: those of `ids`, or all."""
    rows = connection.execute("SELECT number, id FROM documents WHERE live AND source = ?", (source,))
    chosen = None if ids is None else set(ids)
    catalogs.bury(connection, [number for number, id_ in rows.fetchall() if chosen is None or id_ in chosen])
