"""Retrieval: from validated queries to hits, in every mode, with filter and documents."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.errors import IndexDamagedError, SerotineError
from serotine.index.hits import Hit, Hits, SearchStats, document_of
from serotine.index.search import fusion, plan
from serotine.index.search.effort import choose_effort
from serotine.index.search.options import SearchOptions
from serotine.index.search.plan import Ranking
from serotine.index.search.selection import Selection, per_token, select
from serotine.index.store import Snapshot, Store

_log = logging.getLogger("serotine.index")

# Depth of each ranking of a hybrid search: deep enough that a document good in both occurs in both.
_MIN_FUSED, _FUSED_PER_HIT = 100, 2
# Passages ranked for groups of them, at first; then four times as many until there are enough groups.
_MIN_GROUPED, _PASSAGES_PER_GROUP, _DEEPER = 40, 4, 4
# Attempts of a search whose hits a writer removes meanwhile.
_ATTEMPTS = 8


class Retriever:
    """Searches of a store's newest snapshot."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def search(
        self,
        options: SearchOptions,
        vectors: Sequence[NDArray[np.float32]],
        texts: Sequence[str | None],
        encoding: float,
    ) -> list[Hits]:
        """Return the hits of every query.

        Args:
            options: options of all the queries.
            vectors: token vectors of every query; empty in mode "bm25".
            texts: text of every query, or None where there is none, as only mode "late" allows.
            encoding: milliseconds that encoding took per query.

        Raises:
            IndexDamagedError: the catalog lacks a document that a segment holds.
            SerotineError: writers changed the index during every attempt.
        """
        if not texts:
            return []
        before = self._store.snapshot()
        for remaining in reversed(range(_ATTEMPTS)):
            # The last attempt of a search without a proof is lenient, so that a busy writer cannot block searches.
            lenient = not remaining and not options.exact
            hits = self._attempt(options, vectors, texts, encoding, lenient=lenient)
            if hits is not None:
                return hits
            _log.debug("%s: changed during a search; retrying", self._store.folder)
        if self._store.snapshot() is before:
            raise IndexDamagedError(
                f"{self._store.folder}: a document that a segment holds is not in the catalog; "
                "restore the index from a backup"
            )
        raise SerotineError(f"{self._store.folder}: the index is rewritten faster than it can be read; try again")

    def _attempt(
        self,
        options: SearchOptions,
        vectors: Sequence[NDArray[np.float32]],
        texts: Sequence[str | None],
        encoding: float,
        *,
        lenient: bool,
    ) -> list[Hits] | None:
        """Return the hits, or None where a writer has changed the index meanwhile.

        `lenient`: return None only where a hit's document has been removed; documents that have left the filter
        meanwhile are no hits.
        """
        snapshot = self._store.snapshot()
        started = time.perf_counter()
        matching = None if options.where is None else self._store.catalog.matching(options.where)
        filtering = _milliseconds_since(started)
        started = time.perf_counter()
        choices: dict[int, _Choice] = {}
        depth = _first_depth(options)
        pending = list(range(len(texts)))
        while pending:
            queries = [vectors[i] for i in pending] if options.mode != "bm25" else []
            rankings = self._rank(options, depth, snapshot, queries, [texts[i] for i in pending], matching)
            # The catalog's answers must describe the snapshot's documents: one replaced in between would be missed, or
            # returned under both its numbers.
            reads_both = options.mode == "hybrid" or (options.mode == "late" and matching is not None)
            if reads_both and not lenient and self._store.snapshot() is not snapshot:
                return None
            for i, ranking in zip(pending, rankings, strict=True):
                choice = self._choose(options, snapshot, vectors[i] if vectors else None, ranking)
                if choice is None:
                    return None
                choices[i] = choice
            pending = [i for i in pending if _needs_more(options, choices[i], depth)]
            depth *= _DEEPER
        searching = _milliseconds_since(started) / len(texts)
        results = []
        for i in range(len(texts)):
            started = time.perf_counter()
            choice = choices[i]
            selection, ranking = choice.selection, choice.ranking
            # With the filter again: the metadata of a hit may have changed since.
            rows = self._store.catalog.rows(selection.numbers, options.where)
            if len(rows) < len(selection.numbers) and not (lenient and self._all_stored(selection.numbers)):
                return None
            hits = tuple(
                Hit(
                    rows[number].id,
                    score,
                    rows[number].text,
                    rows[number].metadata,
                    per_token(ranking.late.get(number), choice.query_tokens),
                    others,
                )
                for number, score, others in zip(selection.numbers, selection.scores, selection.others, strict=True)
                if number in rows
            )
            fetching = _milliseconds_since(started)
            times = {"encode": encoding, **ranking.milliseconds, "search": searching, "fetch": fetching}
            if options.where is not None:
                times["filter"] = filtering
            documents = ranking.counts.get("allowed", 0)
            best = per_token(max(ranking.late.values(), default=None), choice.query_tokens)
            effort = ranking.effort
            stats = SearchStats(
                ranking.plan, documents, ranking.tokens, ranking.counts, times, selection.below, best,
                effort.candidates, effort.expected_recall, effort.recall_lower_bound,
            )  # fmt: skip
            results.append(Hits(hits, stats, ranking.certificate))
        return results

    def _all_stored(self, numbers: Sequence[int]) -> bool:
        return len(self._store.catalog.rows(numbers)) == len(numbers)

    def _rank(
        self,
        options: SearchOptions,
        depth: int,
        snapshot: Snapshot,
        vectors: Sequence[NDArray[np.float32]],
        texts: Sequence[str | None],
        matching: NDArray[np.int64] | None,
    ) -> list[Ranking]:
        """Rank at least the best `depth` documents of every query; of both rankings in mode "hybrid"."""
        lexical: list[Ranking] = []
        if options.mode != "late":
            allowed = snapshot.documents if matching is None else matching.size
            lexical = [self._lexical(options, depth, text, allowed) for text in texts]
        if options.mode == "bm25":
            return lexical
        effort = choose_effort(options, depth, snapshot.calibration)
        rankings = plan.rank(snapshot, vectors, effort, depth, matching)
        if options.mode == "hybrid":
            pairs = zip(rankings, lexical, strict=True)
            rankings = [_fuse(late_ranking, lexical_ranking, options) for late_ranking, lexical_ranking in pairs]
        return rankings

    def _choose(
        self, options: SearchOptions, snapshot: Snapshot, query: NDArray[np.float32] | None, ranking: Ranking
    ) -> _Choice | None:
        """Select the hits of a ranking; None where a writer has removed one of its documents."""
        groups = None
        if options.group_by is not None:
            rows = self._store.catalog.rows(ranking.numbers)
            if len(rows) < len(ranking.numbers):
                return None
            groups = {number: document_of(row.id, row.metadata) for number, row in rows.items()}
        query_tokens = 0 if query is None else len(query)
        if query is not None and options.min_score is not None:
            _score_missing(snapshot, query, ranking.numbers, ranking.late)
        selection = select(ranking, options, query_tokens, groups)
        if query is not None:
            _score_missing(snapshot, query, selection.numbers, ranking.late)
        return _Choice(ranking, selection, query_tokens)

    def _lexical(self, options: SearchOptions, k: int, text: str | None, allowed: int) -> Ranking:
        scored = self._store.catalog.lexical(text or "", k, options.where)
        numbers, scores = [number for number, _ in scored], [score for _, score in scored]
        return Ranking(scores, numbers, "bm25", {"allowed": allowed, "bm25": len(scored)}, 0, {}, None)


@dataclass(frozen=True, slots=True)
class _Choice:
    """The ranking of one query, what of it becomes hits, and the number of query vectors."""

    ranking: Ranking
    selection: Selection
    query_tokens: int


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


def _score_missing(
    snapshot: Snapshot, query: NDArray[np.float32], numbers: Sequence[int], late: dict[int, float]
) -> None:
    """Add the MaxSim of documents that the late ranking lacks: those that only the lexical one has."""
    located = {number: snapshot.locate(number) for number in numbers if number not in late}
    present = {number: location for number, location in located.items() if location is not None}
    if present:
        documents = [segment.document(position) for segment, position in present.values()]
        late.update(zip(present, maxsim.score(query, documents).tolist(), strict=True))


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
