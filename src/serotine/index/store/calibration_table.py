"""The recall that was measured on an index: one row, which the next calibration replaces.

The table is created when an index first needs it, so that indexes of format 2 without one stay as they are.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from serotine.wording import worded

Origin = Literal["given", "sentences", "tokens"]

# The version of the staged search, in every stored calibration: raised with each change of what an effort finds, so
# that the recall of an earlier search is never promised of a later one. Version 1 did not store it.
_SEARCH_VERSION = 5

_SCHEMA = """CREATE TABLE calibrations (
    calibration INTEGER PRIMARY KEY AUTOINCREMENT,
    content TEXT NOT NULL,
    checksum TEXT NOT NULL
)"""


@dataclass(frozen=True, slots=True)
class Curve:
    """The recall of searches for so many hits, by their effort.

    Attributes:
        depth: number of hits.
        candidates: numbers of documents scored over their codes, ascending.
        missed: for each of them, the share of the exact hits that a search misses; never rising.
        missed_bound: upper bounds of these, at 95%, one-sided; never rising.
        missed_safe: upper bounds at 80%, by which a search chooses its effort; never rising.
    """

    depth: int
    candidates: tuple[int, ...]
    missed: tuple[float, ...]
    missed_bound: tuple[float, ...]
    missed_safe: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The recall that was measured on one index.

    Attributes:
        codebook: checksum of the file of the newest codebook at that time.
        tokens: number of tokens of the index at that time.
        queries: number of queries.
        origin: where they came from: "given", or made from the index's own documents: "sentences" of their texts, or
            runs of their "tokens".
        date: when it was measured, UTC, ISO 8601.
        curves: by depth, ascending.
    """

    codebook: str
    tokens: int
    queries: int
    origin: Origin
    date: str
    curves: tuple[Curve, ...]

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the calibration of a JSON object."""
        curves = tuple(
            Curve(
                curve["depth"],
                candidates=tuple(curve["candidates"]),
                missed=tuple(curve["missed"]),
                missed_bound=tuple(curve["missed_bound"]),
                missed_safe=tuple(curve["missed_safe"]),
            )
            for curve in values["curves"]
        )
        return cls(**{**values, "curves": curves})


def store(connection: sqlite3.Connection, calibration: Calibration) -> None:
    """Store a calibration in place of the one before."""
    if not _exists(connection):
        connection.execute(_SCHEMA)
    content = json.dumps({"search": _SEARCH_VERSION, **asdict(calibration)})
    connection.execute("DELETE FROM calibrations")
    connection.execute("INSERT INTO calibrations (content, checksum) VALUES (?, ?)", (content, _checksum(content)))


def load(connection: sqlite3.Connection) -> Calibration | None:
    """Return the calibration; None where there is none, where it is of another version's search, or damaged."""
    row = _row(connection)
    return None if row is None else _parsed(*row)


def problems(connection: sqlite3.Connection) -> list[str]:
    """Return what is wrong with the stored calibration."""
    row = _row(connection)
    if row is None or _is_intact(*row):
        return []
    fix = worded("run `serotine tune`", http="tune the index")
    return [f"the calibration of recall does not match its checksum and is not used; {fix}"]


def _row(connection: sqlite3.Connection) -> tuple[Any, Any] | None:
    if not _exists(connection):
        return None
    row: tuple[Any, Any] | None = connection.execute("SELECT content, checksum FROM calibrations").fetchone()
    return row


def _parsed(content: Any, checksum: Any) -> Calibration | None:
    if not _is_intact(content, checksum):
        return None
    try:
        values = json.loads(content)
        if values.pop("search", 1) != _SEARCH_VERSION:
            return None
        calibration = Calibration.parse(values)
    except (ValueError, TypeError, KeyError, AttributeError):
        # Of a later version.
        return None
    return calibration if calibration.origin in get_args(Origin) and calibration.curves else None


def _is_intact(content: Any, checksum: Any) -> bool:
    return isinstance(content, str) and _checksum(content) == checksum


def _checksum(content: str) -> str:
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def _exists(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'calibrations'").fetchone() is not None
