"""The hits of several indexes in one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from serotine.index.hits import Hits
from serotine.index.search import RANK_OFFSET, Mode


@dataclass(frozen=True, slots=True)
class MergedHit:
    """A hit among those of several indexes.

    Attributes:
        result: position of its index's hits.
        position: its position in them.
        score: what it is ranked by among all; higher is better.
    """

    result: int
    position: int
    score: float


def merge_hits(results: Sequence[Hits], *, one_encoder: bool) -> list[MergedHit]:
    """Return the hits of several indexes for one query, best first by their score among all.

    MaxSim scores of one encoder are comparable, and are the scores. Scores by words, by XTR and with pooled vectors
    depend on the index: they become 1 / (60 + rank in it), and so do those of different encoders, or where only some of
    the searches became hybrid. The score of a hybrid search is fused from ranks already. Equal scores are in the order
    of MaxSim per query token, where there is one encoder.

    Args:
        results: the hits of every index; of one, they keep order and scores.
        one_encoder: whether all of them were built with the same encoder.

    >>> from serotine.index import Hit, SearchStats
    >>> stats = SearchStats("flat", documents=2, tokens=3, counts={}, milliseconds={})
    >>> one = Hits((Hit("a", 1.5, None, {}), Hit("b", 1.0, None, {})), stats)
    >>> other = Hits((Hit("c", 1.2, None, {}),), stats)
    >>> [(hit.result, hit.position, hit.score) for hit in merge_hits([one, other], one_encoder=True)]
    [(0, 0, 1.5), (1, 0, 1.2), (0, 1, 1.0)]
    >>> [(hit.result, hit.position, round(hit.score, 4)) for hit in merge_hits([one, other], one_encoder=False)]
    [(0, 0, 0.0164), (1, 0, 0.0164), (0, 1, 0.0161)]
    """
    kinds = {_kind(hits) for hits in results}
    comparable = kinds <= {"hybrid"} or (kinds <= {"late"} and one_encoder)
    by_ranks = len(results) > 1 and not comparable
    merged = [
        MergedHit(i, rank, 1 / (RANK_OFFSET + rank + 1) if by_ranks else hit.score)
        for i, hits in enumerate(results)
        for rank, hit in enumerate(hits)
    ]
    if len(results) == 1:
        return merged

    def order(hit: MergedHit) -> tuple[float, float]:
        per_token = results[hit.result][hit.position].score_per_token if one_encoder else None
        return -hit.score, -(per_token or 0.0)

    return sorted(merged, key=order)


def _kind(hits: Hits) -> Mode:
    if hits.stats.plan in ("bm25", "xtr"):
        return cast("Mode", hits.stats.plan)
    if "pooled" in hits.stats.plan:
        return "pooled"
    return "hybrid" if "bm25" in hits.stats.plan else "late"
