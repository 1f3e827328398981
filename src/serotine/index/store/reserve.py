"""A file of reserved space, given up so that documents can be deleted, and the index compacted, on a full disk.

SQLite writes to delete, and compaction writes the new files before it removes the old ones. The file exists only where
the file system has little space left.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serotine.index.files import durable

RESERVE_FILE = "reserve"
# At least, but of a small file system.
_SMALLEST = 1 << 20
# At most, of the file system and of what is free in it.
_DISK_SHARE = 1 / 4
_FREE_SHARE = 1 / 2
# At most, of what is free where as much was reserved before: else every release would leave a smaller reserve.
_KEPT_SHARE = 0.9
# With more free space than this there is no reserve.
_PLENTY = 1 << 30


def hold(catalog: Path, largest_segment: int, *, before: int = 0, left: int = 0) -> None:
    """Reserve space where little is left, or give it back where there is plenty; without effect on a full disk.

    Args:
        catalog: the database. SQLite writes as much as it has to its WAL, and that to it again, where much is deleted.
        largest_segment: size of the largest segment, in bytes: what is left of it is rewritten at once.
        before: what was reserved until it was given up.
        left: bytes that stay free, unless 1 MiB or `before` is more.
    """
    path = _file(catalog)
    with suppress(OSError):
        disk = shutil.disk_usage(path.parent)
        if disk.free >= _PLENTY:
            durable.remove(path)
            return
        held = _size(path)
        wanted = max(_size(catalog) + _size(catalog.with_name(f"{catalog.name}-wal")), largest_segment)
        available = disk.free + held
        affordable = min(int(available * _FREE_SHARE), available - left)
        affordable = max(affordable, min(before, int(available * _KEPT_SHARE)))
        size = min(max(_SMALLEST, min(wanted, affordable)), int(disk.total * _DISK_SHARE))
        # Written again only once the index has doubled.
        if held < size and (not held or size >= 2 * held):
            durable.remove(path)
            durable.allocate(path, size)


@contextmanager
def released(catalog: Path, largest_segment: Callable[[], int]) -> Iterator[bool]:
    """Yield whether little more than the reserve is left, which is then given up until the block ends.

    It may then grow by what the block has freed: the disk is no fuller than before.
    """
    path = _file(catalog)
    scarce, before, free = False, 0, 0
    with suppress(OSError):
        before = _size(path)
        free = shutil.disk_usage(path.parent).free
        scarce = free <= max(before, _SMALLEST)
        if scarce:
            durable.remove(path)
    try:
        yield scarce
    finally:
        hold(catalog, largest_segment(), before=before, left=free)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _file(catalog: Path) -> Path:
    return catalog.with_name(RESERVE_FILE)
