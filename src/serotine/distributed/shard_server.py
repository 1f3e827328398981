"""One shard in a process of its own: snapshots, restored to the local disk, answer requests."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from serotine.distributed.snapshot_cache import RestoredSnapshot, ShardSource, remove_unused, restored
from serotine.errors import IndexReplacedError, RepositoryError, reason
from serotine.index import Index, Shard


@dataclass(frozen=True, slots=True)
class NotReady:
    """The answer of a shard that cannot open its snapshot."""

    reason: str


@dataclass(frozen=True, slots=True)
class _OpenSnapshot:
    snapshot: RestoredSnapshot
    shard: Shard


class ShardServer:
    """Answers requests to one shard, each of a snapshot; restores and opens a snapshot at its first request.

    Args:
        url: of its snapshots.
        storage_options: as fsspec takes them.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self._url = url
        self._storage_options = storage_options
        self._opening = threading.Lock()
        self._open: dict[str, _OpenSnapshot] = {}

    def call(self, snapshot: str, method: str, arguments: tuple[Any, ...]) -> Any:
        """Return what a method of `Shard` returns; `NotReady` where the snapshot cannot be opened."""
        try:
            shard = self._opened(snapshot)
        except (RepositoryError, OSError) as error:
            return NotReady(reason(error))
        try:
            return getattr(shard, method)(*arguments)
        except IndexReplacedError as error:
            # Who cleans up temporary files may remove it; the next request restores it.
            self._open.pop(snapshot, None)
            return NotReady(reason(error))

    def ready(self, snapshot: str) -> NotReady | int:
        """Return the process id once the snapshot is open."""
        answer = self.call(snapshot, "documents", ())
        return answer if isinstance(answer, NotReady) else os.getpid()

    def node(self) -> str:
        """Return the id of the Ray node that this runs on."""
        import ray

        node: str = ray.get_runtime_context().get_node_id()
        return node

    def retire(self, snapshot: str, newest: str) -> None:
        """Close a snapshot that no search needs any more, and free its space on the disk."""
        # The last of its requests closes it.
        self._open.pop(snapshot, None)
        with suppress(OSError):
            remove_unused(self._source(newest))

    def _opened(self, snapshot: str) -> Shard:
        with self._opening:
            opened = self._open.get(snapshot)
            if opened is None:
                on_disk = restored(self._source(snapshot))
                opened = self._open[snapshot] = _OpenSnapshot(
                    on_disk, Shard(Index.open(on_disk.folder, read_only=True))
                )  # fmt: skip
            return opened.shard

    def _source(self, snapshot: str) -> ShardSource:
        return ShardSource(self._url, snapshot, self._storage_options)
