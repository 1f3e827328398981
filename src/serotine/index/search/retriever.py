"""Retrieval: from validated queries to hits, in every mode, with filter and documents."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serotine.errors import SerotineError, index_damaged
from serotine.index.hits import Hit, Hits, SearchStats, document_of
from serotine.index.search import fusion
from serotine.index.search.documents import Documents, Queries, Rankings, View
from serotine.index.search.options import SearchOptions
from serotine.index.search.plan import Ranking
from serotine.index.search.selection import Selection, per_token, select

_log = logging.getLogger("serotine.index")

# Depth of each ranking of a hybrid search: deep enough that a document good in both occurs in both.
_MIN_FUSED, _FUSED_PER_HIT = 100, 2
# Passages ranked for groups of them, at first; then four times as many until there are enough groups.
_MIN_GROUPED, _PASSAGES_PER_GROUP, _DEEPER = 40, 4, 4
# Attempts of a search whose hits a writer removes meanwhile.
_ATTEMPTS = 8


class Retriever:
    """Searches of the newest state of documents."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def search(
        self,
        options: SearchOptions,
        queries: Queries,
        encoding: float,
    ) -> list[Hits]:
        """Return the hits of every query.

        Args:
            options: options of all the queries.
            queries: texts and vectors.
            encoding: milliseconds that encoding took per query.

        Raises:
            IndexDamagedError: the catalog lacks a document that a segment holds, or segments hold one more than once.
            SerotineError: writers changed the index during every attempt.
        """
        if not queries.texts:
            return []
        before = self._documents.state()
        place = self._documents.place
        for remaining in reversed(range(_ATTEMPTS)):
            # The last attempt of a search without a proof is lenient, so that a busy writer cannot block searches.
            lenient = not remaining and not options.exact
            hits = self._attempt(options, queries, encoding, lenient=lenient)
            if hits is not None:
                return hits
            _log.debug("%s: changed during a search; retrying", place)
        if self._documents.state() is before:
            raise index_damaged(f"{place}: a document that a segment holds is not in the catalog")
        raise SerotineError(f"{place}: the index is rewritten faster than it can be read; try again")

    def _attempt(
        self,
        options: SearchOptions,
        queries: Queries,
        encoding: float,
        *,
        lenient: bool,
    ) -> list[Hits] | None:
        """Return the hits, or None where a writer has changed the index meanwhile.

        `lenient`: return None only where a hit's document has been removed; documents that have left the filter
        meanwhile are not hits.
        """
        view = self._documents.view(options, lenient=lenient)
        started = time.perf_counter()
        choices: dict[int, _Choice] = {}
        depth = _first_depth(options)
        vectors, count = queries.vectors, len(queries.texts)
        pending = list(range(count))
        while pending:
            rankings = view.rank(depth, queries.at(pending))
            if rankings is None:
                return None
            for i, rankings_of_query in zip(pending, rankings, strict=True):
                late = rankings_of_query.late
                if late is not None and len(set(late.numbers)) < len(late.numbers):
                    raise index_damaged(f"{self._documents.place}: a document is in segments more than once")
                ranking = _combined(rankings_of_query, options)
                chosen = _choose(options, view, vectors[i] if vectors else None, ranking)
                if chosen is None:
                    return None
                choices[i] = chosen
            pending = [i for i in pending if _needs_more(options, choices[i], depth)]
            depth *= _DEEPER
        searching = _milliseconds_since(started) / count
        results = []
        for i in range(count):
            started = time.perf_counter()
            choice = choices[i]
            selection, ranking = choice.selection, choice.ranking
            # With the filter again: the metadata of a hit may have changed since.
            rows = view.rows(selection.numbers, filtered=True)
            if len(rows) < len(selection.numbers) and not (lenient and _all_there(view, selection.numbers)):
                return None
            maxsim = ranking.late
            hits = tuple(
                Hit(row.id, score, row.text, row.metadata, per_token(maxsim.get(number), choice.query_tokens), others)
                for number, score, others in zip(selection.numbers, selection.scores, selection.others, strict=True)
                if (row := rows.get(number)) is not None
            )
            fetching = _milliseconds_since(started)
            times = {"encode": encoding, **ranking.milliseconds, "search": searching, "fetch": fetching}
            if options.where is not None:
                times["filter"] = view.filtering
            documents = ranking.counts.get("allowed", 0)
            best = per_token(max(maxsim.values(), default=None), choice.query_tokens)
            effort = ranking.effort
            stats = SearchStats(
                ranking.plan, documents, ranking.tokens, ranking.counts, times, selection.below, best,
                effort.candidates, effort.expected_recall, effort.recall_lower_bound,
            )  # fmt: skip
            results.append(Hits(hits, stats, ranking.certificate, partial=view.partial))
        return results


@dataclass(frozen=True, slots=True)
class _Choice:
    """The ranking of one query, what of it becomes hits, and the number of query vectors."""

    ranking: Ranking
    selection: Selection
    query_tokens: int


def _choose(options: SearchOptions, view: View, query: NDArray[np.float32] | None, ranking: Ranking) -> _Choice | None:
    """Select the hits of a ranking; None where a writer has removed one of its documents."""
    groups = None
    if options.group_by is not None:
        rows = view.rows(ranking.numbers, filtered=False)
        if len(rows) < len(ranking.numbers):
            return None
        groups = {number: document_of(row.id, row.metadata) for number, row in rows.items()}
    query_tokens = 0 if query is None else len(query)
    if query is not None and options.min_score is not None:
        _score_missing(view, query, ranking.numbers, ranking.late)
    selection = select(ranking, options, query_tokens, groups)
    if query is not None:
        _score_missing(view, query, selection.numbers, ranking.late)
    return _Choice(ranking, selection, query_tokens)


def _all_there(view: View, numbers: Sequence[int]) -> bool:
    return len(view.rows(numbers, filtered=False)) == len(numbers)


def _first_depth(options: SearchOptions) -> int:
    depth = options.depth
    if options.group_by is not None:
        depth = max(depth * _PASSAGES_PER_GROUP, _MIN_GROUPED)
    return depth if options.mode != "hybrid" else max(depth * _FUSED_PER_HIT, _MIN_FUSED)


def _needs_more(options: SearchOptions, choice: _Choice, depth: int) -> bool:
    """Return whether a deeper ranking could have groups that are missing among the hits."""
    if options.group_by is None or choice.selection.groups >= options.depth:
        return False
    # Late interaction ranks every document: with fewer than `depth` of them, there are no more.
    return len(choice.ranking.late or choice.ranking.numbers) >= depth


def _score_missing(view: View, query: NDArray[np.float32], numbers: Sequence[int], late: dict[int, float]) -> None:
    """Add the MaxSim of documents that the late ranking lacks: those that only the lexical one has."""
    if missing := [number for number in numbers if number not in late]:
        late.update(view.late_scores(query, missing))


def _combined(rankings: Rankings, options: SearchOptions) -> Ranking:
    """Return the one ranking there is, or both fused."""
    late, lexical = rankings.late, rankings.lexical
    if late is None or lexical is None:
        ranking = late or lexical
        if ranking is None:
            raise ValueError("rankings: must be at least one, got none")
        return ranking
    return _fuse(late, lexical, options)


def _fuse(late: Ranking, lexical: Ranking, options: SearchOptions) -> Ranking:
    if options.fusion == "rrf":
        fused = fusion.reciprocal_rank([late.numbers, lexical.numbers], weights=options.weights)
    else:
        scored = [list(zip(ranking.numbers, ranking.scores, strict=True)) for ranking in (late, lexical)]
        fused = fusion.weighted_sum(scored, options.weights or (1.0, 1.0))
    return Ranking(
        [score for _, score in fused],
        [number for number, _ in fused],
        f"{late.plan} + bm25",
        {**late.counts, "bm25": len(lexical.numbers)},
        late.tokens,
        late.milliseconds,
        None,
        late.late,
        late.effort,
    )


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
