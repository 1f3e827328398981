"""The queries on which two systems differ most, and the documents behind the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serotine.evaluation.comparison.alignment import Alignment, align
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.result import Result
from serotine.progress import progress_bar

if TYPE_CHECKING:
    from serotine.evaluation.comparison.compare import Pair, QueryPair
    from serotine.text_encoder import TextEncoder

# Per change: the first documents of each system, and the best ranked relevant ones.
_MAX_DOCUMENTS = 3


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """A document behind a change.

    Attributes:
        id: the document's id.
        grade: its relevance; None without a judgement, or without the collection.
        baseline_rank: its rank in the baseline's run, from 1; None if it was not retrieved.
        system_rank: its rank in the system's run.
        text: the text of the document; None if the collection is unknown or lacks the document.
        alignment: which of its tokens the query matched; None without an encoder.
    """

    id: str
    grade: int | None
    baseline_rank: int | None
    system_rank: int | None
    text: str | None
    alignment: Alignment | None


@dataclass(frozen=True, slots=True)
class Change:
    """A query on which the metric of the system differs from the baseline's.

    Attributes:
        system: the name of the system.
        collection: the name of the collection.
        query: the query's id.
        text: the text of the query; None without the collection.
        baseline_value: the metric of the baseline.
        system_value: the metric of the system.
        documents: the first documents of both runs, and the best ranked relevant ones.
    """

    system: str
    collection: str
    query: str
    text: str | None
    baseline_value: float
    system_value: float
    documents: tuple[DocumentChange, ...]

    @property
    def difference(self) -> float:
        """The system's value minus the baseline's."""
        return self.system_value - self.baseline_value


def most_changed(
    pairs: Sequence[Pair],
    results: Mapping[str, Mapping[str, Result]],
    collections: Mapping[str, Collection],
    encoder: TextEncoder | None,
    count: int,
    *,
    show_progress: bool = False,
) -> tuple[Change, ...]:
    """Return the `count` largest changes of all pairs, largest first; ties in the order of pairs and queries."""
    changed = [(pair, query) for pair in pairs for query in pair.queries if query.system != query.baseline]
    changed.sort(key=lambda item: -abs(item[1].system - item[1].baseline))
    del changed[count:]
    changes = []
    with progress_bar(len(changed), "Explaining", enabled=show_progress and encoder is not None) as advance:
        for pair, query in changed:
            changes.append(_change(pair, query, results, collections.get(pair.collection), encoder))
            advance(1)
    return tuple(changes)


def _change(
    pair: Pair,
    query: QueryPair,
    results: Mapping[str, Mapping[str, Result]],
    collection: Collection | None,
    encoder: TextEncoder | None,
) -> Change:
    text = None
    if collection is not None:
        if query.query not in collection.queries:
            raise ValueError(f"collections: {collection.name!r} lacks query {query.query!r}, which the results have")
        text = collection.queries[query.query]
    runs = [results[system][pair.collection].run.get(query.query, {}) for system in (pair.baseline, pair.system)]
    documents = _documents(query.query, text, runs, collection, encoder)
    return Change(pair.system, pair.collection, query.query, text, query.baseline, query.system, documents)


def _documents(
    query_id: str,
    query_text: str | None,
    runs: Sequence[Mapping[str, float]],
    collection: Collection | None,
    encoder: TextEncoder | None,
) -> tuple[DocumentChange, ...]:
    rankings = [sorted(run, key=lambda id_, run=run: (run[id_], id_), reverse=True) for run in runs]  # type: ignore[misc]
    ranks = [{id_: rank for rank, id_ in enumerate(ranking, start=1)} for ranking in rankings]
    grades = {} if collection is None else collection.qrels[query_id]

    def best_rank(id_: str) -> tuple[float, str]:
        return min(by_id.get(id_, float("inf")) for by_id in ranks), id_

    relevant = sorted((id_ for id_, grade in grades.items() if grade > 0), key=best_rank)
    ids = {id_ for ranking in (*rankings, relevant) for id_ in ranking[:_MAX_DOCUMENTS]}
    texts = {id_: None if collection is None else collection.documents.get(id_) for id_ in sorted(ids, key=best_rank)}
    alignments: dict[str, Alignment] = {}
    if encoder is not None and query_text:
        passages = {id_: text for id_, text in texts.items() if text}
        alignments = dict(zip(passages, align(encoder, query_text, list(passages.values())), strict=True))
    return tuple(
        DocumentChange(id_, grades.get(id_), ranks[0].get(id_), ranks[1].get(id_), text, alignments.get(id_))
        for id_, text in texts.items()
    )
