"""Shared code of the exports: an index's documents in batches, the check of the target, and the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.errors import SerotineError
from serotine.index import Hit, Index
from serotine.progress import progress_bar

_DOCUMENTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The outcome of an export.

    Attributes:
        documents: number of documents written.
        tokens: number of token vectors of all documents.
        rebuilt: whether vectors were rebuilt from residual codes, because the index does not keep its float16 vectors.
        left_out: what the index stores and the export does not have: "pooled vectors", or "".
    """

    documents: int
    tokens: int
    rebuilt: bool
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some documents, in the order they were added.

    Attributes:
        documents: id, text and metadata.
        vectors: float16 (tokens, dim) per document.
    """

    documents: list[Hit]
    vectors: list[NDArray[np.float16]]


class Export:
    """One export: yields an index's documents and counts them.

    Documents are read while others may write: one that is deleted before its turn ends the export with an error.
    """

    def __init__(self, index: Index, *, show_progress: bool) -> None:
        self._index = index
        self._show_progress = show_progress
        self._documents = 0
        self._tokens = 0

    def batches(self) -> Iterator[Batch]:
        """Yield all documents, in bounded memory."""
        ids = self._index.ids()
        with progress_bar(len(ids), "Exporting", enabled=self._show_progress) as advance:
            remaining = iter(ids)
            while chunk := list(islice(remaining, _DOCUMENTS_AT_ONCE)):
                vectors = [self._index.vectors(id_) for id_ in chunk]
                self._documents += len(chunk)
                self._tokens += sum(map(len, vectors))
                yield Batch(self._index.get(chunk), vectors)
                advance(len(chunk))

    def report(self) -> ExportReport:
        """Return what was yielded."""
        stats = self._index.stats()
        left_out = "" if stats.pooled is None else "pooled vectors"
        return ExportReport(self._documents, self._tokens, not stats.keep_vectors and stats.coded_tokens > 0, left_out)


def validate_target(target: str | Path) -> Path:
    """Return the absolute path of a file or folder to create.

    Raises:
        SerotineError: `target` exists, or its folder does not.
    """
    path = Path(target)
    if path.exists() or path.is_symlink():
        raise SerotineError(f"{target}: already exists; name a new file or folder, or remove it first")
    if not path.absolute().parent.is_dir():
        raise SerotineError(f"{target}: its folder does not exist; create it first")
    return path.absolute()
