"""The mark of an update that has begun but not ended, which stays in the index where it is interrupted or killed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from serotine.ingest.file_state import is_gone
from serotine.ingest.sources import SourceFile
from serotine.ingest.walk import is_within

if TYPE_CHECKING:
    from serotine.index import Index


@contextmanager
def marked_unfinished(index: Index, sources: Sequence[str | Path | SourceFile], *, stores: bool) -> Iterator[None]:
    """Mark sources in the index until the block has ended without an exception.

    Args:
        index: open for writing.
        sources: what it is updated from.
        stores: whether the update stores anything; otherwise it only removes the marks of earlier ones.
    """
    names = [source.key if isinstance(source, SourceFile) else os.path.realpath(source) for source in sources]
    if stores:
        index.set_unfinished_sources(list(dict.fromkeys([*index.sources.unfinished(), *names])))
    yield
    remaining = [
        name
        for name in index.sources.unfinished()
        if not any(is_within(name, source) for source in names) and not is_gone(name)
    ]
    index.set_unfinished_sources(remaining)
