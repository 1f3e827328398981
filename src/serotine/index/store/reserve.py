"""Space that stays free, so that documents can be deleted and the index compacted on a disk that additions have filled.

SQLite writes to delete, and compaction writes the new files before it removes the old ones: additions leave as much as
both need. Where the file system has little space left, a file holds it, which is given up for them.
"""

from __future__ import annotations

import errno
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serotine.index.files import durable

RESERVE_FILE = "reserve"
# At least, but of a small file system.
_SMALLEST = 1 << 20
_DISK_SHARE = 1 / 4
# At most, of what is free where that is too little; and where as much was reserved before: else every release would
# leave a smaller reserve.
_FREE_SHARE = 1 / 2
_KEPT_SHARE = 0.9
# With more free space than this there is no file.
_PLENTY = 1 << 30
# Of the pages that a commit itself may add.
_COMMIT_BYTES = 1 << 14
# The file is not enlarged with every addition, but in steps of an eighth.
_STEP_BITS = 4
# Of the space that the index takes or could take, what a segment has at most: it is rewritten within the reserve.
_SEGMENT_SHARE = 1 / 8


def segment_limit(catalog: Path, segments: int) -> int:
    """Return how large a segment may become, in bytes, so that it can be rewritten once the disk is full.

    Args:
        catalog: the database.
        segments: size of all segments.
    """
    with suppress(OSError):
        disk = shutil.disk_usage(catalog.parent)
        if disk.total:
            space = segments + _size(catalog) + _size(_file(catalog)) + disk.free
            return max(int(space * _SEGMENT_SHARE), min(_SMALLEST, int(space * _DISK_SHARE)), 1)
    return sys.maxsize


def needed(catalog: Path, rewrite: int) -> int:
    """Return how many bytes deleting documents and compacting may take.

    Args:
        catalog: the database. SQLite writes as much as it has to its WAL, and that to it again, where much is deleted.
        rewrite: size of the largest segment that may have to be rewritten.
    """
    return _size(catalog) + _size(catalog.with_name(f"{catalog.name}-wal")) + rewrite


def require(catalog: Path, space: int, *, freed: int = 0, released: bool = False) -> None:
    """Check that `space` bytes stay for deletions before an index grows, and reserve them.

    Args:
        catalog: the database.
        space: bytes that deletions may take afterwards.
        freed: bytes that the change frees at its end.
        released: whether the reserve is given up meanwhile.

    Raises:
        OSError: there is less, so that the index must not grow.
    """
    if not released:
        hold(catalog, space)
    try:
        disk = shutil.disk_usage(catalog.parent)
    except OSError:
        return
    held = _size(_file(catalog))
    left = disk.free + held + freed
    enough = left >= space if released else max(held, disk.free if disk.free >= _PLENTY else 0) >= space
    # A file system that does not say how large it is says nothing of its free space either.
    if disk.total and not enough:
        raise OSError(
            errno.ENOSPC,
            f"the disk is full: deletions and compacting may take {space:,} bytes, and {left:,} are left; "
            "delete documents, then compact the index, or free space",
            str(catalog.parent),
        )


def hold(catalog: Path, space: int, *, before: int = 0, left: int = 0) -> None:
    """Reserve space where little is left, or give it back where there is plenty; without effect on a full disk.

    Args:
        catalog: the database.
        space: bytes to reserve; fewer where these are not free.
        before: what was reserved until it was given up.
        left: bytes that stay free, unless `before` is more.
    """
    path = _file(catalog)
    with suppress(OSError):
        disk = shutil.disk_usage(path.parent)
        if disk.free >= _PLENTY:
            durable.remove(path)
            return
        if not stat.S_ISREG(_mode(path)):
            # What took its place since the index was opened.
            durable.remove(path)
        held = _size(path)
        wanted = max(space, min(_SMALLEST, int(disk.total * _DISK_SHARE)))
        available = disk.free + held
        affordable = available - left
        if affordable < space:
            affordable = max(min(affordable, int(available * _FREE_SHARE)), min(before, int(available * _KEPT_SHARE)))
        step = 1 << max(wanted.bit_length() - _STEP_BITS, 0)
        size = min(-(-wanted // step) * step, affordable)
        if held < size:
            durable.allocate(path, size)


@contextmanager
def released(catalog: Path, space: Callable[[], int]) -> Iterator[bool]:
    """Yield whether little more than the reserve is left, which is then given up until the block ends.

    It may then grow by what the block has freed: the disk is no fuller than before.

    Args:
        catalog: the database.
        space: returns how many bytes to reserve.
    """
    path = _file(catalog)
    scarce, before, free = False, 0, 0
    with suppress(OSError):
        before = _size(path)
        free = shutil.disk_usage(path.parent).free
        scarce = free <= max(before, space(), _SMALLEST)
        if scarce:
            durable.remove(path)
    try:
        yield scarce
    finally:
        hold(catalog, space(), before=before, left=free)


def set_aside(catalog: Path, growth: int) -> None:
    """Leave of the reserve what the WAL needs to be moved into the database, which frees the WAL.

    A WAL that is read takes all that is free, change by change: without this, nothing could ever be changed again.

    Args:
        catalog: the database.
        growth: bytes that it lacks.

    Raises:
        OSError: less is free.
    """
    size = growth + _COMMIT_BYTES if growth else 0
    if _size(_file(catalog)) != size:
        durable.allocate(_file(catalog), size)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return stat.S_IFREG


def _file(catalog: Path) -> Path:
    return catalog.with_name(RESERVE_FILE)
