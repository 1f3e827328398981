"""An index as a whole: its statistics, its verification, its copies, and what can be saved of a damaged one."""

from __future__ import annotations

from pathlib import Path

from serotine.errors import IndexDamagedError, IndexExistsError
from serotine.index.container import DocumentContainer
from serotine.index.results import IndexStats, VerifyReport
from serotine.index.stats import index_stats
from serotine.index.store import (
    CopyReport,
    SalvageReport,
    Store,
    checked_path,
    replace_index,
    restore_replaced_index,
    salvage_index,
)
from serotine.index.verify import verify_index


class Upkeep(DocumentContainer):
    """The operations of `Index` on an index as a whole."""

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

    def snapshot(self, path: str | Path, *, hard_links: bool = False) -> CopyReport:
        """Write a copy of one committed state to a new index at `path`; searches and changes continue meanwhile.

        The copy appears complete and on disk, or not at all. It is an index like any other.

        Args:
            path: a folder that does not exist yet, or is empty.
            hard_links: share the immutable files with this index where the file system can: nearly free, but damage of
                the disk then hits both. Otherwise every file is copied, and checked on the way.

        Raises:
            IndexExistsError: `path` exists and is not an empty folder.
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
        target = checked_path(path).absolute()
        return self._store.copy(target, hard_links=hard_links)

    @classmethod
    def restore(cls, snapshot: str | Path, path: str | Path, *, overwrite: bool = False) -> CopyReport:
        """Write a copy of the index `snapshot` to `path`, checking every file.

        The copy is built beside `path` and takes its place when it is complete. Open readers of a replaced index raise
        `serotine.errors.IndexReplacedError` from then on; a server opens the new one by itself.

        Args:
            snapshot: what `Index.snapshot` wrote, or any other index.
            path: the folder of the index.
            overwrite: replace an index that is at `path`; it is locked meanwhile, and stays if anything fails.

        Raises:
            IndexExistsError: `path` exists, and `overwrite` is False.
            NotAnIndexError: `snapshot` is not an index, or, with ``overwrite=True``, `path` is not.
            IndexLockedError: a writer has the index at `path` open.
            IndexDamagedError: the snapshot is damaged.

        >>> import tempfile
        >>> import numpy as np
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Index.create(f"{folder}/fruit", dim=2) as index:
        ...         index.add(ids=["apple"], vectors=[np.eye(2)])
        ...     Index.restore(f"{folder}/fruit", f"{folder}/copy").documents
        1
        """
        target = checked_path(path).absolute()
        store = Store.open(snapshot, read_only=True)
        try:
            if target.exists() and target.samefile(store.folder):
                raise ValueError(f"path: must not be the snapshot itself, got {str(path)!r}; choose another path")
            restore_replaced_index(target)
            if not (target.is_dir() and any(target.iterdir())):
                return store.copy(target)
            if not overwrite:
                raise IndexExistsError(f"{target}: already exists; pass overwrite=True to replace it")
            with replace_index(target) as building:
                return store.copy(building)
        finally:
            store.close()

    @classmethod
    def salvage(cls, path: str | Path, target: str | Path) -> SalvageReport:
        """Write everything that the checksums of a damaged index prove good to a new index; list what was lost.

        Args:
            path: the damaged index, which is only read.
            target: a folder that does not exist yet, or is empty.

        Raises:
            IndexExistsError: `target` exists and is not an empty folder.
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
