"""The texts that are longer than the encoder reads, or outside its vocabulary: a row for each such document.

The table is created when an index first needs it, so that indexes of format 2 without one stay as they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from serotine.index.store.sql import batches, placeholders

_SCHEMA = """CREATE TABLE coverage (
    number INTEGER PRIMARY KEY REFERENCES documents (number) ON DELETE CASCADE,
    tokens INTEGER NOT NULL,
    truncated INTEGER NOT NULL,
    unknown INTEGER NOT NULL,
    script TEXT NOT NULL
)"""


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """What the encoder lacks of one document.

    Attributes:
        position: of the document in its batch.
        tokens: number of its tokens.
        truncated: whether the encoder reads only a part of them.
        unknown: whether more than 20% of it is outside the encoder's vocabulary.
        script: the main script of what is; "" where nothing is.
    """

    position: int
    tokens: int
    truncated: bool
    unknown: bool
    script: str


@dataclass(frozen=True, slots=True)
class CoverageCounts:
    """Numbers of live documents that are truncated, and that are unknown, the latter by their main script."""

    truncated: int = 0
    unknown: int = 0
    scripts: dict[str, int] = field(default_factory=dict)


def record(connection: sqlite3.Connection, first_number: int, rows: Sequence[CoverageRow]) -> None:
    """Record documents of a batch whose first document has the number `first_number`."""
    if not rows:
        return
    if not _exists(connection):
        connection.execute(_SCHEMA)
    connection.executemany(
        "INSERT INTO coverage VALUES (?, ?, ?, ?, ?)",
        ((first_number + row.position, row.tokens, row.truncated, row.unknown, row.script) for row in rows),
    )


def counts(connection: sqlite3.Connection) -> CoverageCounts:
    """Return the counts over the live documents; an index that has recorded none has only zeros."""
    if not _exists(connection):
        return CoverageCounts()
    rows = connection.execute(
        "SELECT script, sum(truncated), sum(unknown) FROM coverage JOIN documents USING (number) WHERE live "
        "GROUP BY script ORDER BY sum(unknown) DESC, script"
    ).fetchall()
    scripts = {script: unknown for script, _, unknown in rows if unknown and script}
    return CoverageCounts(sum(row[1] for row in rows), sum(row[2] for row in rows), scripts)


def unknown_scripts(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, str]:
    """Return the main script of every live document among `ids` that is more than 20% outside the vocabulary."""
    scripts: dict[str, str] = {}
    if _exists(connection):
        for batch in batches(ids):
            scripts.update(
                connection.execute(
                    "SELECT id, script FROM coverage JOIN documents USING (number) "  # noqa: S608
                    f"WHERE live AND unknown AND id IN ({placeholders(batch)})",
                    batch,
                )
            )
    return scripts


def _exists(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'coverage'").fetchone() is not None
