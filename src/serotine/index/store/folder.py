"""The folder of an index: its creation, the names of new files, and the removal of files a dead writer left."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serotine.errors import IndexExistsError, index_damaged, wrong_type
from serotine.files import POSIX_FILES, named_errors
from serotine.index.files import CHECKPOINT_FILE, FILE_NAME, SEGMENT_FOLDER, durable, new_name
from serotine.index.store.catalog import Catalog, create_catalog
from serotine.index.store.connection import CATALOG_FILE
from serotine.index.store.settings import Settings
from serotine.wording import worded

_INDEX_FILE = re.compile(
    rf"({FILE_NAME}|{re.escape(CHECKPOINT_FILE)})"
    rf"(\.[0-9a-f]{{32}}{re.escape(durable.TEMPORARY)})?"
)


def checked(path: str | Path) -> Path:
    """Return the path of an index as a caller passed it.

    Raises:
        TypeError, ValueError: it is no path, or empty.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise wrong_type("path", "a string or a path", path)
    if isinstance(path, str) and not path:
        raise ValueError("path: must not be empty; give the folder of the index")
    return Path(path)


def create_folder(folder: Path, settings: Settings) -> None:
    """Create an index without documents: complete and on disk, or not at all.

    Raises:
        IndexExistsError: `folder` exists and is not an empty folder that can be replaced.
    """
    fix = worded("open it with Index.open or Index.open_or_create, or choose another path", http="choose another name")
    with new_folder(folder, fix=fix) as building:
        create_catalog(building, settings)


@contextmanager
def new_folder(folder: Path, *, fix: str = "choose another path") -> Iterator[Path]:
    """Yield a folder beside `folder` that appears under its name, on disk, when the block ends.

    It has an empty segment folder. An exception removes it.

    Args:
        folder: its name.
        fix: what to do where it is an index already.

    Raises:
        IndexExistsError: `folder` exists and is not an empty folder that can be replaced.
    """
    if folder.exists():
        if not folder.is_dir() or any(folder.iterdir()):
            raise _already_exists(folder, fix)
        if folder.is_mount() or folder.samefile(Path.cwd()):
            raise IndexExistsError(f"{folder}: is a mount point or the current folder; choose a new folder inside it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Built beside and renamed into place, so that a crash leaves no incomplete index under the name.
    building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{durable.TEMPORARY}")
    try:
        with named_errors(folder, building):
            (building / SEGMENT_FOLDER).mkdir(parents=True)
            yield building
            durable.sync_folder(building)
            try:
                durable.rename(building, folder)
            except OSError:
                if not folder.is_dir() or not any(folder.iterdir()):
                    raise
                # Another process created the folder meanwhile.
                raise _already_exists(folder, fix) from None
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    durable.sync_folder(folder.parent)


def _already_exists(folder: Path, fix: str) -> IndexExistsError:
    if (folder / CATALOG_FILE).is_file():
        return IndexExistsError(f"{folder}: already exists; {fix}")
    return IndexExistsError(f"{folder}: already exists and is not an index; choose another path")


def new_file(folder: Path, kind: str) -> Path:
    """Return a path for a new file of the index, with a name that was never used."""
    return folder / SEGMENT_FOLDER / new_name(kind)


def stray_files(folder: Path, catalog: Catalog) -> list[str]:
    """Return files that the catalog does not name: a writer died between writing and committing them.

    Raises:
        IndexDamagedError: the folder of segments is missing.
    """
    # Listed before the catalog is read: files that a writer adds meanwhile are then in the catalog.
    try:
        present = [
            path.name
            for path in (folder / SEGMENT_FOLDER).iterdir()
            if _INDEX_FILE.fullmatch(path.name) and (path.is_symlink() or not path.is_dir())
        ]
    except FileNotFoundError:
        raise index_damaged(f"{folder / SEGMENT_FOLDER}: this folder of the index is missing") from None
    except NotADirectoryError:
        raise index_damaged(f"{folder / SEGMENT_FOLDER}: must be a folder, got a file") from None
    named = {record.name for record in catalog.files()}
    # Training resumes from its checkpoint.
    return sorted(name for name in present if name not in named and name != CHECKPOINT_FILE)


def sweep(folder: Path, catalog: Catalog) -> None:
    """Remove stray files; requires the writer lock. Files that are not named like an index's stay.

    On Windows so do those that a reader has open, until the next writer removes them.

    Raises:
        IndexDamagedError: rows of the catalog are not what was written: a file that they no longer name may be needed.
    """
    catalog.require_intact_records()
    for name in stray_files(folder, catalog):
        try:
            durable.remove(folder / SEGMENT_FOLDER / name)
        except PermissionError:
            if POSIX_FILES:
                raise
