"""Errors of SQLite as errors of an index."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serotine.errors import IndexDamagedError, SerotineError

_DAMAGE_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# These have no error code of their own: text that is no UTF-8, and metadata that are no JSON.
_DAMAGE_MESSAGES = ("decode to UTF-8", "malformed JSON")


def has_wal(catalog: Path) -> bool:
    """Return whether there is a WAL that may hold commits."""
    try:
        return catalog.with_name(f"{catalog.name}-wal").stat().st_size > 0
    except OSError:
        return False


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Translate SQLite errors of the catalog at `path` into Serotine errors."""
    try:
        yield
    except sqlite3.Error as error:
        # The lower byte of an extended error code is the kind of error.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGE_CODES or any(message in str(error) for message in _DAMAGE_MESSAGES):
            raise IndexDamagedError(f"{path}: cannot be read ({error}); restore it from a backup") from error
        if code == sqlite3.SQLITE_CANTOPEN and has_wal(path) and not os.access(path.parent, os.W_OK):
            raise SerotineError(
                f"{path}-wal: holds commits of a writer that ended without closing the index, and SQLite needs to "
                "write beside it to read them; open the index once where its folder is writable, or open a copy"
            ) from error
        if code == sqlite3.SQLITE_FULL:
            raise SerotineError(f"{path}: the disk is full; free space, then try again") from error
        raise SerotineError(
            f"{path}: SQLite failed ({error}); check the disk and the folder's permissions, then try again"
        ) from error
