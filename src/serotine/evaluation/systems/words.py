"""BM25 as a system to judge."""

from __future__ import annotations

import time

from serotine.evaluation.bm25 import K1, B, Bm25
from serotine.evaluation.collection import Collection
from serotine.evaluation.systems.base import Answer


class Words:
    """BM25.

    Args:
        language: of the texts; as the collection's files tell it, or as the texts look, unless given.
    """

    name = "bm25"

    def __init__(self, language: str | None = None) -> None:
        self._language = language

    @property
    def key(self) -> str:
        """Its parameters."""
        return f"bm25 {K1} {B} {self._language}"

    def answer(self, collection: Collection, depth: int, *, show_progress: bool = False) -> Answer:
        """As `System.answer`."""
        started = time.perf_counter()
        index = Bm25(collection.documents, self._language or collection.language)
        indexed = time.perf_counter()
        run = index.search(collection.queries, depth)
        record = {
            "kind": "bm25",
            "retrieval": f"exact BM25, k1 {K1}, b {B}",
            "exact": True,
            "language": index.language,
            "stemmer": index.stemmer,
            "seconds": {"encoding": indexed - started, "searching": time.perf_counter() - indexed},
        }
        return Answer(run, record)
