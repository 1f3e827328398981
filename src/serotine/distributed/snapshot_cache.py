"""Snapshots of shards on the disk of a machine, which its processes share."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from serotine.distributed.manifest import SNAPSHOT_NAME
from serotine.errors import SerotineError
from serotine.index import Index

try:
    import fcntl
except ImportError:
    raise SerotineError(
        "serotine.distributed: Windows has no locks that processes share; run shards on Linux, or use one index"
    ) from None

# Where restored shards are, unless the environment says otherwise.
CACHE_VARIABLE = "SEROTINE_SHARDS"


@dataclass(frozen=True, slots=True)
class ShardSource:
    """Where a shard comes from.

    Attributes:
        url: of its snapshots.
        snapshot: name of the snapshot.
        storage_options: as fsspec takes them.
    """

    url: str
    snapshot: str
    storage_options: Mapping[str, Any] | None = None


class RestoredSnapshot:
    """A restored snapshot, which stays while this exists.

    Args:
        folder: the index.
        lock: descriptor of the open file whose lock says that it is in use.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        weakref.finalize(self, os.close, lock)


def shard_folder(url: str) -> Path:
    """Return the folder for what this machine has of a shard, by the URL of its snapshots."""
    place = os.environ.get(CACHE_VARIABLE) or Path(tempfile.gettempdir()) / f"serotine-shards-{getpass.getuser()}"
    return Path(place) / hashlib.blake2b(url.encode(), digest_size=12).hexdigest()


def restored(source: ShardSource) -> RestoredSnapshot:
    """Return a snapshot on this machine, restored if it is not there; it shares what it can with others that are."""
    folder = shard_folder(source.url) / source.snapshot
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _guard(folder):
        lock = os.open(f"{folder}.used", os.O_RDWR | os.O_CREAT, 0o600)
        snapshot = RestoredSnapshot(folder, lock)
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not folder.is_dir():
            Index.restore(
                source.url,
                folder,
                name=source.snapshot,
                reuse=[path for path in folder.parent.iterdir() if path.is_dir() and path != folder],
                storage_options=source.storage_options,
            )
    return snapshot


def remove_unused(source: ShardSource) -> None:
    """Remove the snapshots of a shard that no process of this machine uses, but for the one of `source`."""
    for folder in shard_folder(source.url).iterdir():
        if folder.name == source.snapshot or not SNAPSHOT_NAME.fullmatch(folder.name):
            continue
        with _guard(folder), Path(f"{folder}.used").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(folder, ignore_errors=True)


def _guard(folder: Path) -> FileLock:
    return FileLock(f"{folder}.lock")
