"""One index as a shard of a collection: what it answers to searches of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.index.filter_checks import StoredFields
from serotine.index.hits import Hit
from serotine.index.index import Index
from serotine.index.results import IndexStats, VerifyReport
from serotine.index.search import Explanation, Ranking, SearchOptions, StoredDocuments, StoredView
from serotine.index.store import FilterField, Row, WordStatistics

# Attempts of a ranking that a writer overtakes.
_ATTEMPTS = 8
# Hits whose documents come with their ranking: a second request would take longer than sending some in vain.
_MAX_PREFETCHED = 200


@dataclass(frozen=True, slots=True)
class RankRequest:
    """A request for the rankings of queries.

    Attributes:
        options: of all the queries.
        depth: number of documents to rank.
        vectors: token vectors of every query; empty in mode "bm25".
        texts: of every query.
        statistics: word statistics of the collection for every query; empty in mode "late".
    """

    options: SearchOptions
    depth: int
    vectors: Sequence[NDArray[np.float32]]
    texts: Sequence[str | None]
    statistics: Sequence[WordStatistics] = ()


@dataclass(frozen=True, slots=True)
class ShardRows:
    """Documents by number, and the main script of those outside the encoder's vocabulary by id."""

    rows: dict[int, Row] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShardRankings:
    """The answer to a `RankRequest`.

    Attributes:
        late: the ranking of every query by MaxSim; empty in mode "bm25".
        lexical: the rankings of every query by BM25, see `merge_lexical`; empty in mode "late".
        allowed: number of documents that pass the filter.
        has_vectors: whether vectors of all documents are stored.
        documents: those of the first hits.
        filtering: milliseconds that the filter took.
    """

    late: list[Ranking]
    lexical: list[list[list[tuple[int, float]]]]
    allowed: int
    has_vectors: bool
    documents: ShardRows
    filtering: float


class Shard:
    """One index as a shard. Arguments and results can be pickled.

    Args:
        index: the index; closed by its owner.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._store = index._store
        self._documents = StoredDocuments(self._store)
        self._fields = StoredFields(self._store)

    def word_statistics(self, texts: Sequence[str], languages: Sequence[str]) -> list[WordStatistics]:
        """Return the word statistics of this shard for queries, as stems of `languages` too."""
        return self._store.catalog.word_statistics(texts, languages)

    def rank(self, request: RankRequest) -> ShardRankings:
        """Return the rankings of queries, all of one committed state if a writer allows it."""
        for remaining in reversed(range(_ATTEMPTS)):
            view = self._documents.view(request.options, lenient=not remaining and not request.options.exact)
            late = view.late(request.depth, request.vectors) if request.vectors else []
            lexical = [
                self._store.catalog.lexical_of_collection(text or "", request.depth, request.options.where, statistics)
                for text, statistics in zip(request.texts, request.statistics, strict=bool(request.statistics))
            ]
            if view.overtaken and remaining:
                continue
            answer = self._answer(view, request, late, lexical)
            if answer is not None:
                return answer
        # The collection's search finds documents missing, and starts again.
        return ShardRankings(late, lexical, view.allowed, _has_vectors(view), ShardRows(), view.filtering)

    def _answer(
        self,
        view: StoredView,
        request: RankRequest,
        late: list[Ranking],
        lexical: list[list[list[tuple[int, float]]]],
    ) -> ShardRankings | None:
        """Return the answer with the documents of its first hits; None where some were removed meanwhile."""
        numbers: set[int] = set()
        depth = request.options.depth
        if request.options.mode != "hybrid" and depth <= _MAX_PREFETCHED:
            numbers.update(number for ranking in late for number in ranking.numbers[:depth])
            numbers.update(number for attempts in lexical for ranking in attempts for number, _ in ranking[:depth])
        documents = self._rows(view, sorted(numbers), filtered=True)
        if len(documents.rows) < len(numbers):
            return None
        return ShardRankings(late, lexical, view.allowed, _has_vectors(view), documents, view.filtering)

    def rows(self, options: SearchOptions, numbers: Sequence[int], filtered: bool) -> ShardRows:
        """Return documents by number, of those that are there, and pass the filter if `filtered`."""
        return self._rows(self._documents.view(options, lenient=True), numbers, filtered=filtered)

    def _rows(self, view: StoredView, numbers: Sequence[int], *, filtered: bool) -> ShardRows:
        rows = view.rows(numbers, filtered=filtered)
        return ShardRows(rows, self._documents.unknown_scripts([row.id for row in rows.values()]))

    def late_scores(self, query: NDArray[np.float32], numbers: Sequence[int]) -> dict[int, float]:
        """Return the MaxSim of documents by number, of those that are there."""
        return self._documents.view(SearchOptions(), lenient=True).late_scores(query, numbers)

    def has_unknown(self) -> bool:
        """Return whether any document is outside the encoder's vocabulary."""
        return self._documents.has_unknown()

    def absent(self, fields: Sequence[FilterField]) -> list[bool] | None:
        """Return for every field whether no document has it with a value of its kind; None without documents."""
        return self._fields.absent(fields) if self.documents() else None

    def field_names(self) -> list[str]:
        """Return the names of the fields of the first documents."""
        return self._fields.names()

    def field_sample(self, name: str) -> Any:
        """Return a value that a document has in a field; None where none has one."""
        return self._fields.sample(name)

    def documents(self) -> int:
        """Return the number of documents."""
        return len(self._index)

    def count(self, where: Mapping[str, Any] | None) -> int:
        """Return the number of documents that pass a filter; nothing warns."""
        return self.documents() if where is None else self._store.catalog.matching(where).size

    def ids(self, where: Mapping[str, Any] | None) -> list[str]:
        """Return the ids of the documents that pass a filter, in the order they were added; nothing warns."""
        return list(self._store.catalog.scan_ids(where))

    def vectors(self, id_: str) -> NDArray[np.float16]:
        """See `Index.vectors`."""
        return self._index.vectors(id_)

    def get(self, ids: Sequence[str]) -> list[Hit | None]:
        """Return documents by id, None for those that are not here; see `Index.get`."""
        return self._index.get(ids, missing="none")

    def explain(self, query: str, id_: str) -> Explanation:
        """See `Index.explain`; the rarity of words is that in this shard."""
        return self._index.explain(query, id_)

    def stats(self) -> IndexStats:
        """See `Index.stats`."""
        return self._index.stats()

    def verify(self) -> VerifyReport:
        """See `Index.verify`."""
        return self._index.verify()


def _has_vectors(view: StoredView) -> bool:
    return all(segment.segment.vectors is not None for segment in view.snapshot.segments.values())
