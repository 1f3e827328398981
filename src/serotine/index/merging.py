"""The hits of several indexes in one order."""

from __future__ import annotations

from collections.abc import Sequence

from serotine.index.hits import Hits


def merged_order(results: Sequence[Hits], *, one_encoder: bool) -> list[tuple[int, int]]:
    """Return (position of the result, position of its hit) of the hits of several indexes for one query, best first.

    MaxSim scores of one encoder are comparable. Others depend on the index: such hits are ordered by their ranks.

    Args:
        results: the hits of every index.
        one_encoder: whether all of them were built with the same encoder.

    >>> from serotine.index import Hit, SearchStats
    >>> stats = SearchStats("flat", documents=2, tokens=3, counts={}, milliseconds={})
    >>> one = Hits((Hit("a", 1.5, None, {}), Hit("b", 1.0, None, {})), stats)
    >>> other = Hits((Hit("c", 1.2, None, {}),), stats)
    >>> merged_order([one, other], one_encoder=True), merged_order([one, other], one_encoder=False)
    ([(0, 0), (1, 0), (0, 1)], [(0, 0), (1, 0), (0, 1)])
    """
    places = [(i, rank) for i, hits in enumerate(results) for rank in range(len(hits))]
    if one_encoder and not any("bm25" in hits.stats.plan for hits in results):
        return sorted(places, key=lambda place: -results[place[0]][place[1]].score)
    return sorted(places, key=lambda place: place[1])
