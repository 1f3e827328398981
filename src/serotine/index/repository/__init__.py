"""Snapshots of indexes at a URL, each part of a file once. What the other rooms of the index may import."""

from __future__ import annotations

from serotine.index.repository.repository import PruneReport, SnapshotInfo, SnapshotRepository, repository_at

__all__ = ["PruneReport", "SnapshotInfo", "SnapshotRepository", "repository_at"]
