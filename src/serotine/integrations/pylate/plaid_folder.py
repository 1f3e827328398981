"""The folder of an `indexes.PLAID`: what may stand there, and what may be deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

from serotine.errors import IndexExistsError
from serotine.index.store.catalog import CATALOG_FILE

# Files by which an index that PyLate wrote is known.
_PYLATE = ("fast_plaid_index", "documents_ids_to_plaid_ids.pkl", "documents_ids_to_plaid_ids.sqlite")


def is_index(folder: Path) -> bool:
    """Whether an index of ours stands there."""
    return (folder / CATALOG_FILE).is_file()


def make_way(folder: Path, *, override: bool) -> None:
    """Deletes the index at `folder`, ours or PyLate's, where `override` allows it.

    Raises:
        IndexExistsError: what stands there may not be deleted, and is no index of ours.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    theirs = any((folder / name).exists() for name in _PYLATE)
    if override and (is_index(folder) or theirs):
        shutil.rmtree(folder)
    elif theirs:
        raise IndexExistsError(f"{folder}: is an index that PyLate wrote; choose another index_name")
    elif not is_index(folder):
        raise IndexExistsError(f"{folder}: holds something that is no index; choose another index_name")
