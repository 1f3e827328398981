"""The number of commits in the catalog, and beside it: commits that were lost with the WAL are then noticed.

After a crash the newest commits are only in the WAL, and SQLite takes a WAL that is gone, or ends early, for an empty
or shorter one. So every transaction counts itself in the table `meta`, and the count is written to a small file once
the transaction is on disk. Not flushed: a power cut may leave an older count there, never a newer one. The file is
removed when a writer closes and leaves no WAL.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

from serotine.errors import index_damaged, reason
from serotine.files import open_regular
from serotine.index.files import durable
from serotine.index.store import wal

KEY = "commits"
"""The key of the number in the table `meta`."""
# Its row as SQLite stores it: the length of its header, the types of key and value, and both.
_ROW = re.compile(rb"\x03\x1b(.)commits([0-9]{1,20})", re.DOTALL)
_TEXT_TYPE = 13
_MAX_NOTE = 64
# A writer may change both files while they are read.
_ATTEMPTS = 3
NOTE_SUFFIX = "-commits"
"""What the file is named after the catalog's name."""


def count(connection: sqlite3.Connection) -> int:
    """Return the number of commits; 0 in an index of an earlier version.

    Raises:
        ValueError: it is damaged.
    """
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (KEY,)).fetchone()
    return 0 if row is None else int(row[0])


def increment(connection: sqlite3.Connection) -> int:
    """Count the transaction that is open, and return the new number."""
    # Fetched whole: a statement that is not at its end blocks the commit.
    ((number,),) = connection.execute(
        "INSERT INTO meta VALUES (?, '1') ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1 "
        "RETURNING value",
        (KEY,),
    ).fetchall()
    return int(number)


def note(catalog: Path, number: int) -> None:
    """Write beside the catalog that its commit `number` is on disk."""
    # The commit has succeeded: without the note, its loss with the WAL would only not be noticed.
    with contextlib.suppress(OSError):
        durable.overwrite_note(_file(catalog), _encoded(number))


def require_all(connection: sqlite3.Connection, catalog: Path) -> None:
    """Check that the catalog has every commit that was on disk.

    Raises:
        IndexDamagedError: some are missing: the WAL is gone, or was cut; or their number is damaged.
    """
    # First: another process may commit in between.
    noted = _noted(catalog)
    try:
        missing = noted - count(connection)
    except ValueError as error:
        raise index_damaged(f"{catalog}: the number of commits is damaged ({reason(error)})") from error
    if missing > 0:
        raise index_damaged(f"{catalog.parent}/{loss(catalog, missing)}")


def missing_on_disk(catalog: Path, count_without_wal: Callable[[], int]) -> int:
    """Return how many commits a process would miss that opens the index now, whatever open connections still see.

    Args:
        catalog: the database.
        count_without_wal: returns the number of commits in the database alone, or less.
    """
    for _ in range(_ATTEMPTS):
        # In this order: what a writer moves out of the WAL meanwhile is in the database afterwards.
        noted = _noted(catalog)
        number = max(_count_in_wal(catalog), count_without_wal())
        if number >= noted:
            return 0
    return noted - number


def _count_in_wal(catalog: Path) -> int:
    """Return the number of the last commit that is whole in the WAL; 0 where it has none."""
    newest = committed = 0
    # Every transaction writes the page of the row. Older rows may be left in its unused space.
    for page, is_last in wal.frames(catalog):
        for match in _ROW.finditer(page):
            digits = (match[1][0] - _TEXT_TYPE) // 2
            newest = max(newest, int(match[2][: max(digits, 1)]))
        if is_last:
            committed = newest
    return committed


def loss(catalog: Path, missing: int) -> str:
    """Return in words that the WAL has lost commits."""
    lost = "the last commit is" if missing == 1 else f"the last {missing:,} commits are"
    return f"{catalog.name}-wal: {lost} missing, because this file was removed, cut or changed"


def forget(catalog: Path) -> None:
    """Remove the note unless there is a WAL."""
    if not catalog.with_name(f"{catalog.name}-wal").exists():
        with contextlib.suppress(OSError):
            durable.remove(_file(catalog))


def _noted(catalog: Path) -> int:
    """Return the last commit that is known to have been on disk; 0 where nothing valid is written."""
    try:
        with open_regular(_file(catalog), follow=False) as file:
            data = file.read(_MAX_NOTE)
        number = int(data[:20])
    except (OSError, ValueError):
        return 0
    return number if data == _encoded(number) else 0


def _file(catalog: Path) -> Path:
    return catalog.with_name(f"{catalog.name}{NOTE_SUFFIX}")


def _encoded(number: int) -> bytes:
    digits = f"{number:020d}".encode()
    return digits + b" " + hashlib.blake2b(digits, digest_size=8).hexdigest().encode() + b"\n"
