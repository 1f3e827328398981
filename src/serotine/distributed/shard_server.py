"""One shard in a process of its own: its snapshot, restored to the local disk, answers requests."""

from __future__ import annotations

import getpass
import hashlib
import os
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from serotine.errors import IndexReplacedError, RepositoryError, reason
from serotine.index import Index, Shard

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


@dataclass(frozen=True, slots=True)
class NotReady:
    """The answer of a shard that cannot open its snapshot."""

    reason: str


class ShardServer:
    """Answers requests to one shard; restores and opens its snapshot at the first."""

    def __init__(self, source: ShardSource) -> None:
        self._source = source
        self._opening = threading.Lock()
        self._shard: Shard | None = None

    def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Return what a method of `Shard` returns; `NotReady` where the snapshot cannot be opened."""
        try:
            shard = self._opened()
        except (RepositoryError, OSError) as error:
            return NotReady(reason(error))
        try:
            return getattr(shard, method)(*arguments)
        except IndexReplacedError as error:
            # Who cleans up temporary files may remove it; the next request restores it.
            self._shard = None
            return NotReady(reason(error))

    def ready(self) -> NotReady | int:
        """Return the process id once the shard is open."""
        answer = self.call("documents", ())
        return answer if isinstance(answer, NotReady) else os.getpid()

    def _opened(self) -> Shard:
        with self._opening:
            if self._shard is None:
                self._shard = Shard(Index.open(restored(self._source), read_only=True))
            return self._shard


def restored(source: ShardSource) -> Path:
    """Return the folder that a snapshot is restored to; processes of one machine share it."""
    folder = shard_folder(source.url) / source.snapshot
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            Index.restore(source.url, folder, name=source.snapshot, storage_options=source.storage_options)
    return folder


def shard_folder(url: str) -> Path:
    """Return the folder for what this machine has of a shard, by the URL of its snapshots."""
    place = os.environ.get(CACHE_VARIABLE) or Path(tempfile.gettempdir()) / f"serotine-shards-{getpass.getuser()}"
    return Path(place) / hashlib.blake2b(url.encode(), digest_size=12).hexdigest()
