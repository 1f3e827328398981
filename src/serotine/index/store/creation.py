"""A new index on disk, and the sweeping of what a dead writer left in an old one."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from serotine.errors import IndexExistsError
from serotine.index.files import durable
from serotine.index.files.segment import SEGMENT_FOLDER
from serotine.index.growth.codebook_training import CHECKPOINT_FILE
from serotine.index.store.catalog import Catalog, Settings, create_catalog

_OURS = re.compile(
    rf"([0-9a-f]{{32}}\.(vectors|codes|codebook)|{re.escape(CHECKPOINT_FILE)})"
    rf"(\.[0-9a-f]{{32}}{re.escape(durable.TEMPORARY)})?"
)


def create_folder(folder: Path, settings: Settings) -> None:
    """Makes an index without documents: whole and on disk, or not at all.

    Raises:
        IndexExistsError: something stands at `folder`; an empty folder may, if it can be replaced.
    """
    if folder.exists():
        if not folder.is_dir() or any(folder.iterdir()):
            raise IndexExistsError(f"{folder}: exists already; open it with Index.open, or choose another path")
        if folder.is_mount() or folder.samefile(Path.cwd()):
            raise IndexExistsError(f"{folder}: is in use as it is; name a new folder inside it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Built beside and renamed into place, so that a crash leaves no half-made index under the name.
    building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{durable.TEMPORARY}")
    (building / SEGMENT_FOLDER).mkdir(parents=True)
    create_catalog(building, settings)
    durable.sync_folder(building)
    durable.rename(building, folder)
    durable.sync_folder(folder.parent)


def new_file(folder: Path, kind: str) -> Path:
    """A name no file of the index had before."""
    return folder / SEGMENT_FOLDER / f"{uuid.uuid4().hex}.{kind}"


def stray_files(folder: Path, catalog: Catalog) -> list[str]:
    """Files that no transaction names: a writer died between writing and committing them."""
    # Listed first: what a writer adds meanwhile is named by the time the catalog is asked.
    present = [path.name for path in (folder / SEGMENT_FOLDER).iterdir() if _OURS.fullmatch(path.name)]
    named = {record.name for record in catalog.files()}
    # What training has come to is worth keeping.
    return sorted(name for name in present if name not in named and name != CHECKPOINT_FILE)


def sweep(folder: Path, catalog: Catalog) -> None:
    """Removes stray files; only for who holds the writer's lock. What is not ours by its name is left alone."""
    for name in stray_files(folder, catalog):
        durable.remove(folder / SEGMENT_FOLDER / name)
