"""Passages of a document: stored as documents `ID#1`, `ID#2`, ..., each with the document's id in its metadata."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

# A key of the table `meta`: an index without passages never searches for them.
_KEY = "passages"


def is_passage(id_: str, document: object) -> bool:
    """Return whether an id is that of a passage of `document`."""
    return isinstance(document, str) and id_.startswith(f"{document}#") and id_[len(document) + 1 :].isdecimal()


def record(connection: sqlite3.Connection, documents: Sequence[tuple[str, str | None, str]]) -> None:
    """Record that the index has passages, where one of these documents, (id, text, metadata as JSON), is one."""
    for id_, _, metadata in documents:
        if "#" in id_ and '"document"' in metadata and is_passage(id_, _document(connection, metadata)):
            connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (_KEY, "true"))
            return


def _document(connection: sqlite3.Connection, metadata: str) -> object:
    # SQLite's JSON: metadata that a damaged catalog returns raise its errors, which the catalog translates.
    return connection.execute("SELECT json_extract(?, '$.document')", (metadata,)).fetchone()[0]


def numbers(connection: sqlite3.Connection, documents: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the document numbers of the live passages of `documents`, by document and passage id."""
    if connection.execute("SELECT 1 FROM meta WHERE key = ?", (_KEY,)).fetchone() is None:
        return {}
    by_document: dict[str, dict[str, int]] = {}
    for document in documents:
        # A range of the index of live ids: "$" follows "#".
        rows = connection.execute(
            "SELECT id, number, json_extract(metadata, '$.document') FROM documents "
            "WHERE live AND id > ? AND id < ? ORDER BY number",
            (f"{document}#", f"{document}$"),
        )
        passages = {id_: number for id_, number, origin in rows if origin == document and is_passage(id_, origin)}
        if passages:
            by_document[document] = passages
    return by_document
