"""Retrieval: from validated queries to hits, in every mode, with filter and documents."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexDamagedError, SerotineError
from serotine.index.hits import Hit, Hits, SearchStats
from serotine.index.search import fusion, plan
from serotine.index.search.options import SearchOptions
from serotine.index.search.plan import Ranking
from serotine.index.store import Store

_log = logging.getLogger("serotine.index")

# Depth of each ranking of a hybrid search: deep enough that a document good in both occurs in both.
_MIN_FUSED, _FUSED_PER_HIT = 100, 2
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

        `lenient`: return None only where a hit's document has been removed.
        """
        snapshot = self._store.snapshot()
        started = time.perf_counter()
        matching = None if options.where is None else self._store.catalog.matching(options.where)
        filtering = _milliseconds_since(started)
        started = time.perf_counter()
        depth = options.depth if options.mode != "hybrid" else max(options.depth * _FUSED_PER_HIT, _MIN_FUSED)
        lexical: list[Ranking] = []
        if options.mode != "late":
            allowed = snapshot.documents if matching is None else matching.size
            lexical = [self._lexical(options, depth, text, allowed) for text in texts]
        # The catalog's answers must describe the snapshot's documents: one replaced in between would be missed, or
        # returned under both its numbers.
        reads_both = options.mode == "hybrid" or (options.mode == "late" and matching is not None)
        if reads_both and not lenient and self._store.snapshot() is not snapshot:
            return None
        if options.mode == "bm25":
            rankings = lexical
        else:
            rankings = plan.rank(snapshot, vectors, plan.effort_for(options, depth), matching)
        if options.mode == "hybrid":
            pairs = zip(rankings, lexical, strict=True)
            rankings = [_fuse(late_ranking, lexical_ranking, options) for late_ranking, lexical_ranking in pairs]
        searching = _milliseconds_since(started) / len(texts)
        results = []
        for ranking in rankings:
            started = time.perf_counter()
            numbers, scores = ranking.numbers[options.offset :], ranking.scores[options.offset :]
            rows = self._store.catalog.rows(numbers)
            if len(rows) < len(numbers):
                return None
            hits = tuple(
                Hit(rows[number].id, score, rows[number].text, rows[number].metadata)
                for number, score in zip(numbers, scores, strict=True)
            )
            fetching = _milliseconds_since(started)
            times = {"encode": encoding, **ranking.milliseconds, "search": searching, "fetch": fetching}
            if options.where is not None:
                times["filter"] = filtering
            stats = SearchStats(ranking.plan, ranking.counts.get("allowed", 0), ranking.tokens, ranking.counts, times)
            results.append(Hits(hits, stats, ranking.certificate))
        return results

    def _lexical(self, options: SearchOptions, k: int, text: str | None, allowed: int) -> Ranking:
        scored = self._store.catalog.lexical(text or "", k, options.where)
        numbers, scores = [number for number, _ in scored], [score for _, score in scored]
        return Ranking(scores, numbers, "bm25", {"allowed": allowed, "bm25": len(scored)}, 0, {}, None)


def _fuse(late: Ranking, lexical: Ranking, options: SearchOptions) -> Ranking:
    if options.fusion == "rrf":
        fused = fusion.reciprocal_rank([late.numbers, lexical.numbers], weights=options.weights)
    else:
        scored = [list(zip(ranking.numbers, ranking.scores, strict=True)) for ranking in (late, lexical)]
        # A document without tokens scores -inf in the late ranking: it is a hit, with fused score 0.
        finite = [[pair for pair in pairs if pair[1] != -math.inf] for pairs in scored]
        fused = fusion.weighted_sum(finite, options.weights)
        fused_numbers = {number for number, _ in fused}
        without_tokens = {number: 0.0 for pairs in scored for number, _ in pairs if number not in fused_numbers}
        fused = sorted([*fused, *without_tokens.items()], key=lambda pair: (-pair[1], pair[0]))
    fused = fused[: options.depth]
    return Ranking(
        [score for _, score in fused],
        [number for number, _ in fused],
        f"{late.plan} + bm25",
        {**late.counts, "bm25": len(lexical.numbers)},
        late.tokens,
        late.milliseconds,
        None,
    )


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
