"""What a search ranks: the documents of one index, or those of the shards of a collection."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serotine.index.hits import Partial
from serotine.index.search import plan
from serotine.index.search.effort import choose_effort
from serotine.index.search.options import SearchOptions
from serotine.index.search.plan import Ranking
from serotine.index.search.pooled import PooledSearch, PooledVectors
from serotine.index.store import Row, Store
from serotine.wording import worded


@dataclass(frozen=True, slots=True)
class Queries:
    """What queries are searched by.

    Attributes:
        texts: of every query, or None where there is none, as modes without words allow.
        vectors: token vectors of every query; empty in mode "bm25".
        pooled: pooled vectors of every query, float32 (dim,); empty but in mode "pooled".
    """

    texts: Sequence[str | None]
    vectors: Sequence[NDArray[np.float32]]
    pooled: Sequence[NDArray[np.float32]] = ()

    def at(self, positions: Sequence[int]) -> Queries:
        """Return those at some positions."""
        vectors, pooled = ([values[i] for i in positions] if values else [] for values in (self.vectors, self.pooled))
        return Queries([self.texts[i] for i in positions], vectors, pooled)


@dataclass(frozen=True, slots=True)
class Rankings:
    """The rankings of one query: of its vectors, unless the mode is "bm25"; of BM25, if it is that or "hybrid"."""

    late: Ranking | None
    lexical: Ranking | None


class View(Protocol):
    """The documents in the state that one attempt of a search reads."""

    @property
    def filtering(self) -> float:
        """Milliseconds that the filter took."""
        ...

    @property
    def partial(self) -> Partial | None:
        """What is left out, where documents are."""
        ...

    def rank(self, depth: int, queries: Queries) -> list[Rankings] | None:
        """Rank at least the best `depth` documents of every query; None where the documents changed meanwhile."""
        ...

    def late_scores(self, query: NDArray[np.float32], numbers: Sequence[int]) -> dict[int, float]:
        """Return the MaxSim of documents by number, of those that are there."""
        ...

    def rows(self, numbers: Sequence[int], *, filtered: bool) -> dict[int, Row]:
        """Return documents by number, of those that are there, and pass the filter if `filtered`."""
        ...


class Documents(Protocol):
    """Documents that can be searched.

    Attributes:
        place: where they are, for messages.
    """

    place: str

    def state(self) -> object:
        """Return an object that is the same until a document changes."""
        ...

    def view(self, options: SearchOptions, *, lenient: bool) -> View:
        """Return the newest state; `lenient`: documents may change between its reads."""
        ...

    def unknown_scripts(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the main script of every document among `ids` that is outside the encoder's vocabulary."""
        ...

    def has_unknown(self) -> bool:
        """Return whether any document is outside the encoder's vocabulary."""
        ...


class StoredDocuments:
    """The documents of one index; see `Documents`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.place = str(store.folder)

    def state(self) -> object:
        """See `Documents`."""
        return self.store.snapshot()

    def view(self, options: SearchOptions, *, lenient: bool) -> StoredView:
        """See `Documents`.

        Raises:
            ValueError: the mode is "pooled", and the index stores no pooled vectors.
        """
        if options.mode == "pooled" and self.store.settings.pooled is None:
            fix = worded(
                "create it with pooled=, or choose another mode",
                http="choose another mode",
                command="index with --pooled, or choose another --mode",
            )
            raise ValueError(f"mode: pooled needs pooled vectors, and {self.place} stores none; {fix}")
        return StoredView(self.store, options, lenient=lenient)

    def unknown_scripts(self, ids: Sequence[str]) -> dict[str, str]:
        """See `Documents`."""
        return self.store.catalog.unknown_scripts(ids)

    def has_unknown(self) -> bool:
        """See `Documents`."""
        return self.store.catalog.coverage().unknown > 0


class StoredView:
    """The newest snapshot of an index; see `View`."""

    partial: Partial | None = None

    def __init__(self, store: Store, options: SearchOptions, *, lenient: bool) -> None:
        self.snapshot = store.snapshot()
        self._store = store
        self._options = options
        self._lenient = lenient
        self._allowed_vectors: PooledVectors | None = None
        started = time.perf_counter()
        where = options.where
        self._matching = None if where is None else store.catalog.matching(where)
        self.filtering = (time.perf_counter() - started) * 1e3

    @property
    def allowed(self) -> int:
        """Number of documents that pass the filter."""
        return self.snapshot.documents if self._matching is None else self._matching.size

    @property
    def overtaken(self) -> bool:
        """Whether the catalog may have answered for another state than that of the segments.

        A document replaced in between would be missed, or returned under both its numbers.
        """
        mode = self._options.mode
        reads_both = mode == "hybrid" or (mode != "bm25" and self._matching is not None)
        return reads_both and not self._lenient and self._store.snapshot() is not self.snapshot

    def rank(self, depth: int, queries: Queries) -> list[Rankings] | None:
        """See `View`."""
        lexical: list[Ranking | None] = [None] * len(queries.texts)
        if self._options.mode in ("bm25", "hybrid"):
            lexical = [self._lexical(text or "", depth) for text in queries.texts]
        late: Sequence[Ranking | None] = [None] * len(queries.texts)
        if self._options.mode == "pooled":
            late = self._pooled(depth, queries)
        elif self._options.mode != "bm25":
            late = self.late(depth, queries.vectors)
        if self.overtaken:
            return None
        return [Rankings(*pair) for pair in zip(late, lexical, strict=True)]

    def late(self, depth: int, vectors: Sequence[NDArray[np.float32]]) -> list[Ranking]:
        """Return the rankings of MaxSim, or of XTR in that mode."""
        if self._options.mode == "xtr":
            return plan.rank_xtr(self.snapshot, vectors, self._options.retrieved_tokens(depth), depth, self._matching)
        options = self._options.of_late_stage()
        effort = choose_effort(options, depth, self.snapshot.calibration, self.snapshot.documents)
        return plan.rank(self.snapshot, vectors, effort, depth, self._matching)

    def _pooled(self, depth: int, queries: Queries) -> list[Ranking]:
        if self._allowed_vectors is None:
            self._allowed_vectors = PooledVectors(self.snapshot, self._matching)
        search = PooledSearch(self.snapshot, self._allowed_vectors, self._options, self.late)
        return search.rank(depth, queries.vectors, queries.pooled)

    def _lexical(self, text: str, depth: int) -> Ranking:
        scored = self._store.catalog.lexical(text, depth, self._options.where)
        return lexical_ranking(scored, self.allowed)

    def late_scores(self, query: NDArray[np.float32], numbers: Sequence[int]) -> dict[int, float]:
        """See `View`."""
        return plan.document_scores(self.snapshot, query, numbers)[0]

    def rows(self, numbers: Sequence[int], *, filtered: bool) -> dict[int, Row]:
        """See `View`."""
        return self._store.catalog.rows(numbers, self._options.where if filtered else None)


def lexical_ranking(scored: Sequence[tuple[int, float]], allowed: int) -> Ranking:
    """Return documents with their BM25 scores, best first, as a ranking among `allowed` documents."""
    numbers, scores = [number for number, _ in scored], [score for _, score in scored]
    return Ranking(scores, numbers, "bm25", {"allowed": allowed, "bm25": len(scored)}, 0, {}, None)
