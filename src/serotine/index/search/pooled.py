"""Mode "pooled": MaxSim per query token plus a weighted similarity of the pooled vectors.

The similarities of all allowed documents are computed, so that the late ranking of a few documents bounds every other's
score: by the lowest MaxSim in the ranking and its own similarity. Documents whose bound reaches the hits are scored by
MaxSim too, until none is left (the threshold algorithm of Fagin, Lotem and Naor 2003).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.errors import index_damaged
from serotine.index.files import Segment
from serotine.index.hits import Certificate
from serotine.index.search.effort import Effort
from serotine.index.search.options import DEFAULT_POOLED_WEIGHTS, SearchOptions
from serotine.index.search.plan import Ranking, document_scores, proof_advice
from serotine.index.store import Snapshot

# Documents that a first stage contributes, unless the search says otherwise: a minimum, and some for each hit.
_MIN_CANDIDATES, _CANDIDATES_PER_HIT = 100, 2
# The same where bounds say which others are needed: a shallow late ranking takes less time.
_MIN_BOUNDED = 20
# Documents whose bound reaches the hits that are scored by MaxSim at once, those of the highest bound first.
_SCORED_AT_ONCE = 64
# How much deeper the late ranking becomes where too many bounds reach the hits.
_DEEPER = 4
# Of bounds and scores: sums of the same numbers in another order.
_ROUNDING = 1e-6

LateRanking = Callable[[int, Sequence[NDArray[np.float32]]], list[Ranking]]
"""Ranks so many documents for every query by MaxSim."""


class PooledVectors:
    """The pooled vectors of the documents that a search allows.

    Args:
        snapshot: the state to search.
        matching: document numbers that pass the filter, ascending, or None without a filter.

    Attributes:
        numbers: int64 (documents,), their numbers, ascending.
        stored: bool (documents,), whether a document has a pooled vector: it is not all zeros.
    """

    def __init__(self, snapshot: Snapshot, matching: NDArray[np.int64] | None) -> None:
        self._parts: list[tuple[Segment, NDArray[np.float16], NDArray[np.int64] | None]] = []
        numbers, stored = [np.empty(0, np.int64)], [np.empty(0, np.bool_)]
        for view in snapshot.segments.values():
            mask, pooled = view.mask(matching), view.segment.pooled
            if pooled is None or (mask is not None and not mask.any()):
                continue
            rows = None if mask is None else np.flatnonzero(mask)
            self._parts.append((view.segment, pooled, rows))
            numbers.append(view.numbers if rows is None else view.numbers[rows])
            stored.append(view.segment.has_pooled if rows is None else view.segment.has_pooled[rows])
        self.numbers: NDArray[np.int64] = np.concatenate(numbers)
        self.stored: NDArray[np.bool_] = np.concatenate(stored)
        self._order: NDArray[np.int64] | None = None
        if (np.diff(self.numbers) < 0).any():
            self._order = np.argsort(self.numbers)
            self.numbers, self.stored = self.numbers[self._order], self.stored[self._order]

    def similarities(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the similarity of every document to a query, float32 (dim,).

        Raises:
            IndexDamagedError: a stored vector is not finite.
        """
        parts = [np.empty(0, np.float32)]
        for segment, pooled, rows in self._parts:
            vectors = pooled if rows is None else pooled[rows]
            # Documents of one token each: their MaxSim is the dot product.
            offsets = np.arange(len(vectors) + 1, dtype=np.int64)
            scores: NDArray[np.float32] = maxsim.score(query[None], vectors, offsets, allow_nonfinite=True)
            if not np.isfinite(scores).all():
                record = segment.record.pooled
                path = segment.path if record is None else segment.path.with_name(record.name)
                raise index_damaged(f"{path}: a pooled vector is not finite")
            parts.append(scores)
        similarities = np.concatenate(parts)
        return similarities if self._order is None else similarities[self._order]

    def positions(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        """Return the positions of documents that are allowed."""
        return np.searchsorted(self.numbers, np.asarray(numbers, dtype=np.int64))


@dataclass(slots=True)
class _Candidates:
    """The documents of one query that are scored so far.

    Attributes:
        similarities: float32 (documents,), of every allowed document.
        late: float64 (documents,), MaxSim of every document; NaN where it is not computed.
        ranking: the late ranking.
        scored: number of documents scored by MaxSim beyond that ranking.
        tokens: number of their tokens.
        bound: the highest score of any other document; infinite where it is not known.
        milliseconds: wall time of the stages.
    """

    similarities: NDArray[np.float32]
    late: NDArray[np.float64]
    ranking: Ranking | None = None
    scored: int = 0
    tokens: int = 0
    bound: float = math.inf
    milliseconds: dict[str, float] = field(default_factory=dict)


class PooledSearch:
    """One search in mode "pooled" of one state of an index.

    Args:
        snapshot: the state.
        vectors: of the documents that it allows.
        options: of the search.
        late: ranks by MaxSim.
    """

    def __init__(self, snapshot: Snapshot, vectors: PooledVectors, options: SearchOptions, late: LateRanking) -> None:
        self._snapshot = snapshot
        self._vectors = vectors
        self._options = options
        self._late = late
        self._weights = options.weights or snapshot.pooled_weights or DEFAULT_POOLED_WEIGHTS

    def rank(
        self, depth: int, queries: Sequence[NDArray[np.float32]], pooled: Sequence[NDArray[np.float32]]
    ) -> list[Ranking]:
        """Rank at least the best `depth` documents of every query, of which there are token and pooled vectors."""
        options, first_stage = self._options, self._options.first_stage
        needs_late = first_stage == "tokens" or (first_stage is None and self._weights[0] > 0)
        # Documents below a lowest score leave hits to others.
        is_bounded = needs_late and first_stage is None and options.min_score is None
        least = _MIN_BOUNDED if is_bounded else _MIN_CANDIDATES
        count = max(options.candidates or max(least, _CANDIDATES_PER_HIT * depth), depth)
        rankings = self._late(count, queries) if needs_late else [None] * len(queries)
        return [
            self._ranked(depth, count, query, vector, ranking)
            for query, vector, ranking in zip(queries, pooled, rankings, strict=True)
        ]

    def _ranked(
        self,
        depth: int,
        count: int,
        query: NDArray[np.float32],
        pooled: NDArray[np.float32],
        ranking: Ranking | None,
    ) -> Ranking:
        started = time.perf_counter()
        similarities = self._vectors.similarities(pooled)
        candidates = _Candidates(similarities, np.full(similarities.size, np.nan))
        candidates.milliseconds["pooled"] = _since(started)
        late_weight = self._weights[0]
        if ranking is not None:
            self._add_ranking(candidates, ranking, count)
        if ranking is None:
            best = self._best(np.where(self._vectors.stored, similarities, -np.inf), count)
            if not late_weight:
                return self._by_vectors(candidates, best, depth)
            self._score(candidates, query, best)
        elif not late_weight:
            return self._by_vectors(candidates, np.flatnonzero(~np.isnan(candidates.late)), depth)
        elif self._options.first_stage is None:
            if self._options.candidates is None:
                self._complete(candidates, query, depth, count)
            else:
                others = np.where(self._vectors.stored & np.isnan(candidates.late), similarities, -np.inf)
                self._score(candidates, query, self._best(others, count))
        return self._summed(candidates, query, depth)

    def _add_ranking(self, candidates: _Candidates, ranking: Ranking, count: int) -> None:
        """Add a late ranking of `count` documents, or of fewer where there are no more with tokens."""
        candidates.ranking = ranking
        candidates.late[self._vectors.positions(ranking.numbers)] = ranking.scores
        if len(ranking.numbers) < count:
            candidates.late[np.isnan(candidates.late)] = -np.inf

    def _complete(self, candidates: _Candidates, query: NDArray[np.float32], depth: int, count: int) -> None:
        """Score by MaxSim until no other document can be among the best `depth`, given the late ranking."""
        while True:
            budget = candidates.scored + count
            while True:
                unknown = np.isnan(candidates.late)
                lowest = candidates.ranking.scores[-1] if candidates.ranking and candidates.ranking.scores else 0.0
                bounds = np.where(unknown, self._sums(lowest, candidates.similarities, query), -np.inf)
                candidates.bound = float(bounds.max(initial=-np.inf))
                scores = self._sums(candidates.late[~unknown], candidates.similarities[~unknown], query)
                kth = float(np.partition(scores, -depth)[-depth]) if scores.size >= depth else -math.inf
                reaching = np.flatnonzero(bounds >= kth - _ROUNDING) if unknown.any() else np.empty(0, np.int64)
                # By MaxSim alone, the late ranking is the answer, whatever ends with its score.
                if not reaching.size or not self._weights[1]:
                    return
                if candidates.scored >= budget:
                    break
                best = reaching[np.argsort(-bounds[reaching], kind="stable")[:_SCORED_AT_ONCE]]
                self._score(candidates, query, best)
            count *= _DEEPER
            (ranking,) = self._late(count, [query])
            self._add_ranking(candidates, ranking, count)

    def _score(self, candidates: _Candidates, query: NDArray[np.float32], positions: NDArray[np.int64]) -> None:
        """Compute MaxSim of documents."""
        started = time.perf_counter()
        numbers = self._vectors.numbers[positions]
        scores, tokens = document_scores(self._snapshot, query, numbers.tolist())
        candidates.late[positions] = [scores[number] for number in numbers.tolist()]
        candidates.scored += positions.size
        candidates.tokens += tokens
        candidates.milliseconds["maxsim"] = candidates.milliseconds.get("maxsim", 0.0) + _since(started)

    def _sums(
        self, late: NDArray[np.float64] | float, similarities: NDArray[np.float32], query: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        late_weight, pooled_weight = self._weights
        sums: NDArray[np.float64] = late_weight / max(len(query), 1) * np.asarray(late) + (
            pooled_weight * similarities.astype(np.float64)
        )
        return sums

    def _best(self, values: NDArray[np.floating], count: int) -> NDArray[np.int64]:
        """Return the positions of the best values, best first; those that are -inf are left out."""
        finite = np.flatnonzero(values > -np.inf)
        if finite.size > count:
            finite = finite[np.argpartition(-values[finite], count - 1)[:count]]
        return finite[np.lexsort((finite, -values[finite]))]

    def _by_vectors(self, candidates: _Candidates, positions: NDArray[np.int64], depth: int) -> Ranking:
        """Return the ranking by the pooled vectors alone."""
        positions = positions[self._vectors.stored[positions]]
        order = np.lexsort((positions, -candidates.similarities[positions]))
        positions = positions[order]
        scores = self._weights[1] * candidates.similarities[positions].astype(np.float64)
        certificate = None
        if self._options.exact:
            statement = f"Exact: the pooled vectors of all {self._vectors.numbers.size:,} documents were compared."
            others = self._vectors.stored.copy()
            others[positions[:depth]] = False
            bound = float((self._weights[1] * candidates.similarities[others]).max(initial=-np.inf))
            kth = float(scores[:depth][-1]) if scores.size else -math.inf
            certificate = Certificate(True, kth, bound, self._vectors.numbers.size, 0, statement)
        return self._ranking(candidates, positions, scores, {}, certificate)

    def _summed(self, candidates: _Candidates, query: NDArray[np.float32], depth: int) -> Ranking:
        """Return the ranking by the sums."""
        positions = np.flatnonzero(np.isfinite(candidates.late))
        scores = self._sums(candidates.late[positions], candidates.similarities[positions], query)
        order = np.lexsort((positions, -scores))
        positions, scores = positions[order], scores[order]
        late = dict(zip(self._vectors.numbers[positions].tolist(), candidates.late[positions].tolist(), strict=True))
        certificate = self._certificate(candidates, scores[:depth]) if self._options.exact else None
        return self._ranking(candidates, positions, scores, late, certificate)

    def _certificate(self, candidates: _Candidates, scores: NDArray[np.float64]) -> Certificate:
        late = candidates.ranking.certificate if candidates.ranking is not None else None
        kth = float(scores[-1]) if scores.size else -math.inf
        rescored = int(np.isfinite(candidates.late).sum())
        rest = self._vectors.numbers.size - rescored
        has_vectors = all(view.segment.vectors is not None for view in self._snapshot.segments.values())
        if late is not None and late.exact and has_vectors:
            statement = (
                f"Exact: {rescored:,} of {self._vectors.numbers.size:,} documents were scored by MaxSim over their "
                "float16 vectors"
            )
            if rest:
                statement += f"; with their pooled vectors, no bound of the other {rest:,} reaches the last hit's score"
            statement += "."
            return Certificate(True, kth, candidates.bound, rescored, 0, statement)
        statement = f"Not proved: vectors are not stored, so that MaxSim is estimated. {proof_advice()}"
        return Certificate(False, kth, candidates.bound, rescored, rest, statement)

    def _ranking(
        self,
        candidates: _Candidates,
        positions: NDArray[np.int64],
        scores: NDArray[np.float64],
        late: dict[int, float],
        certificate: Certificate | None,
    ) -> Ranking:
        first = candidates.ranking
        compared = self._vectors.numbers.size
        counts = {"allowed": compared, "pooled": compared}
        if candidates.scored:
            counts["maxsim"] = candidates.scored
        plan = f"{first.plan} + pooled" if first is not None else "pooled + maxsim" if late else "pooled"
        ranking = Ranking(
            scores.tolist(),
            self._vectors.numbers[positions].tolist(),
            plan,
            counts,
            candidates.tokens,
            candidates.milliseconds,
            certificate,
            late,
            Effort() if first is None else first.effort,
        )
        if first is None:
            return ranking
        return replace(
            ranking,
            counts={**first.counts, **counts},
            tokens=first.tokens + candidates.tokens,
            milliseconds={**first.milliseconds, **candidates.milliseconds},
        )


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
