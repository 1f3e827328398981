"""Live documents of the catalog in pages, in the order they were added."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.index.store.sql import placeholders


def matching_numbers(connection: sqlite3.Connection, condition: str, values: list[Any]) -> NDArray[np.int64]:
    """Return the document numbers of live documents that meet a compiled condition, ascending."""
    rows = connection.execute(f"SELECT number FROM documents WHERE live AND ({condition})", values)  # noqa: S608
    return np.sort(np.fromiter((row[0] for row in rows), dtype=np.int64))


def any_live(connection: sqlite3.Connection, condition: str) -> bool:
    """Return whether any live document meets a condition."""
    rows = connection.execute(f"SELECT EXISTS (SELECT 1 FROM documents WHERE live AND {condition})")  # noqa: S608
    return bool(rows.fetchone()[0])


def field_names(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the metadata of the first thousand live documents."""
    first = "SELECT metadata FROM documents WHERE live LIMIT 1000"
    rows = connection.execute(f"SELECT DISTINCT key FROM ({first}) AS first, json_each(first.metadata)")  # noqa: S608
    return [row[0] for row in rows]


def live_pages(
    connection: sqlite3.Connection, columns: str, condition: tuple[str, list[Any]] | None, size: int
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield rows of live documents, at most `size` at a time.

    Args:
        connection: in a read transaction, so that all pages are of one committed state.
        columns: the columns of every row, `number` first.
        condition: a compiled filter and its values, or None for all documents.
        size: rows of a page, at most `MAX_BOUND`.
    """
    if condition is None:
        last = -1
        while rows := _rows(connection, columns, f"number > ? ORDER BY number LIMIT {size}", [last]):
            yield rows
            last = rows[-1][0]
        return
    # The filter runs once; paging through it would run it for every page, or sort all texts.
    numbers = matching_numbers(connection, *condition)
    for start in range(0, numbers.size, size):
        page = numbers[start : start + size].tolist()
        yield _rows(connection, columns, f"number IN ({placeholders(page)}) ORDER BY number", page)


def _rows(connection: sqlite3.Connection, columns: str, condition: str, values: list[Any]) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT {columns} FROM documents WHERE live AND {condition}", values).fetchall()  # noqa: S608
