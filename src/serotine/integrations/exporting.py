"""What every export shares: the documents of an index in batches, and a target that appears whole or not at all."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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
class Exported:
    """What was written.

    Attributes:
        documents: how many.
        tokens: token vectors, all documents together.
        rebuilt: whether vectors come from residual codes, because the index does not keep its float16 vectors.
    """

    documents: int
    tokens: int
    rebuilt: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Some documents, in the order they were added.

    Attributes:
        documents: id, text and metadata.
        vectors: float16 (tokens, dim) a document.
    """

    documents: list[Hit]
    vectors: list[NDArray[np.float16]]


class Export:
    """One export: hands out the documents of an index and counts them.

    Documents are read while others may write: one that is deleted before its turn ends the export with an error.
    """

    def __init__(self, index: Index, *, show_progress: bool) -> None:
        self._index = index
        self._show_progress = show_progress
        self._documents = 0
        self._tokens = 0

    def batches(self) -> Iterator[Batch]:
        """Yields all documents, in bounded memory, drawing progress where that was asked."""
        ids = self._index.ids()
        with progress_bar(len(ids), "Exporting", enabled=self._show_progress) as advance:
            remaining = iter(ids)
            while chunk := list(islice(remaining, _DOCUMENTS_AT_ONCE)):
                vectors = [self._index.vectors(id_) for id_ in chunk]
                self._documents += len(chunk)
                self._tokens += sum(map(len, vectors))
                yield Batch(self._index.get(chunk), vectors)
                advance(len(chunk))

    def result(self) -> Exported:
        """What has been handed out."""
        stats = self._index.stats()
        return Exported(self._documents, self._tokens, not stats.keep_vectors and stats.coded_tokens > 0)


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """Yields a path beside `target` to write a file or folder at; it gets its name when it is whole.

    Raises:
        SerotineError: something stands at `target`, or its folder does not exist.
    """
    if target.exists() or target.is_symlink():
        raise SerotineError(f"{target}: exists already; name a file or folder that does not, or remove it first")
    if not target.absolute().parent.is_dir():
        raise SerotineError(f"{target}: its folder does not exist; create it first")
    beside = target.absolute().with_name(f".{target.name}.{uuid.uuid4().hex}.export")
    try:
        yield beside
        beside.rename(target)
    except BaseException:
        if beside.is_dir():
            # LanceDB's thread may still be writing; what it leaves has a name that says what it is.
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
        raise


def missing(error: ImportError, what: str, extra: str) -> SerotineError:
    """The error for a library that an export needs."""
    return SerotineError(f"export to {what} needs {error.name}; run: pip install 'serotine[{extra}]'")
