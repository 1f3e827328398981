"""Checksums of the catalog's small tables: segments, codebooks, settings and values, and the last numbers.

A changed bit in the number of a segment's codebook would otherwise give other answers without a word. Every
transaction renews them, in one row of the table `meta`, with its own number: after a commit by a version that does not
renew them they count for nothing. Indexes of earlier versions have none.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from serotine.errors import index_damaged
from serotine.index.store import commits

_KEY = "record_checksums"
# Each row by the value of its first column.
_TABLES = {
    "segment": "SELECT * FROM segments",
    "codebook": "SELECT * FROM codebooks",
    "value": f"SELECT * FROM meta WHERE key NOT IN ('{_KEY}', '{commits.KEY}')",  # noqa: S608
    "last number": "SELECT name, seq FROM sqlite_sequence",
}


def renew(connection: sqlite3.Connection, commit: int) -> None:
    """Store the checksums of the state that the transaction numbered `commit` leaves."""
    content = json.dumps({"commit": commit, "checksums": _checksums(connection)})
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_KEY, content))


def damaged(connection: sqlite3.Connection) -> list[str]:
    """Return the rows that are not what was written, in words: "segment 3", "value 'dim'"."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
    if row is None:
        return []
    try:
        stored = json.loads(row[0])
        commit, checksums = stored["commit"], dict(stored["checksums"])
        if commit != commits.count(connection):
            return []
    except (ValueError, TypeError, KeyError):
        return [f"value {_KEY!r}"]
    current = _checksums(connection)
    return sorted(name for name in checksums.keys() | current.keys() if checksums.get(name) != current.get(name))


def problem(rows: Sequence[str]) -> str:
    """Return in words that the rows that `damaged` returns are damaged."""
    return f"{', '.join(rows)}: not what was written, by their checksums"


def require_intact(connection: sqlite3.Connection, path: Path) -> None:
    """Raise IndexDamagedError where rows of the catalog at `path` are damaged."""
    if rows := damaged(connection):
        raise index_damaged(f"{path}: {problem(rows)}")


def segment_name(number: int) -> str:
    """Return what `damaged` calls a segment."""
    return f"segment {number!r}"


def value_name(key: str) -> str:
    """Return what `damaged` calls a value."""
    return f"value {key!r}"


def _checksums(connection: sqlite3.Connection) -> dict[str, str]:
    return {
        f"{kind} {row[0]!r}": hashlib.blake2b(repr(row).encode(), digest_size=8).hexdigest()
        for kind, rows in _TABLES.items()
        for row in connection.execute(rows)
    }
