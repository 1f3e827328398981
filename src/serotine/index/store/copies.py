"""Copies of an index: one committed state, complete and on disk under the name of the copy, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from serotine.errors import IndexDamagedError, index_damaged
from serotine.files import NotRegularError, open_regular
from serotine.index.files import SEGMENT_FOLDER, FileRecord, copy_intact, durable
from serotine.index.store.catalog import Catalog
from serotine.index.store.connection import CATALOG_FILE
from serotine.index.store.folder import new_folder

# Where a hard link is impossible, the file is copied: another file system, one without links, too many links.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EACCES)


@dataclass(frozen=True, slots=True)
class CopyReport:
    """Report of `Index.snapshot` and `Index.restore`.

    Attributes:
        documents: number of live documents of the copy.
        files: number of its segment and codebook files.
        bytes: size of these files.
        name: of the snapshot, in a repository; None for a copy that is an index itself.
        transferred: bytes sent to a repository or fetched from it, the catalog's included; less than the size where
            they were there already.
    """

    documents: int
    files: int
    bytes: int
    name: str | None = None
    transferred: int = 0


@dataclass(frozen=True, slots=True)
class CommittedState:
    """One committed state of an index, which stays readable whatever a writer does meanwhile.

    Attributes:
        catalog: a copy of the catalog.
        documents: number of live documents.
        files: the files that the catalog names, open, with their records.
    """

    catalog: Path
    documents: int
    files: tuple[tuple[BinaryIO, FileRecord], ...]

    def report(self) -> CopyReport:
        """Return the report of a copy of this state."""
        return CopyReport(self.documents, len(self.files), sum(record.bytes for _, record in self.files))


def copy_index(folder: Path, catalog: Catalog, target: Path, *, hard_links: bool) -> CopyReport:
    """Copy the newest committed state to a new index at `target`; a writer may change the index meanwhile.

    Args:
        folder: the index.
        catalog: its open catalog.
        target: the new folder.
        hard_links: link the immutable files where the file system can, instead of copying and checking them.

    Raises:
        IndexExistsError: `target` exists and is not an empty folder that can be replaced.
        IndexDamagedError: a file is missing or damaged.
    """
    with new_folder(target) as building, committed_state(folder, catalog, building) as state:
        for file, record in state.files:
            path = building / SEGMENT_FOLDER / record.name
            if not (hard_links and _link(folder / SEGMENT_FOLDER / record.name, file, path)):
                try:
                    copy_intact(file, record, path)
                except IndexDamagedError as error:
                    raise IndexDamagedError(f"{folder}: {error}") from error
        durable.sync_folder(building / SEGMENT_FOLDER)
        return state.report()


@contextmanager
def committed_state(folder: Path, catalog: Catalog, building: Path) -> Iterator[CommittedState]:
    """Yield the newest committed state, with a copy of the catalog in the folder `building`.

    Its files are open until the block ends: a writer may remove them.
    """
    target = building / CATALOG_FILE
    with ExitStack() as stack:
        while True:
            target.unlink(missing_ok=True)
            catalog.copy_to(target)
            # For writing: closed by a reader, the database would keep an empty log beside it.
            copy = Catalog(building, read_only=False)
            try:
                documents, records = copy.counts()[0], copy.files()
            finally:
                copy.close()
            try:
                files = tuple(
                    (stack.enter_context(open_regular(folder / SEGMENT_FOLDER / record.name, follow=False)), record)
                    for record in records
                )
                break
            except NotRegularError as error:
                raise index_damaged(f"{error.filename}: not a regular file") from None
            except (FileNotFoundError, NotADirectoryError) as error:
                if Path(error.filename).name in {record.name for record in catalog.files()}:
                    raise index_damaged(f"{error.filename}: the file is missing") from None
                # A writer has committed since, and removed files that it merged: copy the newer state.
                stack.close()
        yield CommittedState(target, documents, files)


def _link(source: Path, file: BinaryIO, target: Path) -> bool:
    """Link the file that is open as `file`; return whether that was possible."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno == errno.ENOENT or error.errno in _NO_LINK:
            return False
        raise
    return os.path.samestat(os.fstat(file.fileno()), target.stat())
