"""The documents of files that somebody deleted, so that updates from these files do not bring them back.

A row lasts as long as its file has the text: every update of the file replaces its rows. The table is created when an
index first needs it, so that indexes of format 2 without one stay as they are.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serotine.index.store.passages import is_passage
from serotine.index.store.sql import batches, placeholders

_SCHEMA = (
    """CREATE TABLE deleted (
        source INTEGER NOT NULL REFERENCES sources (source) ON DELETE CASCADE,
        id TEXT NOT NULL,
        record TEXT NOT NULL,
        checksum BLOB NOT NULL,
        PRIMARY KEY (id, source)
    ) WITHOUT ROWID""",
    "CREATE INDEX deleted_by_source ON deleted (source)",
)


@dataclass(frozen=True, slots=True)
class DeletedDocument:
    """A document of a file that was deleted from the index.

    Attributes:
        id: its id in the version of the file that the index has.
        record: the id of its record; "" where file and position are the id, which another version of the file changes.
        checksum: of its text.
    """

    id: str
    record: str
    checksum: bytes

    @classmethod
    def of(cls, id_: str, text: str, metadata: Mapping[str, Any]) -> DeletedDocument:
        """Return a document with its contents as what remains of it when it is deleted."""
        document, source = metadata.get("document"), metadata.get("source")
        record = str(document) if is_passage(id_, document) else id_
        by_file = isinstance(source, str) and (record == source or record.startswith((f"{source}#", f"{source}:")))
        checksum = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
        return cls(id_, "" if by_file else record, checksum)


def add(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Add the live documents among `numbers` that were read from files; requires the table of sources."""
    for batch in batches(numbers):
        # Metadata that are damaged must not prevent a deletion.
        rows = connection.execute(
            "SELECT source, id, text, json_extract(value, '$.document'), json_extract(value, '$.source') FROM "  # noqa: S608
            "(SELECT *, iif(json_valid(metadata), metadata, '{}') AS value FROM documents) "
            f"WHERE live AND source IS NOT NULL AND text IS NOT NULL AND number IN ({placeholders(batch)})",
            batch,
        ).fetchall()
        for source, id_, text, document, origin in rows:
            deleted = DeletedDocument.of(id_, text, {"document": document, "source": origin})
            _insert(connection, source, [deleted])


def replace(connection: sqlite3.Connection, source: int, documents: Sequence[DeletedDocument]) -> None:
    """Replace the deleted documents of a source."""
    if _exists(connection):
        connection.execute("DELETE FROM deleted WHERE source = ?", (source,))
    _insert(connection, source, documents)


def remove(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Remove documents that are in the index again."""
    if _exists(connection):
        connection.executemany("DELETE FROM deleted WHERE id = ?", ((id_,) for id_ in ids))


def of_source(connection: sqlite3.Connection, name: str) -> list[DeletedDocument]:
    """Return the deleted documents of a source."""
    if not _exists(connection):
        return []
    rows = connection.execute(
        "SELECT id, record, checksum FROM deleted JOIN sources USING (source) WHERE name = ? ORDER BY id", (name,)
    )
    return [DeletedDocument(*row) for row in rows]


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of deleted documents of every source that has any, by its name."""
    if not _exists(connection):
        return {}
    rows = connection.execute("SELECT name, count(*) FROM deleted JOIN sources USING (source) GROUP BY name")
    return dict(rows.fetchall())


def _insert(connection: sqlite3.Connection, source: int, documents: Sequence[DeletedDocument]) -> None:
    if not documents:
        return
    if not _exists(connection):
        for statement in _SCHEMA:
            connection.execute(statement)
    connection.executemany(
        "INSERT OR REPLACE INTO deleted (source, id, record, checksum) VALUES (?, ?, ?, ?)",
        ((source, document.id, document.record, document.checksum) for document in documents),
    )


def _exists(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'deleted'").fetchone() is not None
