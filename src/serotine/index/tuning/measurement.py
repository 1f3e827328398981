"""The recall of searches of rising effort, against exact searches of the same index."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serotine.index.search import Effort, rank
from serotine.index.store import Curve, Snapshot

# The best hit alone is missed less often than one of the ten best, and a few hundred queries cannot tell how often:
# searches for fewer hits take the effort of ten.
DEPTHS = (10, 100)
# Candidates beyond the depth: each effort has twice as many as the one before.
_FIRST_EXTRA = {10: 16, 100: 64}
_EFFORTS = 9
# One-sided 95%, for what is reported; one-sided 80%, for what is chosen. An effort chosen by the mean alone would keep
# its promise in half of the cases.
_REPORTED_Z, _CHOSEN_Z = 1.6449, 0.8416
# Documents of one query are found or missed together: an assumption, for queries without a miss.
_DESIGN_EFFECT = 1.5


def efforts(depth: int, documents: int) -> tuple[int, ...]:
    """Return the numbers of candidates to measure for a depth: fewer than the documents, and at least one."""
    counts = [depth + _FIRST_EXTRA[depth] * 2**i for i in range(_EFFORTS)]
    return tuple(count for count in counts if count < documents) or (counts[0],)


class Measurement:
    """The shares of the exact hits that queries find, by depth and effort.

    Attributes:
        queries: number of queries so far.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._efforts = {depth: efforts(depth, snapshot.documents) for depth in DEPTHS}
        self._shares: dict[int, list[NDArray[np.float64]]] = {depth: [] for depth in DEPTHS}
        self.queries = 0

    def add(self, queries: Sequence[NDArray[np.float32]], own: Sequence[int]) -> None:
        """Measure queries, float32 (tokens, dim); `own` are the documents that are left out of their answers."""
        proofs = rank(self._snapshot, queries, Effort(), DEPTHS[-1] + 1, None)
        exact = [_without(proof.numbers, number) for proof, number in zip(proofs, own, strict=True)]
        for depth in DEPTHS:
            shares = np.ones((len(queries), len(self._efforts[depth])))
            pending = [i for i in range(len(queries)) if exact[i]]
            for column, candidates in enumerate(self._efforts[depth]):
                if not pending:
                    break
                rankings = rank(self._snapshot, [queries[i] for i in pending], Effort(candidates + 1), depth + 1, None)
                for i, ranking in zip(pending, rankings, strict=True):
                    hits = exact[i][:depth]
                    found = set(_without(ranking.numbers, own[i])[:depth])
                    shares[i, column] = len(found.intersection(hits)) / len(hits)
                # More effort misses nothing that less has found, so that the easy queries are done.
                pending = [i for i in pending if shares[i, column] < 1]
            self._shares[depth].append(shares)
        self.queries += len(queries)

    def curves(self, margins: Mapping[int, float]) -> tuple[Curve, ...]:
        """Return the curves; shares of misses are multiplied by the margin of their depth."""
        return tuple(
            fit(depth, self._efforts[depth], np.concatenate(self._shares[depth]), margins[depth]) for depth in DEPTHS
        )


def fit(depth: int, candidates: Sequence[int], shares: NDArray[np.float64], margin: float) -> Curve:
    """Return the curve of shares of the exact hits found, float64 (queries, efforts)."""
    queries = len(shares)
    trials = queries * depth
    # Half a miss more than was seen, so that none is never taken for certainty.
    missed = _never_rising(((1 - shares).sum(axis=0) * depth + 0.5) / (trials + 1))
    reported, chosen = (
        np.minimum.accumulate(np.array([upper_bound(1 - column, depth, z) for column in shares.T]))
        for z in (_REPORTED_Z, _CHOSEN_Z)
    )
    # Of few queries without a miss, half a miss can be more than the bound.
    stored = [
        tuple(np.minimum(np.maximum(curve, missed) * margin, 1.0).tolist()) for curve in (missed, reported, chosen)
    ]
    return Curve(depth, tuple(candidates), missed=stored[0], missed_bound=stored[1], missed_safe=stored[2])


def upper_bound(missed: NDArray[np.float64], depth: int, z: float = _REPORTED_Z) -> float:
    """Return the upper bound of a mean share of misses, one-sided, `z` standard errors away: by default at 95%.

    Wilson's bound, with the number of trials that the spread between queries leaves of queries times depth (the
    effective sample size of a survey in clusters; Korn and Graubard 1998).

    Args:
        missed: float64 (queries,), the share that each misses.
        depth: number of hits that the shares are of.
        z: the quantile of the normal distribution for the bound's certainty.
    """
    queries = len(missed)
    share = float(missed.mean())
    variance = float(missed.var(ddof=1)) / queries if queries > 1 else 0.0
    trials = queries * depth / (_DESIGN_EFFECT if depth > 1 else 1)
    if variance > 0:
        trials = min(trials, share * (1 - share) / variance)
    square = z**2
    center = share + square / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    return min((center + spread) / (1 + square / trials), 1.0)


def _never_rising(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nearest values, in least squares, that never rise: neighbors that do are averaged."""
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            (second, second_size), (first, first_size) = blocks.pop(), blocks.pop()
            size = first_size + second_size
            blocks.append(((first * first_size + second * second_size) / size, size))
    return np.array([value for value, size in blocks for _ in range(size)])


def _without(numbers: Sequence[int], own: int) -> list[int]:
    return [number for number in numbers if number != own]
