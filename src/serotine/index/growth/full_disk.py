"""Compaction on a full disk: the order in which segments are rewritten, and what is lacking for the next one."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass

from serotine.index.store import Snapshot, Store


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A segment that a rewrite makes smaller.

    Attributes:
        segment: its number.
        documents: number of live documents.
        bytes: size of the files that hold them, about.
        first: number of the first live document; 0 without any.
        last: number of the last one.
    """

    segment: int
    documents: int
    bytes: int
    first: int
    last: int


def smallest_rewrite(snapshot: Snapshot) -> Rewrite | None:
    """Return the rewrite that needs the least space of those that remove deleted documents, or None.

    No reference to the snapshot is kept: its files take space for as long as they are open.
    """
    rewrites = []
    for number, view in snapshot.segments.items():
        if view.live is not None:
            record = view.segment.record
            size = sum(file.bytes for file in record.files) * view.tokens // max(record.tokens, 1)
            live = view.numbers[view.live]
            first, last = (int(live[0]), int(live[-1])) if live.size else (0, 0)
            rewrites.append(Rewrite(number, view.documents, size, first, last))
    return min(rewrites, key=lambda rewrite: (rewrite.bytes, rewrite.documents), default=None)


def shortage(store: Store, rewrite: Rewrite) -> OSError:
    """Return the error for a full disk without space for the smallest rewrite."""
    needed = f"{rewrite.bytes:,} bytes without them"
    # Free space that is not enough all the same: the catalog needs some, or another process has taken it meanwhile.
    lacking = rewrite.bytes - shutil.disk_usage(store.folder).free
    if lacking > 0:
        needed += f", {lacking:,} more than are free"
    rows = store.catalog.rows([rewrite.first, rewrite.last])
    names = [rows[number].id for number in (rewrite.first, rewrite.last) if number in rows]
    which = f"the {rewrite.documents:,} documents from {names[0]!r} to {names[-1]!r}" if names else "more documents"
    return OSError(
        errno.ENOSPC,
        f"the disk is full, and the smallest segment with deleted documents takes {needed}; free as many elsewhere, "
        f"or delete {which} too: a segment without documents is removed whole",
        str(store.folder),
    )
