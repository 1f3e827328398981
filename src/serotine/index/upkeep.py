"""An index as a whole: its statistics, its verification, its copies, and what can be saved of a damaged one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from serotine.errors import IndexDamagedError, IndexExistsError, NotAnIndexError, RepositoryError, check_flags
from serotine.index.container import DocumentContainer
from serotine.index.repository import PruneReport, SnapshotInfo, SnapshotRepository, repository_at
from serotine.index.results import IndexStats, VerifyReport
from serotine.index.stats import index_stats
from serotine.index.store import (
    CopyReport,
    SalvageReport,
    Store,
    beside,
    check_replaceable,
    checked_path,
    replace_index,
    restore_replaced_index,
    salvage_index,
)
from serotine.index.update_marks import updating
from serotine.index.verify import verify_index
from serotine.wording import local_fix


class Upkeep(DocumentContainer):
    """The operations of `Index` on an index as a whole."""

    def __reduce__(self) -> NoReturn:
        message = (
            f"index: cannot be pickled or copied; in each process, open it with Index.open({str(self._store.folder)!r})"
        )
        raise TypeError(message)

    def stats(self) -> IndexStats:
        """Return counts and sizes."""
        return index_stats(self._store)

    def verify(self) -> VerifyReport:
        """Read everything and check it: the database, every reference, every checksum.

        Raises:
            IndexDamagedError: lists everything that is damaged.
        """
        while True:
            snapshot = self._store.snapshot()
            try:
                return verify_index(self._store, snapshot)
            except IndexDamagedError:
                if self._store.snapshot() is snapshot:
                    raise
            # The index has changed meanwhile: the mismatch may be between two states.

    def updating(
        self, sources: Sequence[str], is_finished: Callable[[str], bool], splitting: str | None = None
    ) -> AbstractContextManager[None]:
        """Mark sources as unfinished while a block updates the index from them; `serotine.ingest` calls it.

        After the block, marks stay of those for which `is_finished` is not true; after an interruption, all of them.
        `splitting`: what `Sources.splitting` returns from now on; None: as before.
        """
        return updating(self._store, sources, is_finished, splitting)

    def snapshot(
        self,
        path: str | Path,
        *,
        hard_links: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        show_progress: bool = False,
    ) -> CopyReport:
        """Write a snapshot of one committed state; searches and changes continue meanwhile.

        It appears complete, or not at all. At a path it is a new folder, an index like any other. At a URL
        (``s3://bucket/wiki``, ``gs://``, ``file://``) it joins the other snapshots there, and only what none of them
        has is sent; what an interrupted snapshot has sent counts.

        Args:
            path: a folder that does not exist yet, or is empty; or a URL that fsspec knows, or a folder that has
                snapshots already.
            hard_links: share the immutable files with this index where the file system can: nearly free, but damage of
                the disk then hits both. Otherwise every file is copied, and checked on the way.
            storage_options: for the file system of a URL, such as credentials, as fsspec takes them.
            show_progress: report the transfer to a URL on standard error.

        Raises:
            IndexExistsError: `path` exists and is not an empty folder.
            RepositoryError: the URL cannot be written, or is being pruned.
            IndexDamagedError: a file is missing or damaged; nothing is written.

        >>> import tempfile
        >>> import numpy as np
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/fruit", dim=2) as index:
        ...     index.add(ids=["apple"], vectors=[np.eye(2)])
        ...     index.snapshot(f"{folder}/monday").documents
        ...     index.delete(["apple"]), len(index), len(Index.open(f"{folder}/monday", read_only=True))
        1
        (1, 0, 1)
        """
        check_flags(hard_links=hard_links, show_progress=show_progress)
        repository = repository_at(path, storage_options)
        if repository is None:
            return self._store.copy(checked_path(path).absolute(), hard_links=hard_links)
        if hard_links:
            raise ValueError(
                "hard_links: only a copy in a new folder has links, not a snapshot repository; leave it out"
            )
        self._store.require_open()
        return repository.write(self._store, show_progress=show_progress)

    @classmethod
    def restore(
        cls,
        snapshot: str | Path,
        path: str | Path,
        *,
        name: str | None = None,
        overwrite: bool = False,
        reuse: Sequence[str | Path] = (),
        storage_options: Mapping[str, Any] | None = None,
        show_progress: bool = False,
    ) -> CopyReport:
        """Write a snapshot to `path` as an index, checking every byte.

        The index is built beside `path` and takes its place when it is complete. Open readers of a replaced index raise
        `serotine.errors.IndexReplacedError` from then on; a server opens the new one by itself. A download that is
        interrupted stays beside `path`, and the next restore resumes it.

        Args:
            snapshot: what `Index.snapshot` wrote, at a path or URL, or any other index.
            path: the folder of the index.
            name: which snapshot of a URL; None: the newest.
            overwrite: replace an index that is at `path`; it is locked meanwhile, and stays if anything fails.
            reuse: folders of other indexes on the same disk, such as an earlier snapshot: immutable files that the
                snapshot at a URL has too are shared with them, after a check, instead of being fetched.
            storage_options: for the file system of a URL, as fsspec takes them.
            show_progress: report the transfer from a URL on standard error.

        Raises:
            IndexExistsError: `path` exists, and `overwrite` is False.
            NotAnIndexError: `snapshot` is not an index, or, with ``overwrite=True``, `path` is not.
            IndexLockedError: a writer has the index at `path` open.
            IndexDamagedError: the snapshot is damaged.
            RepositoryError: the URL cannot be read, or has no such snapshot.

        >>> import tempfile
        >>> import numpy as np
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Index.create(f"{folder}/fruit", dim=2) as index:
        ...         index.add(ids=["apple"], vectors=[np.eye(2)])
        ...     Index.restore(f"{folder}/fruit", f"{folder}/copy").documents
        1
        """
        check_flags(overwrite=overwrite, show_progress=show_progress)
        target = checked_path(path).absolute()
        repository = repository_at(snapshot, storage_options)
        restore_replaced_index(target)
        if repository is None:
            if name is not None:
                raise ValueError(f"name: only a snapshot repository has names, {str(snapshot)!r} is none; leave it out")
            return _restore(Path(snapshot), target, overwrite=overwrite, hard_links=False)
        # Before the download, and again after it.
        _check_target(target, overwrite=overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        download = beside(target, "restoring")
        folders = [Path(folder) for folder in reuse]
        with repository.fetched(name, download, folders, show_progress=show_progress) as (restored, transferred):
            # The files are linked to their place.
            report = _restore(download, target, overwrite=overwrite, hard_links=True)
        return replace(report, name=restored, transferred=transferred)

    @classmethod
    def snapshots(cls, url: str | Path, *, storage_options: Mapping[str, Any] | None = None) -> list[SnapshotInfo]:
        """Return the snapshots at a URL, oldest first.

        Args:
            url: where `Index.snapshot` wrote them: a URL, or the folder of a ``file://`` URL.
            storage_options: for the file system of a URL, as fsspec takes them.

        Raises:
            RepositoryError: the URL cannot be read, or the folder has no snapshots.

        >>> import tempfile
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/fruit", dim=2) as index:
        ...     name = index.snapshot(f"file://{folder}/backup").name
        ...     [snapshot.name == name for snapshot in Index.snapshots(f"file://{folder}/backup")]
        [True]
        """
        return _required(url, storage_options).snapshots()

    @classmethod
    def prune_snapshots(
        cls, url: str | Path, *, keep: int, storage_options: Mapping[str, Any] | None = None
    ) -> PruneReport:
        """Remove all snapshots at a URL but the newest ones, and what only those needed or was never completed.

        Args:
            url: see `Index.snapshots`.
            keep: number of snapshots to keep, at least 1.
            storage_options: for the file system of a URL, as fsspec takes them.

        Raises:
            RepositoryError: a snapshot is being written there; nothing is removed.
            IndexDamagedError: a snapshot to keep has a damaged manifest; nothing is removed.
        """
        return _required(url, storage_options).prune(keep)

    @classmethod
    def salvage(cls, path: str | Path, target: str | Path) -> SalvageReport:
        """Write everything that the checksums of a damaged index prove good to a new index; list what was lost.

        Args:
            path: the damaged index, which is only read.
            target: a folder that does not exist yet, or is empty.

        Raises:
            IndexExistsError: `target` exists and is not an empty folder.
            IndexLockedError: a writer has the index open.
            IndexDamagedError: the settings or the list of segments cannot be read: there is nothing to save.

        >>> import tempfile
        >>> import numpy as np
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Index.create(f"{folder}/fruit", dim=2) as index:
        ...         index.add(ids=["apple"], vectors=[np.eye(2)])
        ...     report = Index.salvage(f"{folder}/fruit", f"{folder}/saved")
        ...     report.documents, report.lost
        (1, ())
        """
        return salvage_index(checked_path(path).absolute(), checked_path(target).absolute())


def _required(url: str | Path, storage_options: Mapping[str, Any] | None) -> SnapshotRepository:
    repository = repository_at(url, storage_options)
    if repository is None:
        fix = local_fix(f"`serotine snapshot INDEX -o file://{Path(url).absolute()}` creates one")
        raise RepositoryError(f"{url}: not a snapshot repository; {fix}")
    return repository


def _restore(source: Path, target: Path, *, overwrite: bool, hard_links: bool) -> CopyReport:
    """Copy the index `source` to the place of the index `target`."""
    if not source.exists():
        raise NotAnIndexError(f"{source}: no such snapshot; check the path")
    store = Store.open(source, read_only=True)
    try:
        if target.exists() and target.samefile(store.folder):
            raise ValueError(f"path: must not be the snapshot itself, got {str(target)!r}; choose another path")
        _check_target(target, overwrite=overwrite)
        if not _occupied(target):
            return store.copy(target, hard_links=hard_links)
        with replace_index(target) as building:
            return store.copy(building, hard_links=hard_links)
    finally:
        store.close()


def _occupied(target: Path) -> bool:
    return target.is_dir() and any(target.iterdir())


def _check_target(target: Path, *, overwrite: bool) -> None:
    """Raise IndexExistsError or NotAnIndexError where a restored index cannot take the place of what is there."""
    if _occupied(target):
        if not overwrite:
            fix = local_fix("pass overwrite=True to replace it", command="pass --overwrite to replace it")
            raise IndexExistsError(f"{target}: already exists; {fix}")
        check_replaceable(target)
