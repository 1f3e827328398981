"""Replacing an index: the new one is built beside the old one, which stays in use until the new one is whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serotine.errors import NotAnIndexError
from serotine.index.files.segment import SEGMENT_FOLDER
from serotine.index.store.catalog import CATALOG_FILE
from serotine.index.store.writer_lock import LOCK_FILE, WriterLock

_PARTS = {CATALOG_FILE, f"{CATALOG_FILE}-wal", f"{CATALOG_FILE}-shm", SEGMENT_FOLDER, LOCK_FILE}


@contextmanager
def replacing(output: Path) -> Iterator[Path]:
    """Yields a path to build at; leaving normally puts it in place of `output`, by an exception removes it.

    The old index's writer lock is held throughout: nobody can add to an index that is about to go.

    Raises:
        NotAnIndexError: `output` is something else, or holds files that are not an index's: they would be lost.
        IndexLockedError: another writer has it open.
    """
    _check_replaceable(output)
    # Through a link, the folder it leads to is replaced; the link stays.
    output = output.resolve()
    building, replaced = _beside(output, "building"), _beside(output, "replaced")
    lock = WriterLock(output)
    try:
        # What a killed --overwrite left; holding the lock, no other is at work.
        _remove(building)
        _remove(replaced)
        try:
            yield building
            # Two renames: no portable call exchanges two folders. Killed between them, the old index is whole under
            # its other name, and `recover` puts it back.
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
    """Puts the old index back where a replacement was stopped between its two renames."""
    replaced = _beside(output, "replaced")
    if not output.exists() and replaced.exists():
        replaced.rename(output)


def _beside(output: Path, role: str) -> Path:
    # Resolved, because "." has no name to put another beside.
    resolved = output.resolve()
    return resolved.parent / f".{resolved.name}.{role}"


def _check_replaceable(output: Path) -> None:
    if not (output / CATALOG_FILE).is_file():
        raise NotAnIndexError(f"{output}: is not a Serotine index, so it is not overwritten; choose another --output")
    strangers = sorted(entry.name for entry in output.iterdir() if entry.name not in _PARTS)
    if strangers:
        raise NotAnIndexError(
            f"{output}: holds {strangers[0]!r}, which is not part of an index and would be lost; move it away first"
        )


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
