"""Fusion: several rankings of the same documents combined into one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from serotine.errors import invalid

RANK_OFFSET = 60
"""What is added to ranks: the k of the paper that `reciprocal_rank` names."""


def reciprocal_rank(
    rankings: Sequence[Sequence[int]], k: int = RANK_OFFSET, weights: Sequence[float] | None = None
) -> list[tuple[int, float]]:
    """Fuse rankings by reciprocal rank: a document's score is the sum of weight / (k + rank), ranks counted from 1.

    It needs no scores, so the scores of the rankings need not be comparable. Cormack, Clarke and Buettcher,
    "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", SIGIR 2009, with their k = 60.

    Args:
        rankings: document numbers, best first, no document twice in one ranking.
        k: at least 0; the larger, the less the first ranks count.
        weights: one per ranking, finite and not negative; None for all 1.

    Returns:
        (document number, score) of every document of any ranking with a weight above 0, best first, ties to the lower
        number.

    Raises:
        ValueError: k, the weights or a ranking violates the above.
    """
    if k < 0:
        raise invalid("k", "at least 0", k)
    terms: dict[int, list[float]] = {}
    for i, (ranking, weight) in enumerate(zip(rankings, _weights(weights, len(rankings)), strict=True)):
        _check_unique(ranking, f"rankings[{i}]")
        for rank, document in enumerate(ranking if weight else (), start=1):
            terms.setdefault(document, []).append(weight / (k + rank))
    return _best_first(terms)


def weighted_sum(
    rankings_with_scores: Sequence[Sequence[tuple[int, float]]], weights: Sequence[float]
) -> list[tuple[int, float]]:
    """Fuse rankings by the weighted sum of min-max normalized scores: each ranking's best becomes 1, its lowest 0.

    A document that a ranking lacks gets 0 from it. Where all scores of a ranking are equal they become 1.

    Args:
        rankings_with_scores: (document number, finite score), higher is better, no document twice in one ranking.
        weights: one per ranking, finite and not negative.

    Returns:
        (document number, score) of every document of any ranking with a weight above 0, best first, ties to the lower
        number.

    Raises:
        ValueError: the weights, a score or a ranking violates the above.
    """
    terms: dict[int, list[float]] = {}
    for i, (ranking, weight) in enumerate(
        zip(rankings_with_scores, _weights(weights, len(rankings_with_scores)), strict=True)
    ):
        name = f"rankings_with_scores[{i}]"
        _check_unique([document for document, _ in ranking], name)
        for document, score in ranking:
            if not math.isfinite(score):
                raise invalid(f"{name}: score of document {document}", "finite", score)
        lowest = min((score for _, score in ranking), default=0.0)
        highest = max((score for _, score in ranking), default=0.0)
        # The difference of two float64 values can overflow float64.
        scale = 1.0 if math.isfinite(highest - lowest) else 0.5
        span = highest * scale - lowest * scale
        for document, score in ranking if weight else ():
            normalized = (score * scale - lowest * scale) / span if span else 1.0
            terms.setdefault(document, []).append(weight * normalized)
    return _best_first(terms)


def _weights(weights: Sequence[float] | None, count: int) -> list[float]:
    if weights is None:
        return [1.0] * count
    if len(weights) != count:
        raise ValueError(f"weights: must be one per ranking, {count}, got {len(weights)}")
    for i, weight in enumerate(weights):
        if not (math.isfinite(weight) and weight >= 0):
            raise invalid(f"weights[{i}]", "finite and at least 0", weight)
    return [float(weight) for weight in weights]


def _check_unique(documents: Sequence[int], name: str) -> None:
    unique: set[int] = set()
    for document in documents:
        if document in unique:
            raise ValueError(f"{name}: duplicate document {document}; documents must be unique")
        unique.add(document)


def _best_first(terms: dict[int, list[float]]) -> list[tuple[int, float]]:
    # fsum is exact, so the order of the rankings cannot break a tie.
    return sorted(
        ((document, math.fsum(scores)) for document, scores in terms.items()), key=lambda hit: (-hit[1], hit[0])
    )
