"""The schema of a catalog: what SQLite would run of it, or of modules other than FTS5, is refused before a row is read.

A trigger, a view or a computed column is a program in the database: a view in place of a table may never end, and a
trigger may change what a transaction writes. No index has one. SQLite's own switch, trusted_schema, is of no use here:
where it is off, SQLite refuses the indexes of metadata too, which call json_extract.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from serotine.errors import IndexDamagedError, shown

# As SQLite stores them, whatever the spelling they were created with.
_TABLE = "CREATE TABLE "
# A literal, and what `filters.value_of` extracts by one.
_TEXT = r"'(?:[^']|'')*'"
_PATH = rf"(?:{_TEXT}|CASE WHEN json_type\(metadata, {_TEXT}\) IS NULL THEN {_TEXT} ELSE {_TEXT} END)"
_INDEX = re.compile(
    rf"CREATE (UNIQUE )?INDEX \w+ ON \w+ ?\((\w+(, ?\w+)*|json_extract\(metadata, {_PATH}\))\)( WHERE [\w ]+)?"
)
_WORD_INDEX = re.compile(r"CREATE VIRTUAL TABLE passages_fts USING fts5 ?\(")
# A column may be computed, or checked by an expression, and a reference may delete rows, as these do.
_PROGRAM = re.compile(r"\b(AS|CHECK|GENERATED|ON)\b|\bDEFAULT\s*[^\s\w'-]", re.IGNORECASE)
_REFERENCE = re.compile(r"REFERENCES (documents \(number\)|sources \(source\)) ON DELETE (CASCADE|SET NULL)")


def require_tables_only(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the catalog at `path` has tables, indexes and the word index only.

    Raises:
        IndexDamagedError: it has a trigger, a view, another virtual table or a computed column; names it.
    """
    for kind, name, statement in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if not _is_plain(statement):
            raise IndexDamagedError(
                f"{path}: its schema has the {kind} {shown(name)}, which no index has; restore it from a backup"
            )


def _is_plain(statement: object) -> bool:
    # The index of a primary key has none.
    if statement is None:
        return True
    if not isinstance(statement, str):
        return False
    if statement.startswith(_TABLE):
        return _PROGRAM.search(_REFERENCE.sub("", statement)) is None
    return _INDEX.fullmatch(statement) is not None or _WORD_INDEX.match(statement) is not None
