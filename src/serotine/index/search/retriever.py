"""From a query to hits: the modes, the filter, and the rows that belong to what was found."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexDamagedError, SerotineError
from serotine.index.results import Hit, Hits, SearchStats
from serotine.index.search import fusion, plan
from serotine.index.search.options import SearchOptions
from serotine.index.search.plan import Ranking
from serotine.index.store.catalog import Catalog
from serotine.index.store.snapshot import Snapshot

# What each side of a hybrid search brings: deep enough that a document good in both is seen in both.
_FUSED_LEAST, _FUSED_EACH = 100, 2
# How often a search begins again because a writer removed what it had found.
_ATTEMPTS = 8


class Retriever:
    """Answers requests from the newest snapshot that `current` gives."""

    def __init__(self, catalog: Catalog, current: Callable[[], Snapshot]) -> None:
        self._catalog = catalog
        self._current = current

    def answer(
        self,
        options: SearchOptions,
        vectors: Sequence[NDArray[np.float32]],
        questions: Sequence[str | None],
        encoding: float,
    ) -> list[Hits]:
        """Hits for every query: by token vectors on the late side, if the mode has one, and questions on the lexical.

        `encoding` is the time the encoder took for each, in milliseconds.
        """
        if not questions:
            return []
        before = self._current()
        for left in reversed(range(_ATTEMPTS)):
            # A writer that commits without pause must not keep searches from ending; only a proof admits no doubt.
            found = self._attempt(options, vectors, questions, encoding, lenient=not left and not options.exact)
            if found is not None:
                return found
        if self._current() is before:
            raise IndexDamagedError(
                "a document that a segment holds is not in the catalog; restore the index from a backup"
            )
        raise SerotineError("the index is being rewritten faster than it can be read; try again")

    def _attempt(
        self,
        options: SearchOptions,
        vectors: Sequence[NDArray[np.float32]],
        questions: Sequence[str | None],
        encoding: float,
        *,
        lenient: bool,
    ) -> list[Hits] | None:
        """One attempt; None where a writer has changed meanwhile what it reads.

        `lenient`: only where a document found has been removed.
        """
        snapshot = self._current()
        started = time.perf_counter()
        matching = None if options.where is None else self._catalog.matching(options.where)
        filtering = _since(started)
        started = time.perf_counter()
        depth = options.k if options.mode != "hybrid" else max(options.k * _FUSED_EACH, _FUSED_LEAST)
        words: list[Ranking] = []
        if options.mode != "late":
            allowed = snapshot.documents if matching is None else matching.size
            words = [self._lexical(options, depth, question, allowed) for question in questions]
        # What the catalog said must be of the documents that the snapshot has: one replaced in between would be
        # missed, or found under both its numbers.
        reads_both = options.mode == "hybrid" or (options.mode == "late" and matching is not None)
        if reads_both and not lenient and self._current() is not snapshot:
            return None
        rankings = words if options.mode == "bm25" else self._late(snapshot, options, depth, vectors, matching)
        if options.mode == "hybrid":
            rankings = [_fused(one, other, options) for one, other in zip(rankings, words, strict=True)]
        searched = _since(started) / len(questions)
        out = []
        for ranking in rankings:
            started = time.perf_counter()
            rows = self._catalog.rows(ranking.numbers)
            if len(rows) < len(ranking.numbers):
                return None
            hits = tuple(
                Hit(rows[number].id, score, rows[number].text, rows[number].metadata)
                for number, score in zip(ranking.numbers, ranking.scores, strict=True)
            )
            times = {"encode": encoding, **ranking.milliseconds, "search": searched, "fetch": _since(started)}
            if options.where is not None:
                times["filter"] = filtering
            stats = SearchStats(ranking.plan, ranking.counts.get("allowed", 0), ranking.tokens, ranking.counts, times)
            out.append(Hits(hits, stats, ranking.certificate))
        return out

    def _late(
        self,
        snapshot: Snapshot,
        options: SearchOptions,
        k: int,
        vectors: Sequence[NDArray[np.float32]],
        matching: NDArray[np.int64] | None,
    ) -> list[Ranking]:
        effort = plan.effort_for(k, options.candidates)
        return plan.rank(snapshot, vectors, k, effort=effort, matching=matching, exact=options.exact)

    def _lexical(self, options: SearchOptions, k: int, question: str | None, allowed: int) -> Ranking:
        found = self._catalog.lexical(question or "", k, options.where)
        numbers, scores = [number for number, _ in found], [score for _, score in found]
        return Ranking(scores, numbers, "bm25", {"allowed": allowed, "bm25": len(found)}, 0, {}, None)


def _fused(late: Ranking, lexical: Ranking, options: SearchOptions) -> Ranking:
    if options.fusion == "rrf":
        fused = fusion.reciprocal_rank([late.numbers, lexical.numbers], weights=options.weights)
    else:
        pairs = [list(zip(each.numbers, each.scores, strict=True)) for each in (late, lexical)]
        # A document without tokens scores -inf: found, and worth nothing.
        finite = [[pair for pair in each if pair[1] != -math.inf] for each in pairs]
        fused = fusion.weighted_sum(finite, options.weights)
        counted = {number for number, _ in fused}
        worthless = {number: 0.0 for each in pairs for number, _ in each if number not in counted}
        fused = sorted([*fused, *worthless.items()], key=lambda pair: (-pair[1], pair[0]))
    fused = fused[: options.k]
    return Ranking(
        [score for _, score in fused],
        [number for number, _ in fused],
        f"{late.plan} + bm25",
        {**late.counts, "bm25": len(lexical.numbers)},
        late.tokens,
        late.milliseconds,
        None,
    )


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
