"""Errors of SQLite as errors of an index."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serotine.errors import IndexDamagedError, SerotineError, index_damaged, reason

_DAMAGE_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# These have no error code of their own: text that is no UTF-8, metadata that are no JSON; and what SQLite says to the
# statements of this package where a bit of the schema has changed.
_DAMAGE_MESSAGES = (
    "decode to UTF-8", "malformed JSON", "no such ", "cannot join using", "has no column", "fts5", "tokenize",
    "vtable constructor failed", "parse error", "syntax error", "SQL logic error",
)  # fmt: skip


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, of the system or of the catalog, is that of a full disk."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    cause = error.__cause__
    return isinstance(cause, sqlite3.Error) and _kind(cause) == sqlite3.SQLITE_FULL


def _kind(error: sqlite3.Error) -> int:
    # The lower byte of an extended error code is the kind of error.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def has_wal(catalog: Path) -> bool:
    """Return whether there is a WAL that may hold commits."""
    try:
        return catalog.with_name(f"{catalog.name}-wal").stat().st_size > 0
    except OSError:
        return False


def _damaged(path: Path, error: Exception) -> IndexDamagedError:
    return index_damaged(f"{path}: cannot be read ({reason(error)})")


def unwritable(folder: Path, cause: str) -> SerotineError:
    """Return the error for an index that cannot be opened for writing."""
    return SerotineError(
        f"{folder}: cannot be changed ({cause}); make the folder writable, or open the index read-only"
    )


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Translate SQLite errors of the catalog at `path` into Serotine errors."""
    try:
        yield
    except sqlite3.Error as error:
        code = _kind(error)
        if code in _DAMAGE_CODES or any(message in str(error) for message in _DAMAGE_MESSAGES):
            raise _damaged(path, error) from error
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
    except UnicodeDecodeError as error:
        # In the name of a table or column, which SQLite quotes in its message.
        raise _damaged(path, error) from error


def structure_problem(connection: sqlite3.Connection) -> str | None:
    """Return the first of SQLite's findings, and how many more there are, as one line; None where there are none.

    A row may have many lines: a title, and a finding in each of the others.
    """
    rows = connection.execute("PRAGMA integrity_check")
    findings = [
        line for (row,) in rows for line in str(row).splitlines() if line != "ok" and not line.startswith("***")
    ]
    if not findings:
        return None
    return findings[0] + (f" (and {len(findings) - 1:,} more)" if len(findings) > 1 else "")
