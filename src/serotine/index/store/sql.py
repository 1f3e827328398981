"""Shared pieces of the catalog's SQL: batches of bound values, and the checksum of a document's row."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from serotine.errors import index_damaged, shown

# SQLite binds at most 32,766 values in one statement; a round number well below.
MAX_BOUND = 10_000
# Far above the documents of any index: adding to a number below it cannot overflow.
_MAX_NUMBER = 1 << 62


def batches(values: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield `values` in lists short enough to bind in one statement."""
    for start in range(0, len(values), MAX_BOUND):
        yield list(values[start : start + MAX_BOUND])


def placeholders(values: Sequence[Any]) -> str:
    """Return one placeholder per value: only question marks reach the SQL, the values are bound."""
    return ",".join("?" * len(values))


def commit(connection: sqlite3.Connection) -> None:
    """Commit a transaction; when this returns, it is on disk."""
    connection.execute("COMMIT")


def next_number(connection: sqlite3.Connection) -> int:
    """Return the number of the next document: numbers are never used again.

    Raises:
        IndexDamagedError: the last number is no such number.
    """
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'documents'").fetchone()
    if row is not None and (not isinstance(row[0], int) or not 0 <= row[0] < _MAX_NUMBER):
        raise index_damaged(f"the last number of a document in the catalog is not valid, got {shown(row[0])}")
    return 1 if row is None else int(row[0]) + 1


def row_checksum(id_: str, text: str | None, metadata: str) -> bytes:
    """Return the BLAKE2b-64 of a document's id, text and metadata as JSON."""
    return hashlib.blake2b(json.dumps((id_, text, metadata), ensure_ascii=False).encode(), digest_size=8).digest()


def has_row_types(id_: object, text: object, metadata: object) -> bool:
    """Return whether values have the types of a document's row: one changed bit makes a blob of a text."""
    return isinstance(id_, str) and isinstance(text, str | None) and isinstance(metadata, str)


def is_row_intact(id_: Any, text: Any, metadata: Any, checksum: object) -> bool:
    """Return whether a document's row is what was written."""
    return has_row_types(id_, text, metadata) and row_checksum(id_, text, metadata) == checksum
