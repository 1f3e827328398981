"""Replacement of an index: the old one stays in use until the new one beside it is complete.

Not `serotine.files.replace_folder`: the old index stays locked meanwhile, and a killed process leaves its folders under
fixed names, so that the next run removes, continues or restores them.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serotine.errors import IndexLockedError, NotAnIndexError
from serotine.files import POSIX_FILES, write_atomically
from serotine.index.files import SEGMENT_FOLDER, durable
from serotine.index.store.connection import CATALOG_FILE, FILES_BESIDE
from serotine.index.store.writer_lock import WriterLock

_INDEX_ENTRIES = {*FILES_BESIDE, SEGMENT_FOLDER}


@contextmanager
def replace_index(path: Path, *, recipe: str = "") -> Iterator[Path]:
    """Yield a path to build an index at that replaces `path` when the block ends; an exception removes it.

    The old index's writer lock is held throughout: nothing can be added to an index that is being replaced.

    Args:
        path: the index.
        recipe: what the new index is built from, and how. With it, what Ctrl-C or a kill leaves of the new index stays,
            and is yielded again for the same recipe, to be continued.

    Raises:
        NotAnIndexError: `path` is not an index, or contains other files, which would be lost.
        IndexLockedError: another writer has it open.
    """
    check_replaceable(path)
    # Of a link, the folder it points to is replaced; the link stays.
    path = path.resolve()
    building, replaced = beside(path, "building"), beside(path, "replaced")
    recorded = beside(path, "recipe")
    lock = WriterLock(path)
    try:
        # Left by a killed process: this one holds the lock, so no other is replacing the index.
        if not (recipe and (building / CATALOG_FILE).is_file() and _read(recorded) == recipe):
            _remove(building)
        _remove(replaced)
        try:
            if recipe:
                write_atomically(recorded, recipe)
            yield building
            # Before the folders are exchanged: what is left of the old index is not to be continued.
            recorded.unlink(missing_ok=True)
            durable.sync_folder(path.parent)
            if not _exchange(building, path):
                # Two renames: no portable call exchanges two folders. Killed between them, the old index is complete
                # under its other name, and `restore_replaced_index` restores it.
                if not POSIX_FILES:
                    # An open lock file would keep its own folder from being renamed.
                    lock.release()
                _rename(path, replaced)
                _rename(building, path)
            durable.sync_folder(path.parent)
        except BaseException as error:
            restore_replaced_index(path)
            is_kept = isinstance(error, KeyboardInterrupt) and recorded.exists() and (building / CATALOG_FILE).is_file()
            if not is_kept:
                _remove(building)
                recorded.unlink(missing_ok=True)
            raise
    finally:
        lock.release()
    _remove(replaced)
    _remove(building)


def restore_replaced_index(path: Path) -> None:
    """Restore the old index where a replacement was stopped between its two renames."""
    replaced = beside(path, "replaced")
    if not path.exists() and replaced.exists():
        replaced.rename(path)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; return whether this system and file system can."""
    if sys.platform != "linux" or not POSIX_FILES:
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_current, exchange = -100, 2
    status: int = rename(at_current, os.fsencode(first), at_current, os.fsencode(second), exchange)
    return status == 0


def _rename(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except PermissionError as error:
        if POSIX_FILES:
            raise
        raise IndexLockedError(
            f"{folder}: a program has this index open; close it, and try again", str(folder)
        ) from error


def beside(path: Path, role: str) -> Path:
    """Return the hidden folder beside an index that has a `role` in its replacement."""
    # Resolved, because "." has no name.
    resolved = path.resolve()
    return resolved.parent / f".{resolved.name}.{role}"


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def check_replaceable(path: Path) -> None:
    """Raise NotAnIndexError unless `path` is an index and nothing else."""
    if not (path / CATALOG_FILE).is_file():
        raise NotAnIndexError(f"{path}: not a Serotine index, so it is not replaced; choose another path")
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in _INDEX_ENTRIES)
    if others:
        raise NotAnIndexError(
            f"{path}: contains {others[0]!r}, which is not part of an index and would be lost; move it away first"
        )


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
