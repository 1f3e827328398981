"""A served index in shards, which this process opens once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from serotine.errors import SerotineError
from serotine.serving.batching import BatchingEncoder
from serotine.serving.errors import read_only
from serotine.serving.open_index import ShardsOpener
from serotine.serving.settings import ServerSettings
from serotine.serving.work_pool import WorkPool

_log = logging.getLogger("serotine.serving")
T = TypeVar("T")
_REFRESH_SECONDS = 30.0


class ServedShards:
    """One index in shards; see `ServedIndex`.

    A change is answered when its snapshot is in storage. Snapshots of others are searched within half a minute.
    """

    def __init__(
        self, name: str, opener: ShardsOpener, encoder: BatchingEncoder | None, settings: ServerSettings
    ) -> None:
        limits = settings.limits
        self.name = name
        self.encoder = encoder
        self.writable = not settings.read_only
        self.reader = opener.open(encoder)
        self.changes = WorkPool(f"write-{name}", threads=1, queue=limits.queue, seconds=limits.write_seconds)
        self._closing = threading.Event()
        self._refreshing = threading.Thread(target=self._refresh, daemon=True)
        self._refreshing.start()

    def is_current(self) -> bool:
        """Return True: the shards are replaced behind the open index."""
        return True

    def change(self, work: Callable[[Any], T]) -> T:
        """Return the result of `work` on the index, when its snapshot is in storage.

        Raises:
            ServerError: 403 on a read-only server.
        """
        if not self.writable:
            raise read_only()
        result = work(self.reader)
        self.reader.snapshot()
        return result

    def close(self) -> None:
        """Wait for the change in progress, then end the processes of the shards."""
        self._closing.set()
        self.changes.close()
        self._refreshing.join()
        self.reader.close()

    def _refresh(self) -> None:
        failed = ""
        while not self._closing.wait(_REFRESH_SECONDS):
            try:
                self.reader.refresh()
                failed = ""
            except SerotineError as error:
                if str(error) != failed:
                    failed = str(error)
                    _log.warning(f"{self.name!r} is served as it was: {error}")
