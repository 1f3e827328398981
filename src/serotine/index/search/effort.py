"""The effort of a late search: the least that keeps the recall it promises, by what was measured on the index."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from serotine.index.search.options import DEFAULT_RECALL, SearchOptions
from serotine.index.store import Calibration, Curve


def _unmeasured(depth: int, candidates: tuple[int, ...], missed: tuple[float, ...]) -> Curve:
    return Curve(depth, candidates, missed, missed_bound=(), missed_safe=missed)


# An index without a calibration: shares missed with serotine-mini on 20,000 package descriptions, and a fifth more.
# Below 400 candidates for a hundred hits they are those of multilingual-e5-small on French paragraphs
# (benchmarks/recall.py).
_UNMEASURED = (
    _unmeasured(10, (32, 64, 128, 192, 256, 384, 768, 1024), (0.056, 0.022, 0.01, 0.006, 0.005, 0.003, 0.0012, 0.0005)),
    _unmeasured(
        100, (150, 200, 276, 400, 512, 768, 1024, 2048), (0.14, 0.085, 0.04, 0.017, 0.01, 0.005, 0.003, 0.0005)
    ),
)
# Factors on the candidates by number of documents and depth: measured on 61,402 package descriptions (`serotine bench
# index`) and on a million passages (benchmarks/million.py), straight lines in logarithms between them. The last point
# is a guess.
_UNMEASURED_GROWTH: dict[int, tuple[tuple[int, float], ...]] = {
    10: ((20_000, 1.0), (61_402, 1.75), (1_000_000, 2.08), (10**9, 12.5)),
    100: ((20_000, 1.0), (61_402, 1.22), (1_000_000, 2.08), (10**9, 12.5)),
}

# A share of misses below any that can be measured.
_LEAST_MISSED = 1e-7
# 1 - 0.9 is less than 0.1.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Effort:
    """The effort of a search.

    Attributes:
        candidates: number of documents scored over their codes; None for an exact search.
        expected_recall: the share of the exact hits that such searches find; None where it was not measured.
        recall_lower_bound: its lower bound, at 95%, one-sided; None where it was not measured.
    """

    candidates: int | None = None
    expected_recall: float | None = None
    recall_lower_bound: float | None = None


def choose_effort(options: SearchOptions, depth: int, calibration: Calibration | None, documents: int = 0) -> Effort:
    """Return the effort of a late search for `depth` hits; the number of documents counts without a calibration."""
    if options.exact:
        return Effort()
    if options.candidates is not None:
        return _given(max(options.candidates, depth), depth, calibration)
    recall = DEFAULT_RECALL if options.recall is None else options.recall
    if calibration is None:
        return _sufficient(recall, depth, _unmeasured_curves(documents), measured=False)
    return _sufficient(recall, depth, calibration.curves, measured=True)


@lru_cache(maxsize=16)
def _unmeasured_curves(documents: int) -> tuple[Curve, ...]:
    """Return the curves of an index of so many documents that has no calibration."""
    curves = []
    for curve in _UNMEASURED:
        growth = _growth(documents, curve.depth)
        curves.append(replace(curve, candidates=tuple(math.ceil(count * growth) for count in curve.candidates)))
    return tuple(curves)


def _growth(documents: int, depth: int) -> float:
    """Return how many times as many candidates so many documents need as 20,000."""
    counts, factors = zip(*_UNMEASURED_GROWTH[depth], strict=True)
    return math.exp(np.interp(math.log(max(documents, 1)), np.log(counts), np.log(factors)))


# Searches of one index repeat a few pairs of recall and depth.
@lru_cache(maxsize=1024)
def _sufficient(recall: float, depth: int, curves: tuple[Curve, ...], *, measured: bool) -> Effort:
    """Return the least effort that keeps `recall`, as is 80% certain: an exact search where no other is known."""
    place = _place(curves, depth, (1 - recall) * (1 + _ROUNDING))
    if place is None:
        return Effort()
    candidates = max(math.ceil(place.candidates * (1 - _ROUNDING)), depth)
    return place.effort(candidates) if measured else Effort(candidates)


@lru_cache(maxsize=1024)
def _given(candidates: int, depth: int, calibration: Calibration | None) -> Effort:
    """Return a given effort with what was measured of it."""
    if calibration is None:
        return Effort(candidates)
    low, high = math.log(_LEAST_MISSED), 0.0
    for _ in range(40):
        middle = (low + high) / 2
        place = _place(calibration.curves, depth, math.exp(middle))
        if place is None or place.candidates * (1 - _ROUNDING) > candidates:
            low = middle
        else:
            high = middle
    place = _place(calibration.curves, depth, math.exp(high))
    if place is None or place.candidates * (1 - _ROUNDING) > candidates:
        # Fewer candidates than any that were measured.
        return Effort(candidates)
    return place.effort(candidates)


@dataclass(frozen=True, slots=True)
class _Place:
    """A place on the curves of two depths with one of the sought depth between them.

    Attributes:
        candidates: number of documents to score over their codes for the sought depth.
        curves: a curve, the number of candidates on it, and its weight.
    """

    candidates: float
    curves: tuple[tuple[Curve, float, float], ...]

    def effort(self, candidates: int) -> Effort:
        missed = sum(weight * _interpolated(curve, curve.missed, place) for curve, place, weight in self.curves)
        bound = sum(weight * _interpolated(curve, curve.missed_bound, place) for curve, place, weight in self.curves)
        return Effort(candidates, 1 - missed, 1 - bound)


def _place(curves: Sequence[Curve], depth: int, missed: float) -> _Place | None:
    """Return the least effort that misses at most a share `missed`, between the depths that were measured.

    Efforts for one share of misses grow like a power of the depth from one measured depth to the next, and in
    proportion beyond the last. None where no measured effort misses as little.
    """
    above = next((i for i, curve in enumerate(curves) if curve.depth >= depth), len(curves))
    if above == len(curves):
        least = _least(curves[-1], missed)
        return None if least is None else _Place(least * depth / curves[-1].depth, ((curves[-1], least, 1.0),))
    upper = curves[above]
    lower = curves[max(above - 1, 0)]
    at_upper, at_lower = _least(upper, missed), _least(lower, missed)
    if at_upper is None or at_lower is None:
        return None
    if upper is lower or upper.depth == depth:
        return _Place(at_upper, ((upper, at_upper, 1.0),))
    weight = math.log(depth / lower.depth) / math.log(upper.depth / lower.depth)
    candidates = at_lower ** (1 - weight) * at_upper**weight
    return _Place(candidates, ((lower, at_lower, 1 - weight), (upper, at_upper, weight)))


def _least(curve: Curve, missed: float) -> float | None:
    """Return the least number of candidates that misses at most a share `missed`; log-log between measured ones."""
    shares = curve.missed_safe
    i = next((i for i, share in enumerate(shares) if share <= missed), None)
    if i is None:
        return None
    if i == 0:
        return float(curve.candidates[0])
    before, after = shares[i - 1], shares[i]
    share = math.log(before / missed) / math.log(before / after)
    return float(curve.candidates[i - 1] * (curve.candidates[i] / curve.candidates[i - 1]) ** share)


def _interpolated(curve: Curve, values: Sequence[float], candidates: float) -> float:
    """Return the value of a curve at a number of candidates within those measured; log-log between them."""
    i = next((i for i, count in enumerate(curve.candidates) if count >= candidates), len(values) - 1)
    if i == 0:
        return values[0]
    before, after = curve.candidates[i - 1], curve.candidates[i]
    share = math.log(min(candidates, after) / before) / math.log(after / before)
    return float(values[i - 1] ** (1 - share) * values[i] ** share)
