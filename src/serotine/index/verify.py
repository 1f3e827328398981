"""Verification: everything an index stores, read and checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serotine.errors import IndexDamagedError
from serotine.index.files.arrays import ArraysFile, FileRecord
from serotine.index.files.segment import SEGMENT_FOLDER
from serotine.index.results import VerifyReport
from serotine.index.store import creation
from serotine.index.store.catalog import CATALOG_FILE, Catalog
from serotine.index.store.snapshot import Snapshot


def verify_index(folder: Path, catalog: Catalog, snapshot: Snapshot) -> VerifyReport:
    """Checks the database, every reference and every checksum of one snapshot.

    Raises:
        IndexDamagedError: what is damaged, all of it in one message.
    """
    problems = [f"{CATALOG_FILE}: {problem}" for problem in catalog.check()]
    files = [file for part in snapshot.parts.values() for file in part.segment.files]
    books = [record.file for number, record in catalog.codebooks().items() if number in snapshot.codebooks]
    problems += [problem for file in files if (problem := _damage(file.path, file.record))]
    problems += [problem for book in books if (problem := _damage(folder / SEGMENT_FOLDER / book.name, book))]
    problems += _misplaced(catalog, snapshot)
    if problems:
        raise IndexDamagedError(f"{folder}: {'; '.join(problems)}; restore the index from a backup, or index again")
    return VerifyReport(
        segments=len(snapshot.parts),
        codebooks=len(books),
        documents=sum(part.numbers.size for part in snapshot.parts.values()),
        bytes=sum(file.record.bytes for file in files) + sum(book.bytes for book in books),
        stray_files=tuple(creation.stray_files(folder, catalog)),
    )


def _damage(path: Path, record: FileRecord) -> str:
    try:
        found = ArraysFile.checksum_of(path)
    except OSError as error:
        return f"{record.name} cannot be read ({error.strerror or error})"
    return "" if found == record.checksum else f"the checksum of {record.name} does not match the catalog's"


def _misplaced(catalog: Catalog, snapshot: Snapshot) -> list[str]:
    """Documents that the catalog lists and no segment holds, or the other way round, or that two segments hold."""
    nothing = np.empty(0, dtype=np.int64)
    held = np.sort(np.concatenate([nothing, *(part.numbers for part in snapshot.parts.values())]))
    listed = catalog.numbers()
    problems = []
    if (np.diff(held) == 0).any():
        problems.append("two segments hold the same document")
    for what, lost in (
        ("documents of the catalog are in no segment", np.setdiff1d(listed, held)),
        ("documents of segments are not in the catalog", np.setdiff1d(held, listed)),
    ):
        if lost.size:
            problems.append(f"{lost.size:,} {what}")
    return problems
