"""Staged documents: stored ahead of the update of their file, and returned by no search until that activates them.

They are rows that are not live, so that whoever does not know this table takes them for tombstones. The table is
created when an index first needs it, so that indexes of format 2 without one stay as they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from serotine.index.store import deleted_table, lexical

_SCHEMA = (
    """CREATE TABLE staged (
        source TEXT NOT NULL,
        id TEXT NOT NULL,
        number INTEGER NOT NULL UNIQUE REFERENCES documents (number) ON DELETE CASCADE,
        PRIMARY KEY (source, id)
    ) WITHOUT ROWID""",
)


def exists(connection: sqlite3.Connection) -> bool:
    """Return whether an index has staged documents."""
    return _has_table(connection) and connection.execute("SELECT 1 FROM staged LIMIT 1").fetchone() is not None


def checksums(connection: sqlite3.Connection, source: str) -> dict[str, bytes]:
    """Return the checksums of a file's staged documents by id."""
    if not _has_table(connection):
        return {}
    rows = connection.execute(
        "SELECT staged.id, checksum FROM staged JOIN documents USING (number) WHERE staged.source = ?", (source,)
    )
    return dict(rows.fetchall())


def stage(connection: sqlite3.Connection, source: str, first_number: int, ids: Sequence[str]) -> None:
    """Stage documents that were just inserted, numbered from `first_number`, in the place of others of their ids."""
    if not _has_table(connection):
        for statement in _SCHEMA:
            connection.execute(statement)
    numbers = range(first_number, first_number + len(ids))
    connection.executemany(
        "INSERT OR REPLACE INTO staged (source, id, number) VALUES (?, ?, ?)",
        ((source, id_, number) for id_, number in zip(ids, numbers, strict=True)),
    )


def activate(connection: sqlite3.Connection, source: str, ids: Sequence[str]) -> None:
    """Turn staged documents of a file into live ones; those of the same ids must be tombstones already."""
    for id_ in ids:
        row = connection.execute(
            "SELECT number, text FROM staged JOIN documents USING (number) WHERE staged.source = ? AND staged.id = ?",
            (source, id_),
        ).fetchone()
        number, text = row
        connection.execute("UPDATE documents SET live = 1 WHERE number = ?", (number,))
        if text:
            lexical.add(connection, [(number, text)])
    if ids:
        deleted_table.remove(connection, ids)
        connection.execute("DELETE FROM staged WHERE source = ?", (source,))


def discard(connection: sqlite3.Connection) -> None:
    """Leave all staged documents as tombstones."""
    if _has_table(connection):
        connection.execute("DELETE FROM staged")


def _has_table(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'staged'").fetchone() is not None
