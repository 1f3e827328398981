"""The store of one index: its folder, writer lock, catalog and current snapshot."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from serotine.errors import ReadOnlyError, SerotineError
from serotine.index.files import SegmentRecord, token_bytes
from serotine.index.store import folder as folders
from serotine.index.store import forks, reserve
from serotine.index.store.catalog import Catalog
from serotine.index.store.connection import CATALOG_FILE
from serotine.index.store.copies import CommittedState, CopyReport, committed_state, copy_index
from serotine.index.store.forks import ForkAware
from serotine.index.store.settings import Settings
from serotine.index.store.snapshot import Snapshot, load_snapshot
from serotine.index.store.source_catalog import Sources
from serotine.index.store.sqlite_errors import has_wal, is_disk_full
from serotine.index.store.transaction import Transaction
from serotine.index.store.writer_lock import WriterLock, is_held
from serotine.wording import worded

_log = logging.getLogger("serotine.index")


class Store(ForkAware):
    """An open index on disk, from which everything is read and through which every change is committed.

    Reading is thread-safe. A thread that changes the index holds `changes`. Dropping the last reference closes the
    store: nothing that it owns refers back to it.

    Attributes:
        folder: the index's folder, absolute.
        catalog: the open catalog; read from it, change it with `transaction`.
        changes: reentrant lock that serializes the changes of this process.
    """

    def __init__(self, folder: Path, catalog: Catalog, lock: WriterLock | None) -> None:
        self.folder = folder
        self.catalog = catalog
        self.changes = threading.RLock()
        self._lock = lock
        self._refreshing = threading.Lock()
        self._closed = False
        self._forked = False
        self._freeing = self._scarce = False
        self._updates = 0
        self._version: tuple[int, int] | None = catalog.version()
        self._snapshot = load_snapshot(folder, catalog, None)
        forks.watch(self)

    def after_fork(self) -> None:
        """Become a reader: the writer lock stays with the parent process."""
        self.changes = threading.RLock()
        self._refreshing = threading.Lock()
        self._forked = self._lock is not None
        self._version = None

    @staticmethod
    def create(path: str | Path, settings: Settings) -> None:
        """Create an index without documents: complete and on disk, or not at all.

        Raises:
            IndexExistsError: `path` exists and is not an empty folder that can be replaced.
        """
        folders.create_folder(folders.checked(path).absolute(), settings)

    @staticmethod
    def exists(path: str | Path) -> bool:
        """Return whether the folder `path` holds a catalog; `open` checks whether it is an index's."""
        return (folders.checked(path) / CATALOG_FILE).is_file()

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool) -> Store:
        """Open the index at `path`; a writer also removes the files that a dead writer left.

        Raises:
            NotAnIndexError: `path` is not an index, or one of another format.
            IndexLockedError: another writer has it open.
            IndexDamagedError: a file is missing, truncated or damaged.
        """
        # Absolute: the process may change its current folder while the index is open.
        folder = folders.checked(path).absolute()
        catalog = Catalog(folder, read_only=read_only)
        lock: WriterLock | None = None
        try:
            if not read_only:
                lock = WriterLock(folder)
            catalog.require_commits()
            if lock is not None:
                folders.sweep(folder, catalog)
            return cls(folder, catalog, lock)
        except BaseException:
            if lock is not None:
                lock.release()
            catalog.close()
            raise

    def close(self) -> None:
        """Close the files and, for a writer, release the lock. Closing twice is harmless."""
        with self.changes:
            if self._closed:
                return
            self._closed = True
            self._snapshot = Snapshot({}, {})
            if self.writable:
                self.catalog.close_writer()
            else:
                self.catalog.close()
            if self._lock is not None:
                self._lock.release()

    @property
    def settings(self) -> Settings:
        """Settings fixed when the index was created."""
        return self.catalog.settings

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def writable(self) -> bool:
        """Whether this process holds the writer lock through this store."""
        return self._lock is not None and not self._forked

    @property
    def has_running_update(self) -> bool:
        """Whether updates that are unfinished may still be running: here, or where the index is open for writing."""
        return bool(self._updates) if self.writable else is_held(self.folder)

    @property
    def interrupted(self) -> tuple[str, ...]:
        """Files and folders whose update was interrupted."""
        unfinished = self.snapshot().unfinished
        return () if unfinished and self.has_running_update else unfinished

    @contextmanager
    def update_running(self) -> Iterator[None]:
        """Report an update as running, not as interrupted, until the block ends."""
        self.require_writer()
        with self.changes:
            self._updates += 1
        try:
            yield
        finally:
            with self.changes:
                self._updates -= 1

    @property
    def sources(self) -> Sources:
        """The files that documents were read from."""
        self.require_open()
        return Sources(self.catalog.reading, self._catalog_file)

    @property
    def catalog_bytes(self) -> int:
        """Size of the catalog's database file."""
        return self._catalog_file.stat().st_size

    @property
    def _catalog_file(self) -> Path:
        return self.folder / CATALOG_FILE

    def require_open(self) -> None:
        """Raise SerotineError if the store was closed."""
        if self._closed:
            raise SerotineError(f"{self.folder}: this index is closed; open it again")

    def require_writer(self) -> None:
        """Raise ReadOnlyError unless the store is open for writing."""
        self.require_open()
        if self._forked:
            raise ReadOnlyError(
                f"{self.folder}: opened for writing by the process that this one was forked from; "
                "open it again in the process that changes it"
            )
        if not self.writable:
            opened = worded(
                "opened with read_only=True; open it for writing to change it", http="open for reading, not for changes"
            )
            raise ReadOnlyError(f"{self.folder}: {opened}")

    def snapshot(self) -> Snapshot:
        """Return the newest committed state; reload it when another process has committed."""
        self.require_open()
        with self._refreshing:
            version = self.catalog.version()
            if version != self._version:
                self._snapshot = load_snapshot(self.folder, self.catalog, self._snapshot)
                self._version = version
                _log.debug("%s: %d segments after a commit", self.folder, len(self._snapshot.segments))
            return self._snapshot

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Run a transaction: committed when the block ends, rolled back when it raises; see `Catalog.transaction`."""
        self.require_writer()
        if not self._freeing:
            reserve.hold(self._catalog_file, self._space_needed())
        try:
            with self.catalog.transaction() as connection:
                yield Transaction(connection)
                if self._scarce:
                    reserve.set_aside(self._catalog_file, self.catalog.growth())
        finally:
            # Committed or not, the next search reads the catalog again. The lock: a search that is refreshing now may
            # have read the state before, and must not record it as the newest afterwards.
            with self._refreshing:
                self._version = None

    @contextmanager
    def freeing_space(self) -> Iterator[None]:
        """Give up the reserve of a full disk to changes that free space; requires `changes`."""
        self.require_writer()
        if self._freeing:
            yield
            return
        self._freeing = True
        try:
            with reserve.released(self._catalog_file, self._space_needed) as scarce:
                self._scarce = scarce
                # Before as well: SQLite goes on at the end of the WAL until what it holds is in the catalog.
                if scarce:
                    self._empty_wal()
                try:
                    yield
                finally:
                    if scarce:
                        self._empty_wal()
                        # Closes the files that were replaced, whose space is free then.
                        with suppress(OSError, SerotineError):
                            self.snapshot()
        except (OSError, SerotineError) as error:
            if self._scarce and is_disk_full(error) and has_wal(self._catalog_file):
                raise OSError(
                    errno.ENOSPC,
                    "the disk is full, and a read of this or another process that has not ended holds what deletions "
                    "free; end it (an iteration over documents(): to its end, or close it), then try again",
                    str(self.folder),
                ) from error
            raise
        finally:
            self._freeing = self._scarce = False

    def _empty_wal(self) -> None:
        """Empty the WAL of a full disk; where it is read, keep what is needed to do so later."""
        with suppress(OSError):
            reserve.set_aside(self._catalog_file, 0)
            self.catalog.empty_wal()
            reserve.set_aside(self._catalog_file, self.catalog.growth())

    @property
    def segment_tokens(self) -> int:
        """How many tokens a segment of several documents may have, so that it can be rewritten on a full disk."""
        settings = self.settings
        size = token_bytes(
            settings.dim, settings.nbits, keep_vectors=settings.keep_vectors, pooled_dim=settings.pooled_dim
        )
        return max(self._segment_limit // size, 1)

    @property
    def _segment_limit(self) -> int:
        return reserve.segment_limit(self._catalog_file, sum(record.bytes for record in self._snapshot.records))

    def require_space(self, growth: int, records: Sequence[SegmentRecord] = (), *, freed: int = 0) -> None:
        """Check that documents can still be deleted, and the index compacted, after a change.

        Args:
            growth: bytes that it adds to the catalog, about.
            records: its segments, which are written.
            freed: bytes of what it replaces.

        Raises:
            OSError: the disk is too full.
        """
        space = self._space_needed(records) + growth
        reserve.require(self._catalog_file, space, freed=freed, released=self._freeing)

    def _space_needed(self, records: Sequence[SegmentRecord] = ()) -> int:
        """Return how many bytes deletions and compaction may take, with segments that are not in the catalog yet."""
        return reserve.needed(self._catalog_file, min(self._largest_rewrite(records), self._segment_limit))

    def _largest_rewrite(self, records: Sequence[SegmentRecord]) -> int:
        """Return the size in bytes of the largest segment, of what was last seen, that can be left with documents."""
        known = (*self._snapshot.records, *records)
        return max((record.bytes for record in known if record.documents > 1), default=0)

    def copy(self, target: Path, *, hard_links: bool = False) -> CopyReport:
        """Copy the newest committed state to a new index; see `copy_index`."""
        self.require_open()
        return copy_index(self.folder, self.catalog, target, hard_links=hard_links)

    @contextmanager
    def committed_state(self, building: Path) -> Iterator[CommittedState]:
        """Yield the newest committed state, with a copy of the catalog in the folder `building`."""
        self.require_open()
        with committed_state(self.folder, self.catalog, building) as state:
            yield state

    def new_file(self, kind: str) -> Path:
        """Return a path for a new file of the index, with a name that was never used."""
        return folders.new_file(self.folder, kind)

    def stray_files(self) -> list[str]:
        """Return files that the catalog does not name: a writer died between writing and committing them."""
        return folders.stray_files(self.folder, self.catalog)

    def sweep(self) -> None:
        """Remove stray files; requires the writer lock."""
        folders.sweep(self.folder, self.catalog)


def read_settings(path: str | Path) -> Settings:
    """Return the settings of the index at `path` without opening its segments.

    Raises:
        NotAnIndexError: `path` is not an index, or one of another format.
        IndexDamagedError: the catalog is not a readable database.
    """
    catalog = Catalog(folders.checked(path).absolute(), read_only=True)
    catalog.close()
    return catalog.settings
