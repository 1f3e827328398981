"""A file of reserved space, given up so that documents can be deleted, and the index compacted, on a full disk.

SQLite writes to delete, and compaction writes the new files before it removes the old ones. The file exists only where
the file system has little space left.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serotine.index.files import durable

RESERVE_FILE = "reserve"
# Enough to delete some thousand documents and to rewrite a head; a larger part of a larger catalog.
_SMALLEST = 1 << 20
_CATALOG_SHARE = 1 / 8
# Of a small file system, at most.
_DISK_SHARE = 1 / 4
# With more free space than this there is no reserve.
_PLENTY = 1 << 30


def hold(catalog: Path) -> None:
    """Reserve space where little is left, or give it back where there is plenty; without effect on a full disk."""
    path = _file(catalog)
    with suppress(OSError):
        disk = shutil.disk_usage(path.parent)
        if disk.free >= _PLENTY:
            durable.remove(path)
        elif not path.exists():
            wanted = max(_SMALLEST, int(catalog.stat().st_size * _CATALOG_SHARE))
            durable.allocate(path, min(wanted, int(disk.total * _DISK_SHARE)))


@contextmanager
def released(catalog: Path) -> Iterator[None]:
    """Give up the reserve until the block ends, if there is one."""
    with suppress(OSError):
        durable.remove(_file(catalog))
    try:
        yield
    finally:
        hold(catalog)


def _file(catalog: Path) -> Path:
    return catalog.with_name(RESERVE_FILE)
