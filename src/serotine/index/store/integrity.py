"""The integrity of the catalog: its structure, its references, and the checksum of every document's row."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from serotine.index.store import calibration_table, lexical, record_checksums
from serotine.index.store.sql import MAX_BOUND, is_row_intact
from serotine.index.store.sqlite_errors import structure_problem

Connections = Callable[[], AbstractContextManager[sqlite3.Connection]]


def problems(statements: Connections, one_state: Connections) -> list[str]:
    """Return the problems of a database.

    Args:
        statements: gives access to it for a short time.
        one_state: gives a connection of its own.
    """
    with statements() as connection:
        structure = structure_problem(connection)
        if structure is not None:
            return [structure]
        orphans = len(connection.execute("PRAGMA foreign_key_check").fetchall())
        problems = calibration_table.problems(connection)
        records = record_checksums.damaged(connection)
    if orphans:
        problems.append(f"{orphans:,} rows refer to a codebook or a source that does not exist")
    if records:
        problems.append(record_checksums.problem(records))
    damaged = [number for number, intact in _checked_rows(statements) if not intact]
    if damaged:
        problems.append(
            f"the texts, ids or metadata of {len(damaged):,} documents (the first is number {damaged[0]}) "
            "do not match their checksums"
        )
    with one_state() as connection:
        problems += lexical.problems(connection)
    return problems


def _checked_rows(statements: Connections) -> Iterator[tuple[int, bool]]:
    # In short reads, so that searches can run in between.
    last = -1
    while True:
        with statements() as connection:
            rows = connection.execute(
                "SELECT number, id, text, metadata, checksum FROM documents WHERE number > ? ORDER BY number LIMIT ?",
                (last, MAX_BOUND),
            ).fetchall()
        if not rows:
            return
        for row in rows:
            yield row[0], is_row_intact(*row[1:5])
        last = rows[-1][0]
