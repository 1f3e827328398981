"""Replacement of an index: the new one is built beside the old one, which stays in use until the new one is complete.

Not `serotine.files.replace_folder`: the old index stays locked meanwhile, and what a killed process leaves has a fixed
name, so that the next run removes or restores it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serotine.errors import NotAnIndexError
from serotine.index import CATALOG_FILE, LOCK_FILE, SEGMENT_FOLDER, WriterLock

_INDEX_ENTRIES = {CATALOG_FILE, f"{CATALOG_FILE}-wal", f"{CATALOG_FILE}-shm", SEGMENT_FOLDER, LOCK_FILE}


@contextmanager
def replacing(output: Path) -> Iterator[Path]:
    """Yield a path to build an index at that replaces `output` when the block ends; an exception removes it.

    The old index's writer lock is held throughout: nothing can be added to an index that is being replaced.

    Raises:
        NotAnIndexError: `output` is not an index, or contains other files, which would be lost.
        IndexLockedError: another writer has it open.
    """
    _check_replaceable(output)
    # Of a link, the folder it points to is replaced; the link stays.
    output = output.resolve()
    building, replaced = _beside(output, "building"), _beside(output, "replaced")
    lock = WriterLock(output)
    try:
        # Left by a killed --overwrite; holding the lock, no other is running.
        _remove(building)
        _remove(replaced)
        try:
            yield building
            # Two renames: no portable call exchanges two folders. Killed between them, the old index is complete under
            # its other name, and `recover` restores it.
            output.rename(replaced)
            building.rename(output)
        except BaseException:
            recover(output)
            _remove(building)
            raise
    finally:
        lock.release()
    _remove(replaced)


def recover(output: Path) -> None:
    """Restore the old index where a replacement was stopped between its two renames."""
    replaced = _beside(output, "replaced")
    if not output.exists() and replaced.exists():
        replaced.rename(output)


def _beside(output: Path, role: str) -> Path:
    # Resolved, because "." has no name.
    resolved = output.resolve()
    return resolved.parent / f".{resolved.name}.{role}"


def _check_replaceable(output: Path) -> None:
    if not (output / CATALOG_FILE).is_file():
        raise NotAnIndexError(f"{output}: not a Serotine index, so it is not overwritten; choose another --output")
    others = sorted(entry.name for entry in output.iterdir() if entry.name not in _INDEX_ENTRIES)
    if others:
        raise NotAnIndexError(
            f"{output}: contains {others[0]!r}, which is not part of an index and would be lost; move it away first"
        )


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
