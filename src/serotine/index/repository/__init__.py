"""Snapshots of indexes at a URL, each part of a file once. What the other rooms of the index may import."""

from __future__ import annotations

from serotine.index.repository.objects import MissingObjectError, Objects
from serotine.index.repository.repository import (
    PruneReport,
    SnapshotInfo,
    SnapshotRepository,
    objects_at,
    repository_at,
)

__all__ = [
    "MissingObjectError",
    "Objects",
    "PruneReport",
    "SnapshotInfo",
    "SnapshotRepository",
    "objects_at",
    "repository_at",
]
