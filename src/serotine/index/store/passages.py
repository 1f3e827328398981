"""Passages of a document: stored as documents `ID#1`, `ID#2`, ..., each with its document in its metadata."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any


def is_passage(id_: str, document: object) -> bool:
    """Return whether an id is that of a passage of `document`."""
    return isinstance(document, str) and id_.startswith(f"{document}#") and id_[len(document) + 1 :].isdecimal()


def passage_origin(id_: str, metadata: Mapping[str, Any]) -> str | None:
    """Return the document that a passage is of: a long text's id, or the name of the file; None for no passage.

    >>> passage_origin("guide.md#2", {"source": "guide.md", "start": 80, "end": 89})
    'guide.md'
    """
    if is_passage(id_, metadata.get("document")):
        return str(metadata["document"])
    # Rows of a table have a source too: only what has a position in its text is cut from it.
    if metadata.get("start") is not None and is_passage(id_, metadata.get("source")):
        return str(metadata["source"])
    return None


def numbers(connection: sqlite3.Connection, documents: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the document numbers of the live passages of `documents`, by document and passage id."""
    by_document: dict[str, dict[str, int]] = {}
    for document in documents:
        # A range of the index of live ids: "$" follows "#".
        # SQLite's JSON: metadata that a damaged catalog returns raise its errors, which the catalog translates.
        rows = connection.execute(
            "SELECT id, number, json_extract(metadata, '$.document'), json_extract(metadata, '$.source'), "
            "json_extract(metadata, '$.start') FROM documents WHERE live AND id > ? AND id < ? ORDER BY number",
            (f"{document}#", f"{document}$"),
        )
        passages = {
            id_: number
            for id_, number, origin, source, start in rows
            if passage_origin(id_, {"document": origin, "source": source, "start": start}) == document
        }
        if passages:
            by_document[document] = passages
    return by_document
