"""Several rankings of the same documents made into one."""

from __future__ import annotations

import math
from collections.abc import Sequence


def reciprocal_rank(
    rankings: Sequence[Sequence[int]], k: int = 60, weights: Sequence[float] | None = None
) -> list[tuple[int, float]]:
    """Reciprocal rank fusion: a document's score is the sum of weight / (k + rank), ranks counted from 1.

    Needs no scores, so it joins rankings whose scores have nothing in common. Cormack, Clarke and Buettcher,
    "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", SIGIR 2009, with their k.

    Args:
        rankings: document numbers, best first, no document twice in one ranking.
        k: 0 or more; the larger, the less the first few ranks stand out.
        weights: one a ranking, finite and not negative; all 1 where None.

    Returns:
        (document number, score) of every document of any ranking, best first, ties to the lower number.

    Raises:
        ValueError: k, the weights or a ranking is not as above.
    """
    if k < 0:
        raise ValueError(f"k: want 0 or more, got {k}")
    terms: dict[int, list[float]] = {}
    for i, (ranking, weight) in enumerate(zip(rankings, _weights(weights, len(rankings)), strict=True)):
        _check_once(ranking, f"rankings[{i}]")
        for rank, document in enumerate(ranking, start=1):
            terms.setdefault(document, []).append(weight / (k + rank))
    return _best_first(terms)


def weighted_sum(
    rankings_with_scores: Sequence[Sequence[tuple[int, float]]], weights: Sequence[float]
) -> list[tuple[int, float]]:
    """Weighted sum of min-max normalised scores: in each ranking the best score becomes 1 and the lowest 0.

    A document that a ranking lacks gets 0 from it. Where all scores of a ranking are equal they become 1: to be
    found at all is then what the ranking says.

    Args:
        rankings_with_scores: (document number, finite score), more is better, no document twice in one ranking.
        weights: one a ranking, finite and not negative.

    Returns:
        (document number, score) of every document of any ranking, best first, ties to the lower number.

    Raises:
        ValueError: the weights, a score or a ranking is not as above.
    """
    terms: dict[int, list[float]] = {}
    for i, (ranking, weight) in enumerate(
        zip(rankings_with_scores, _weights(weights, len(rankings_with_scores)), strict=True)
    ):
        name = f"rankings_with_scores[{i}]"
        _check_once([document for document, _ in ranking], name)
        for document, score in ranking:
            if not math.isfinite(score):
                raise ValueError(f"{name}: document {document} has the score {score}; want finite scores")
        lowest = min((score for _, score in ranking), default=0.0)
        highest = max((score for _, score in ranking), default=0.0)
        # Between the ends of float64 lies more than float64 can hold.
        scale = 1.0 if math.isfinite(highest - lowest) else 0.5
        span = highest * scale - lowest * scale
        for document, score in ranking:
            part = (score * scale - lowest * scale) / span if span else 1.0
            terms.setdefault(document, []).append(weight * part)
    return _best_first(terms)


def _weights(weights: Sequence[float] | None, count: int) -> list[float]:
    if weights is None:
        return [1.0] * count
    if len(weights) != count:
        raise ValueError(f"weights: want one for each of the {count} rankings, got {len(weights)}")
    for i, weight in enumerate(weights):
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weights[{i}]: want a finite number, 0 or more, got {weight}")
    return [float(weight) for weight in weights]


def _check_once(documents: Sequence[int], name: str) -> None:
    seen: set[int] = set()
    for document in documents:
        if document in seen:
            raise ValueError(f"{name}: document {document} stands twice; pass each document once")
        seen.add(document)


def _best_first(terms: dict[int, list[float]]) -> list[tuple[int, float]]:
    # fsum is exact, so the order of the rankings cannot break a tie.
    return sorted(
        ((document, math.fsum(parts)) for document, parts in terms.items()), key=lambda hit: (-hit[1], hit[0])
    )
