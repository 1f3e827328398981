"""The mark of an update that has begun but not ended, which stays in the index where it is interrupted or killed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from serotine.ingest.chunking import Chunking
from serotine.ingest.file_state import is_gone
from serotine.ingest.sources import SourceFile
from serotine.ingest.walk import is_within

if TYPE_CHECKING:
    from serotine.index import Index


def marked_unfinished(
    index: Index, sources: Sequence[str | Path | SourceFile], chunking: Chunking | None, *, stores: bool
) -> AbstractContextManager[None]:
    """Mark sources in the index until the block has ended without an exception.

    Args:
        index: open for writing.
        sources: what it is updated from.
        chunking: the caller's choice of how texts are cut, by which new files are cut from now on; None: none was made.
        stores: whether the update stores anything; otherwise it only removes the marks of earlier ones.
    """
    names = [source.key if isinstance(source, SourceFile) else os.path.realpath(source) for source in sources]

    def is_finished(name: str) -> bool:
        return is_gone(name) or any(is_within(name, source) for source in names)

    return index.updating(names if stores else [], is_finished, None if chunking is None else str(chunking))
