"""Verification of an index: everything it stores is read and checked."""

from __future__ import annotations

import numpy as np

from serotine import maxsim
from serotine.errors import index_damaged
from serotine.index.files import SEGMENT_FOLDER, all_damage
from serotine.index.results import VerifyReport
from serotine.index.store import CATALOG_FILE, Catalog, Snapshot, Store


def verify_index(store: Store, snapshot: Snapshot) -> VerifyReport:
    """Check the database, every reference and every checksum of one snapshot.

    Raises:
        IndexDamagedError: lists everything that is damaged.
    """
    catalog = store.catalog
    if loss := catalog.lost_commits():
        # The rest of the database may be unreadable without them.
        raise index_damaged(f"{store.folder}/{loss}")
    problems = [f"{CATALOG_FILE}: {problem}" for problem in catalog.check()]
    if store.settings.keep_vectors and (bare := sum(record.vectors is None for record in snapshot.records)):
        problems.append(f"{CATALOG_FILE}: {bare:,} segments have no file of vectors, which this index stores")
    files = [file for view in snapshot.segments.values() for file in view.segment.files]
    codebooks = [record.file for number, record in catalog.codebooks().items() if number in snapshot.codebooks]
    folder, threads = store.folder / SEGMENT_FOLDER, maxsim.num_threads()
    problems += all_damage(folder, codebooks, threads)
    damaged = all_damage(folder, [file.record for file in files], threads)
    # Document numbers are read through the map, which kills the process beyond the end of a file that was cut.
    problems += damaged or _misplaced(catalog, snapshot)
    if problems:
        raise index_damaged(f"{store.folder}: {'; '.join(problems)}")
    return VerifyReport(
        segments=len(snapshot.segments),
        codebooks=len(codebooks),
        documents=snapshot.documents,
        deleted=sum(view.numbers.size for view in snapshot.segments.values()) - snapshot.documents,
        bytes=sum(file.record.bytes for file in files) + sum(file.bytes for file in codebooks),
        stray_files=tuple(store.stray_files()),
    )


def _misplaced(catalog: Catalog, snapshot: Snapshot) -> list[str]:
    """Return problems of documents that are in the catalog or in segments only, or in two segments."""
    empty = np.empty(0, dtype=np.int64)
    stored = np.sort(np.concatenate([empty, *(view.numbers for view in snapshot.segments.values())]))
    listed = catalog.numbers()
    problems = []
    if (np.diff(stored) == 0).any():
        problems.append("two segments hold the same document")
    for problem, numbers in (
        ("documents of the catalog are in no segment", np.setdiff1d(listed, stored)),
        ("documents of segments are not in the catalog", np.setdiff1d(stored, listed)),
    ):
        if numbers.size:
            problems.append(f"{numbers.size:,} {problem}")
    return problems
