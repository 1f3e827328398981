"""Selection: which documents of a ranking become hits: those on the page, one per group, above the lowest score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from serotine.index.search.options import SearchOptions
from serotine.index.search.plan import Ranking


@dataclass(frozen=True, slots=True)
class Selection:
    """The documents of a ranking that become hits, best first.

    Attributes:
        numbers: document numbers.
        scores: their scores in the ranking.
        others: number of further passages of the same group in the ranking.
        below: number of documents, or groups, among the best that are below the lowest score.
        groups: number of groups in the ranking.
    """

    numbers: list[int]
    scores: list[float]
    others: list[int]
    below: int
    groups: int


def select(
    ranking: Ranking, options: SearchOptions, query_tokens: int, groups: Mapping[int, str] | None = None
) -> Selection:
    """Select the hits of one query.

    Args:
        ranking: at least as deep as the search.
        options: page, lowest score and grouping.
        query_tokens: number of query vectors.
        groups: the group of every document number in the ranking, or None where each is its own.
    """
    page = slice(options.offset, options.depth)
    if groups is None and options.min_score is None:
        # All pass, and none has others of its group.
        numbers = ranking.numbers[page]
        return Selection(numbers, ranking.scores[page], [0] * len(numbers), below=0, groups=len(ranking.numbers))
    keys: list[int | str] = [number if groups is None else groups[number] for number in ranking.numbers]
    sizes: dict[int | str, int] = {}
    for key in keys:
        sizes[key] = sizes.get(key, 0) + 1
    best: dict[int | str, int] = {}
    for position, (key, number) in enumerate(zip(keys, ranking.numbers, strict=True)):
        if key not in best and _passes(ranking.late.get(number), options.min_score, query_tokens):
            best[key] = position
    chosen = list(best.items())[page]
    return Selection(
        numbers=[ranking.numbers[position] for _, position in chosen],
        scores=[ranking.scores[position] for _, position in chosen],
        others=[sizes[key] - 1 for key, _ in chosen],
        below=sum(key not in best for key in list(sizes)[: options.depth]),
        groups=len(sizes),
    )


def per_token(score: float | None, query_tokens: int) -> float | None:
    """Return MaxSim divided by the number of query vectors; None where there is none of either."""
    if score is None or not math.isfinite(score) or not query_tokens:
        return None
    return score / query_tokens


def _passes(score: float | None, min_score: float | None, query_tokens: int) -> bool:
    if min_score is None:
        return True
    ratio = per_token(score, query_tokens)
    return ratio is not None and ratio >= min_score
