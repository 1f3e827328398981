"""The served indexes: readers that stay open, and a writer for the duration of a change."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from serotine.errors import IndexLockedError, NotAnIndexError, SerotineError, ServerError, shown
from serotine.index import Index, Settings, load_encoder, read_settings
from serotine.serving.batching import BatchingEncoder
from serotine.serving.errors import read_only, unavailable
from serotine.serving.index_folders import SUFFIX, DelayedClose, catalog_id, index_name, is_index
from serotine.serving.served_shards import ServedShards
from serotine.serving.server_paths import ServerPaths
from serotine.serving.settings import ServerSettings
from serotine.serving.work_pool import WorkPool
from serotine.text_encoder import TextEncoder
from serotine.texts import is_text

_log = logging.getLogger("serotine.serving")
T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LOCK_RETRY_SECONDS = 0.01
# Names of indexes in an error message.
_MAX_SHOWN = 10


class ServedIndex:
    """One index: a reader for all searches, and a writer opened for each change.

    Other processes may write too: this server's other workers, or a command. The writer lock is therefore held only
    during a change, and searches see what others commit.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        encoder: BatchingEncoder | None,
        settings: ServerSettings,
        changes: WorkPool | None = None,
    ) -> None:
        limits = settings.limits
        self.name = name
        self.path = path
        self.encoder = encoder
        self.writable = not settings.read_only
        # Before opening: an index replaced in between is opened again at the next request.
        self._catalog_id = catalog_id(path)
        self.reader = Index.open(path, read_only=True, encoder=encoder)
        self._lock_seconds = limits.lock_seconds
        # One thread: changes of an index run in the order they came. A replaced index keeps its pool.
        self.changes = changes or WorkPool(f"write-{name}", threads=1, queue=limits.queue, seconds=limits.write_seconds)

    def is_current(self) -> bool:
        """Return whether the open index is the one on disk; false when it was replaced or removed."""
        return self._catalog_id is not None and self._catalog_id == catalog_id(self.path)

    def change(self, work: Callable[[Any], T]) -> T:
        """Return the result of `work` on the index, open for writing.

        Raises:
            ServerError: 403 on a read-only server, 503 where another process holds the writer lock too long.
        """
        if not self.writable:
            raise read_only()
        deadline = time.monotonic() + self._lock_seconds
        while True:
            try:
                writer = Index.open(self.path, encoder=self.encoder)
            except IndexLockedError:
                if time.monotonic() > deadline:
                    raise unavailable(
                        f"{self.name}: another process has held the writer lock for {self._lock_seconds:g} seconds; "
                        "retry later"
                    ) from None
                time.sleep(_LOCK_RETRY_SECONDS)
                continue
            with writer:
                return work(writer)

    def close(self) -> None:
        """Wait for the change in progress, then close the files."""
        self.changes.close()
        self.reader.close()


class ServedIndexes:
    """All served indexes, by name.

    Indexes that appear under the root, or are replaced on disk, are opened when they are requested; removed ones are
    closed.
    """

    def __init__(self, settings: ServerSettings, observe_batch: Callable[[int], None], paths: ServerPaths) -> None:
        self._settings = settings
        self._observe_batch = observe_batch
        self._paths_shown = paths
        self._opening = threading.Lock()
        self._open: dict[str, ServedIndex] = {}
        self._shards: dict[str, ServedShards] = {}
        # By fingerprint: one copy of each model, however many indexes use it.
        self._encoders: dict[str, BatchingEncoder] = {}
        self._default: BatchingEncoder | None = None
        # Reason by name, so that each is logged once.
        self._failed: dict[str, str] = {}
        # By then, every request that may still use a replaced index has timed out.
        self._retired = DelayedClose(max(settings.limits.seconds, settings.limits.write_seconds))
        try:
            for name, path in self._paths().items():
                self._open[name] = self._open_index(name, path)
            for name, opener in settings.shards.items():
                of_shards = opener.settings()
                self._shards[name] = ServedShards(name, opener, self._encoder_of(of_shards, name), settings)
        except BaseException:
            self.close()
            raise

    def get(self, name: str) -> ServedIndex | ServedShards:
        """Return the index of that name.

        Raises:
            NotAnIndexError: no index has that name.
            SerotineError: the index, or its encoder, cannot be opened.
        """
        self._retired.sweep()
        if name in self._shards:
            return self._shards[name]
        served = self._open.get(name)
        if served is not None and served.is_current():
            return served
        path = self._paths().get(name)
        if path is None and served is None:
            raise self._unknown(name)
        with self._opening:
            served = self._open.get(name)
            if served is not None and served.is_current():
                return served
            if path is None or not is_index(path):
                if served is not None:
                    del self._open[name]
                    self._retired.schedule(served.close)
                raise self._unknown(name)
            self._open[name] = renewed = self._open_index(name, path, None if served is None else served.changes)
            if served is not None:
                self._retired.schedule(served.reader.close)
            return renewed

    def all(self) -> list[ServedIndex | ServedShards]:
        """Return every index that can be opened; log the others, once for each reason.

        Those that were named when the server started come first, in that order, then those of its root by name.
        """
        opened: list[ServedIndex | ServedShards] = []
        under_root = sorted({*self._open, *self._under_root()})
        for name in dict.fromkeys([*self._settings.indexes, *self._shards, *under_root]):
            try:
                opened.append(self.get(name))
                self._failed.pop(name, None)
            except SerotineError as error:
                if self._failed.get(name) != str(error):
                    self._failed[name] = str(error)
                    _log.warning(f"{name!r} is not served: {error}")
        return opened

    def create(
        self, name: str, *, dim: int | None, nbits: int, keep_vectors: bool, filterable: dict[str, type]
    ) -> ServedIndex | ServedShards:
        """Create an index under the root.

        Raises:
            ServerError: 403 where the server has no root or is read-only, 409 where the name is taken.
            IndexExistsError: the folder exists.
            ValueError: not a valid name.
        """
        if self._settings.read_only or self._settings.root is None:
            raise ServerError(
                "this server creates no indexes; it must be writable, and have a folder for new ones",
                status=403,
                code="read_only",
            )
        if not _NAME.fullmatch(name) or name.endswith(SUFFIX):
            raise ValueError(
                f"name: must be at most 100 letters, digits, '.', '_' and '-', a letter or digit first, got {name!r}"
            )
        if name in self._paths() or name in self._shards:
            raise ServerError(
                f"name: index {name!r} already exists; choose another name", status=409, code="index_exists"
            )
        encoder = self._default_encoder() if dim is None else None
        path = self._settings.root / f"{name}{SUFFIX}"
        Index.create(
            path, encoder=encoder, dim=dim, nbits=nbits, keep_vectors=keep_vectors, filterable=filterable
        ).close()
        return self.get(name)

    def encoder(self, model: str | None) -> BatchingEncoder:
        """Return an encoder by its name or by the name of an index that uses it; by default, the first index's.

        Raises:
            ServerError: 404 where no encoder has that name.
        """
        by_index = {served.name: served.encoder for served in self.all() if served.encoder is not None}
        by_name = {self._paths_shown.hidden(encoder.name): encoder for encoder in self._encoders.values()}
        encoders = {**by_name, **by_index}
        if model is None:
            if by_index:
                return next(iter(by_index.values()))
            return self._default_encoder()
        if model not in encoders:
            names = ", ".join(map(repr, encoders)) or "none"
            raise ServerError(f"model: unknown {model!r}; available: {names}", status=404, code="unknown_model")
        return encoders[model]

    def close(self) -> None:
        """Close every index, after the changes in progress."""
        for served in self._open.values():
            served.close()
        for shards in self._shards.values():
            shards.close()
        self._retired.sweep(everything=True)

    def _default_encoder(self) -> BatchingEncoder:
        with self._opening:
            if self._default is None:
                from serotine.encoders import Encoder

                self._default = self._batching_encoder(Encoder())
            return self._default

    def _batching_encoder(self, encoder: TextEncoder) -> BatchingEncoder:
        batching = BatchingEncoder(encoder, cache_size=self._settings.query_cache, observe=self._observe_batch)
        return self._encoders.setdefault(encoder.fingerprint, batching)

    def _open_index(self, name: str, path: Path, changes: WorkPool | None = None) -> ServedIndex:
        return ServedIndex(name, path, self._encoder_of(read_settings(path), path), self._settings, changes)

    def _encoder_of(self, settings: Settings, place: str | Path) -> BatchingEncoder | None:
        if settings.encoder is not None and Path(settings.encoder).is_absolute():
            self._paths_shown.add_folder(Path(settings.encoder))
        if settings.fingerprint is None:
            return None
        return self._encoders.get(settings.fingerprint) or self._batching_encoder(load_encoder(settings, place))

    def _paths(self) -> dict[str, Path]:
        return {**self._under_root(), **self._settings.indexes}

    def _under_root(self) -> dict[str, Path]:
        """Return the indexes under the root whose names a request can carry."""
        root = self._settings.root
        if root is None:
            return {}
        return {
            name: path
            for path in sorted(root.glob(f"*{SUFFIX}"))
            if (name := index_name(path)) and is_text(name) and is_index(path)
        }

    def _unknown(self, name: str) -> NotAnIndexError:
        names = sorted([*(other for other, path in self._paths().items() if is_index(path)), *self._shards])
        more = f" (and {len(names) - _MAX_SHOWN:,} more)" if len(names) > _MAX_SHOWN else ""
        available = ", ".join(map(repr, names[:_MAX_SHOWN])) or "none"
        return NotAnIndexError(f"index: unknown {shown(name)}; available: {available}{more}")
