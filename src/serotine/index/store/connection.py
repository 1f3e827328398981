"""The connection to a catalog: shared by threads, reopened in a forked process, refused once its file was replaced."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from serotine.errors import IndexReplacedError, NotAnIndexError, SerotineError, index_damaged
from serotine.index.files import SEGMENT_FOLDER
from serotine.index.store import commits, forks, record_checksums, schema, sql
from serotine.index.store.forks import ForkAware
from serotine.index.store.reserve import RESERVE_FILE
from serotine.index.store.settings import read_settings
from serotine.index.store.sqlite_errors import has_wal, structure_problem, translated_errors, unwritable
from serotine.index.store.writer_lock import LOCK_FILE

CATALOG_FILE = "catalog.sqlite"
# The files of an index that are not in its segment folder.
FILES_BESIDE = (
    *(f"{CATALOG_FILE}{suffix}" for suffix in ("", "-wal", "-shm", commits.NOTE_SUFFIX)),
    LOCK_FILE,
    RESERVE_FILE,
)
# Seconds that a fork waits for a statement of another thread.
_FORK_TIMEOUT = 10


def require_regular_files(folder: Path) -> None:
    """Check that the catalog, and what is beside it, are files of this folder.

    SQLite puts the WAL beside the file that a symlink points to, and opening a FIFO waits for its other end; a symlink
    of an index from elsewhere could have any file overwritten, or any folder's files removed.

    Raises:
        SerotineError: one is a symlink.
        IndexDamagedError: one is a FIFO, a folder, or anything else that is no file.
    """
    for name in (*FILES_BESIDE, SEGMENT_FOLDER):
        path = folder / name
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue
        if stat.S_ISLNK(mode):
            fix = "put the file itself there; to have an index elsewhere, link its whole folder"
            raise SerotineError(f"{path}: must not be a symlink; {fix}")
        if not stat.S_ISREG(mode) and name != SEGMENT_FOLDER:
            raise index_damaged(f"{path}: not a regular file")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # Catalog's lock serializes statements, so any thread may use the connection.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=30
    )
    try:
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=FULL")
        # Also flushes the disk's own cache, where fsync does not (macOS).
        connection.execute("PRAGMA fullfsync=ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _stamp(path: Path) -> tuple[int, int, bool]:
    """Return values that change when another process writes the catalog, or starts to."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size, has_wal(path)


def _identity(path: Path) -> tuple[int, int]:
    """Return device and inode: no other file gets those of a file that is open."""
    status = path.stat()
    return status.st_dev, status.st_ino


def copy_database(connection: sqlite3.Connection, path: Path) -> None:
    """Copy a database to a new file at `path`, through SQLite's backup, and check the structure of the copy."""
    copy = sqlite3.connect(path, isolation_level=None)
    try:
        copy.execute("PRAGMA synchronous=FULL")
        copy.execute("PRAGMA fullfsync=ON")
        connection.backup(copy)
        copy.execute("PRAGMA journal_mode=WAL")
        problem = structure_problem(copy)
    finally:
        copy.close()
    if problem is not None:
        raise index_damaged(f"{path.name}: {problem}")


class CatalogConnection(ForkAware):
    """An open catalog without its tables; every method is thread-safe.

    Raises:
        NotAnIndexError: the folder holds no catalog, or one of another format.
        IndexDamagedError: the catalog is not a readable database.
        SerotineError: it is to be changed, and the folder is not writable.
    """

    def __init__(self, folder: Path, *, read_only: bool) -> None:
        self._lock = threading.RLock()
        self._path = path = folder / CATALOG_FILE
        self._read_only = read_only
        self._closed = False
        self._inherited = False
        self._fork_locked = False
        self._reconnections = 0
        if not folder.exists():
            raise NotAnIndexError(f"{folder}: no such folder; create an index there first", str(folder))
        require_regular_files(folder)
        if not path.is_file():
            raise NotAnIndexError(f"{folder}: not a Serotine index (it has no {CATALOG_FILE})", str(folder))
        try:
            with translated_errors(self._path):
                self._connect_first()
        except SerotineError as error:
            # Where there is a WAL, the error says what to do about its commits.
            is_plain = type(error) is SerotineError and not has_wal(path)
            if is_plain and not read_only and not os.access(folder, os.W_OK):
                raise unwritable(folder, "no permission to write there, or a read-only file system") from error
            raise
        forks.watch(self)

    def _connect_first(self) -> None:
        self._open()
        try:
            self.settings = read_settings(self._connection, self._path)
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> None:
        mode = "mode=ro" if self._read_only else "mode=rw"
        stamp = _stamp(self._path)
        # A reader without write permission in the folder cannot create SQLite's shared memory there. While no
        # commit is in a WAL, the file alone is complete, and is read as immutable until its stamp changes.
        immutable = self._read_only and not stamp[2] and not os.access(self._path.parent, os.W_OK)
        self._immutable_stamp = stamp if immutable else None
        self._mode = "immutable=1" if immutable else mode
        self._connection = _connect(self._path, self._mode)
        try:
            schema.require_tables_only(self._connection, self._path)
        except BaseException:
            self._connection.close()
            raise
        self._identity = _identity(self._path)

    def _reopen(self) -> None:
        self._open()
        try:
            commits.require_all(self._connection, self._path)
        except BaseException:
            self._connection.close()
            raise
        self._reconnections += 1

    @contextmanager
    def _statements(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection to one thread at a time."""
        with self._lock:
            self._require_open()
            self._require_in_place()
            with translated_errors(self._path):
                if self._inherited:
                    self._reopen()
                    self._inherited = False
                yield self._connection

    def before_fork(self) -> None:
        """Wait for the statement that another thread is running."""
        self._fork_locked = self._lock.acquire(timeout=_FORK_TIMEOUT)

    def after_fork_in_parent(self) -> None:
        """Let other threads run statements again."""
        if self._fork_locked:
            self._lock.release()

    def after_fork(self) -> None:
        """Leave the parent's connection; the next read opens one of this process."""
        self._lock = threading.RLock()
        self._read_only = True
        if self._closed or self._inherited:
            return
        self._inherited = True
        # Closed, because SQLite would take the parent's locks for this process's. The parent still has the database
        # open, so closing writes nothing; within a transaction it would.
        if self._fork_locked and not self._connection.in_transaction:
            self._connection.close()
        else:
            forks.leak(self._connection)

    def _require_open(self) -> None:
        if self._closed:
            raise SerotineError(f"{self._path.parent}: this index is closed; open it again")

    def _require_in_place(self) -> None:
        """Raise IndexReplacedError where the folder has another catalog than the open one, or none."""
        try:
            current = _identity(self._path)
        except (FileNotFoundError, NotADirectoryError):
            raise IndexReplacedError(f"{self._path.parent}: was removed; open another index") from None
        if current != self._identity:
            raise IndexReplacedError(f"{self._path.parent}: was replaced by another index; open it again")

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._closed = True
            if not self._inherited:
                self._connection.close()

    def __del__(self) -> None:
        # A connection refers to itself through its statement cache: only closing it frees its files at once.
        connection: sqlite3.Connection | None = getattr(self, "_connection", None)
        if connection is not None and not self._inherited:
            connection.close()

    def version(self) -> tuple[int, int]:
        """Return a value that changes when another connection commits."""
        with self._statements() as connection:
            if self._immutable_stamp is not None and self._immutable_stamp != _stamp(self._path):
                connection.close()
                self._reopen()
            return self._reconnections, int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction: committed when the block ends, rolled back when it raises.

        An exception does not prove that nothing was committed: an interrupt may arrive just after COMMIT returned, and
        a COMMIT that failed to reach the disk may still be there after a crash.
        """
        with self._statements() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                # What this transaction does not change must not get a checksum of its damage.
                record_checksums.require_intact(connection, self._path)
                yield connection
                number = commits.increment(connection)
                record_checksums.renew(connection, number)
                sql.commit(connection)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            commits.note(self._path, number)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Run several reads of one committed state."""
        with self._statements() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def _one_state(self) -> Iterator[sqlite3.Connection]:
        """Yield another connection that reads one committed state until the block ends."""
        with self._statements():
            connection = _connect(self._path, self._mode)
        try:
            self._require_in_place()
            with translated_errors(self._path):
                connection.execute("BEGIN")
                yield connection
        finally:
            connection.close()

    def lost_commits(self) -> str | None:
        """Return in words that a process which opens the index now misses commits; this one may still see them."""
        self._require_open()
        missing = commits.missing_on_disk(self._path, self._count_without_wal)
        return commits.loss(self._path, missing) if missing else None

    def _count_without_wal(self) -> int:
        # While the WAL has newer pages, the database alone need not be whole.
        try:
            with closing(_connect(self._path, "immutable=1")) as connection:
                return commits.count(connection)
        except (sqlite3.DatabaseError, ValueError):
            return 0

    def copy_to(self, path: Path) -> None:
        """Write one committed state to a new database at `path`, on disk; changes and searches continue meanwhile.

        Raises:
            IndexDamagedError: the structure of the database is damaged.
        """
        with self._one_state() as connection, translated_errors(path):
            copy_database(connection, path)

    def require_intact_records(self) -> None:
        """Raise IndexDamagedError where rows of segments, codebooks or values are not what was written."""
        with self._statements() as connection:
            record_checksums.require_intact(connection, self._path)

    def require_commits(self) -> None:
        """Raise IndexDamagedError where commits are missing that were on disk."""
        with self._statements() as connection:
            commits.require_all(connection, self._path)

    def empty_wal(self) -> None:
        """Move the commits out of the WAL and cut it, as far as open readers and the disk let it; without waiting."""
        with self._lock, suppress(sqlite3.Error):
            (timeout,) = self._connection.execute("PRAGMA busy_timeout").fetchone()
            self._connection.execute("PRAGMA busy_timeout=0")
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._connection.execute(f"PRAGMA busy_timeout={timeout}")

    def growth(self) -> int:
        """Return how many bytes the database lacks to take what is in the WAL, and in the transaction that is open."""
        with self._statements() as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        return max(int(pages) * int(page_size) - self._path.stat().st_size, 0)

    def close_writer(self) -> None:
        """Move the commits out of the WAL, as far as open readers let it, and close; requires the writer lock."""
        with self._lock:
            # On a full disk they stay there, which is no less safe.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self.close()
            commits.forget(self._path)
