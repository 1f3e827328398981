"""The queries on which two systems differ most, and the passages behind it."""

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

# Of each change: the first documents of both systems, and as many relevant ones.
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """A document behind a change.

    Attributes:
        id: the document's.
        grade: how relevant it was judged; None where nobody judged it, or the judgements were not given.
        baseline_rank: its place in the baseline's run, from 1; None where it was not found.
        system_rank: its place in the system's.
        text: the document; None where the collection was not given or does not hold it.
        alignment: which of its tokens the question matched, where an encoder was given.
    """

    id: str
    grade: int | None
    baseline_rank: int | None
    system_rank: int | None
    text: str | None
    alignment: Alignment | None


@dataclass(frozen=True, slots=True)
class Change:
    """One query whose value changed.

    Attributes:
        system: whose.
        collection: the collection's name.
        query: the query's id.
        text: the question; None where the collection was not given.
        baseline_value: the metric, of the baseline.
        system_value: of the system.
        documents: the first documents of both, and the relevant ones found best.
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
        """The system's value less the baseline's."""
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
    """The `count` largest changes of all pairs, largest first; on a tie those of earlier pairs and queries."""
    every = [(pair, query) for pair in pairs for query in pair.queries if query.system != query.baseline]
    every.sort(key=lambda one: -abs(one[1].system - one[1].baseline))
    changes = []
    with progress_bar(len(every[:count]), "Explaining", enabled=show_progress and encoder is not None) as advance:
        for pair, query in every[:count]:
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
            raise ValueError(f"collections: {collection.name!r} does not hold query {query.query!r}, which was judged")
        text = collection.queries[query.query]
    runs = [results[system][pair.collection].run.get(query.query, {}) for system in (pair.baseline, pair.system)]
    documents = _documents(query.query, text, runs, collection, encoder)
    return Change(pair.system, pair.collection, query.query, text, query.baseline, query.system, documents)


def _documents(
    query: str,
    question: str | None,
    runs: Sequence[Mapping[str, float]],
    collection: Collection | None,
    encoder: TextEncoder | None,
) -> tuple[DocumentChange, ...]:
    rankings = [sorted(run, key=lambda id_, run=run: (run[id_], id_), reverse=True) for run in runs]  # type: ignore[misc]
    places = [{id_: rank for rank, id_ in enumerate(ranking, start=1)} for ranking in rankings]
    grades = {} if collection is None else collection.qrels[query]

    def best(id_: str) -> tuple[float, str]:
        return min(found.get(id_, float("inf")) for found in places), id_

    relevant = sorted((id_ for id_, grade in grades.items() if grade > 0), key=best)
    # In the order of the better of both ranks.
    chosen = sorted({*rankings[0][:_SHOWN], *rankings[1][:_SHOWN], *relevant[:_SHOWN]}, key=best)
    texts = [None if collection is None else collection.documents.get(id_) for id_ in chosen]
    alignments: dict[str, Alignment] = {}
    if encoder is not None and question:
        readable = {id_: text for id_, text in zip(chosen, texts, strict=True) if text}
        alignments = dict(zip(readable, align(encoder, question, list(readable.values())), strict=True))
    return tuple(
        DocumentChange(id_, grades.get(id_), places[0].get(id_), places[1].get(id_), text, alignments.get(id_))
        for id_, text in zip(chosen, texts, strict=True)
    )
