"""The indexes that are served: readers that stay open, and a writer for the length of a change."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from serotine.errors import IndexLockedError, NotAnIndexError, SerotineError
from serotine.index import CATALOG_FILE, Index, load_encoder, read_settings
from serotine.serving.batching import BatchingEncoder
from serotine.serving.failures import Failure, read_only, unavailable
from serotine.serving.renewal import Retired, stamp_of
from serotine.serving.settings import ServerSettings
from serotine.serving.work import WorkPool
from serotine.text_encoder import TextEncoder
from serotine.texts import is_text

_log = logging.getLogger("serotine.serving")
T = TypeVar("T")
SUFFIX = ".serotine"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_AGAIN_SECONDS = 0.01


def name_of(path: Path) -> str:
    """The name an index is served under: its folder's, without the suffix."""
    return path.absolute().name.removesuffix(SUFFIX)


class ServedIndex:
    """One index: a reader for every search, and a turn at writing for every change.

    Other processes may write too: this server's other workers, or a command. The writer's lock is therefore held only
    while a change is made, and searches see what others commit.
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
        # Before it is opened: replaced in between, it is opened once more.
        self._stamp = stamp_of(path)
        self.reader = Index.open(path, read_only=True, encoder=encoder)
        self._lock_seconds = limits.lock_seconds
        # One thread: changes of one index follow each other, in the order they came. One that takes the place of
        # another goes on with its.
        self.changes = changes or WorkPool(f"write-{name}", threads=1, queue=limits.queue, seconds=limits.write_seconds)

    def is_current(self) -> bool:
        """Whether what is open is what is on disk; false when it was replaced or removed."""
        return self._stamp is not None and self._stamp == stamp_of(self.path)

    def change(self, work: Callable[[Index], T]) -> T:
        """What `work` makes of the index, open for writing; waits for the writer's lock, within bounds.

        Raises:
            Failure: 403 where nothing may be changed, 503 where another process kept the lock too long.
        """
        if not self.writable:
            raise read_only()
        until = time.monotonic() + self._lock_seconds
        while True:
            try:
                writer = Index.open(self.path, encoder=self.encoder)
            except IndexLockedError:
                if time.monotonic() > until:
                    raise unavailable(
                        f"{self.name}: another process has been writing for {self._lock_seconds:g} seconds; "
                        "try again later"
                    ) from None
                time.sleep(_AGAIN_SECONDS)
                continue
            with writer:
                return work(writer)

    def close(self) -> None:
        """Waits for the change that is being made, then lets go of the files."""
        self.changes.close()
        self.reader.close()


class ServedIndexes:
    """All of them, by name.

    Those that appear under the root, or are replaced on disk, are opened when they are asked for; those that were
    removed are let go of.
    """

    def __init__(self, settings: ServerSettings, observe_batch: Callable[[int], None]) -> None:
        self._settings = settings
        self._observe = observe_batch
        self._opening = threading.Lock()
        self._open: dict[str, ServedIndex] = {}
        self._refused: dict[str, str] = {}
        self._encoders: dict[str, BatchingEncoder] = {}
        self._default: BatchingEncoder | None = None
        # A request is answered within these; what it uses until then stays open.
        self._retired = Retired(max(settings.limits.seconds, settings.limits.write_seconds))
        try:
            for name, path in self._paths().items():
                self._open[name] = self._served(name, path)
        except BaseException:
            self.close()
            raise

    def get(self, name: str) -> ServedIndex:
        """The index of that name.

        Raises:
            NotAnIndexError: there is none.
            SerotineError: it, or its encoder, cannot be opened.
        """
        self._retired.sweep()
        served = self._open.get(name)
        if served is not None and served.is_current():
            return served
        path = self._paths().get(name)
        if path is None and served is None:
            raise _unknown(name)
        with self._opening:
            served = self._open.get(name)
            if served is not None and served.is_current():
                return served
            if path is None or not (path / CATALOG_FILE).is_file():
                if served is not None:
                    del self._open[name]
                    self._retired.put(served.close)
                raise _unknown(name)
            self._open[name] = renewed = self._served(name, path, None if served is None else served.changes)
            if served is not None:
                self._retired.put(served.reader.close)
            return renewed

    def all(self) -> list[ServedIndex]:
        """Every index that can be opened, by name; of another the log tells, once for each reason."""
        opened = []
        for name in sorted({*self._open, *self._paths()}):
            try:
                opened.append(self.get(name))
                self._refused.pop(name, None)
            except SerotineError as error:
                if self._refused.get(name) != str(error):
                    self._refused[name] = str(error)
                    _log.warning(f"{name!r} is not served: {error}")
        return opened

    def create(
        self, name: str, *, dim: int | None, nbits: int, keep_vectors: bool, filterable: dict[str, type]
    ) -> ServedIndex:
        """Makes an index under the root.

        Raises:
            Failure: 403 where the server has no root or changes nothing.
            IndexExistsError: the name is taken.
            ValueError: it can be no name.
        """
        if self._settings.read_only or self._settings.root is None:
            raise Failure(
                403, "read_only", "this server creates no indexes; start it with --root FOLDER, without --read-only"
            )
        if not _NAME.fullmatch(name) or name.endswith(SUFFIX):
            raise ValueError(
                f"name: want letters, digits, '.', '_' and '-', at most 100, a letter or digit first, got {name!r}"
            )
        if name in self._paths():
            raise Failure(409, "index_exists", f"name: there is an index {name!r} already; choose another name")
        encoder = self._default_encoder() if dim is None else None
        path = self._settings.root / f"{name}{SUFFIX}"
        Index.create(
            path, encoder=encoder, dim=dim, nbits=nbits, keep_vectors=keep_vectors, filterable=filterable
        ).close()
        return self.get(name)

    def encoder(self, model: str | None) -> BatchingEncoder:
        """An encoder by its name, or by the name of an index that uses it; that of the first index unless named.

        Raises:
            Failure: 404 where there is none of that name.
        """
        used = {served.name: served.encoder for served in self.all() if served.encoder is not None}
        known = {**{encoder.name: encoder for encoder in self._encoders.values()}, **used}
        if model is None:
            if used:
                return next(iter(used.values()))
            return self._default_encoder()
        if model not in known:
            names = ", ".join(map(repr, known)) or "none"
            raise Failure(404, "unknown_model", f"model: {model!r} is no encoder of this server; there are: {names}")
        return known[model]

    def close(self) -> None:
        """Closes every index; changes that have begun end first."""
        for served in self._open.values():
            served.close()
        self._retired.sweep(all_=True)

    def _default_encoder(self) -> BatchingEncoder:
        with self._opening:
            if self._default is None:
                from serotine.encoders import Encoder

                self._default = self._shared(Encoder())
            return self._default

    def _shared(self, encoder: TextEncoder) -> BatchingEncoder:
        """One copy of each model, however many indexes use it."""
        wrapped = BatchingEncoder(encoder, remembered=self._settings.query_cache, observe=self._observe)
        return self._encoders.setdefault(encoder.fingerprint, wrapped)

    def _served(self, name: str, path: Path, changes: WorkPool | None = None) -> ServedIndex:
        settings = read_settings(path)
        encoder = None
        if settings.encoder is not None and settings.fingerprint is not None:
            encoder = self._encoders.get(settings.fingerprint) or self._shared(load_encoder(settings, path))
        return ServedIndex(name, path, encoder, self._settings, changes)

    def _paths(self) -> dict[str, Path]:
        return {**self._found(), **self._settings.indexes}

    def _found(self) -> dict[str, Path]:
        """Indexes under the root, by every name that a request can say."""
        root = self._settings.root
        if root is None:
            return {}
        return {
            name: path
            for path in sorted(root.glob(f"*{SUFFIX}"))
            if (name := name_of(path)) and is_text(name) and (path / CATALOG_FILE).is_file()
        }


def _unknown(name: str) -> NotAnIndexError:
    return NotAnIndexError(f"{name!r}: no such index here; GET /v1/indexes lists them")
