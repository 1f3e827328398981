"""Searches of an index whose update from files was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serotine.errors import UnfinishedUpdateWarning
from serotine.wording import worded


def interrupted_update(folder: Path, sources: Sequence[str]) -> UnfinishedUpdateWarning:
    """Return the warning about hits of an index whose updates from these sources were interrupted."""
    more = f" and {len(sources) - 1:,} more" if len(sources) > 1 else ""
    of_index = worded(f"{folder.name}: the update from {sources[0]}{more}", http="index: an update from files")
    fix = worded("run it again", http="repeat it")
    return UnfinishedUpdateWarning(f"{of_index} was interrupted; {fix}, hits may be missing")
