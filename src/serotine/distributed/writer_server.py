"""The writer of one shard in a process of its own: an index on the local disk that begins as a snapshot."""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from serotine.distributed.shard_server import NotReady
from serotine.distributed.snapshot_cache import ShardSource, restored, shard_folder
from serotine.errors import IndexLockedError, NotAnIndexError, RepositoryError, reason
from serotine.index import Index, ShardWriter

FOLDER_PREFIX = "writing-"
_LOCK_SECONDS, _RETRY_SECONDS = 5.0, 0.05


class WriterServer:
    """Changes one shard, and answers requests to it; what it has committed is there when it is started again.

    Args:
        source: the snapshot that it begins as.
        folder: name of the index's folder, which is that of one writer.
    """

    def __init__(self, source: ShardSource, folder: str) -> None:
        self._source = source
        self._folder = shard_folder(source.url) / folder
        self._opening = threading.Lock()
        self._writer: ShardWriter | None = None

    def begin(self, needed: str) -> NotReady | None:
        """Create the index as a copy of the snapshot, with which it shares the immutable files.

        Only for a new writer: one that is started again must not begin empty, or changes would be lost. Indexes of
        writers that ended are removed, but for the folder `needed`, which has changes that no snapshot has.
        """
        try:
            snapshot = restored(self._source)
            with Index.open(snapshot.folder, read_only=True) as index:
                index.snapshot(self._folder, hard_links=True)
            self._opened()
            _remove_leftovers(self._folder.parent, needed)
        except (RepositoryError, OSError) as error:
            return NotReady(reason(error))
        return None

    def call(self, _state: str, method: str, arguments: tuple[Any, ...]) -> Any:
        """Return what a method of `ShardWriter` returns; `NotReady` where its index is gone."""
        try:
            writer = self._opened()
        except NotAnIndexError:
            return NotReady(f"its changes, which no snapshot has, were removed from {self._folder}")
        except IndexLockedError as error:
            return NotReady(reason(error))
        return getattr(writer, method)(*arguments)

    def ready(self, state: str) -> NotReady | int:
        """Return the process id once the index is open.

        Raises:
            IndexLockedError: another writer has it open.
        """
        with suppress(NotAnIndexError):
            self._opened()
        answer = self.call(state, "documents", ())
        return answer if isinstance(answer, NotReady) else os.getpid()

    def retire(self, _state: str, _newest: str) -> None:
        """See `ShardServer`: the index is needed until the writer ends."""

    def remove(self) -> None:
        """Remove the index, of which a snapshot has everything."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _opened(self) -> ShardWriter:
        with self._opening:
            end = time.monotonic() + _LOCK_SECONDS
            while self._writer is None:
                try:
                    self._writer = ShardWriter(Index.open(self._folder))
                except IndexLockedError:
                    # The process that this one replaces may be ending.
                    if time.monotonic() > end:
                        raise
                    time.sleep(_RETRY_SECONDS)
            return self._writer


def _remove_leftovers(parent: Path, needed: str) -> None:
    for folder in parent.glob(f"{FOLDER_PREFIX}*"):
        if folder.name != needed and not _is_open(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_open(folder: Path) -> bool:
    try:
        with suppress(NotAnIndexError):
            Index.open(folder).close()
    except IndexLockedError:
        return True
    return False
