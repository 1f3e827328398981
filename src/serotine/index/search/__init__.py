"""Search of an index: options, plan, fusion, explanations. What the other rooms of the index may import."""

from __future__ import annotations

from serotine.index.search.effort import Effort, choose_effort
from serotine.index.search.explanation import Explanation, TokenMatch, explain
from serotine.index.search.fusion import RANK_OFFSET
from serotine.index.search.options import DEFAULT_RECALL, Fusion, GroupBy, Mode, SearchKeywords, SearchOptions
from serotine.index.search.plan import rank
from serotine.index.search.retriever import Retriever

__all__ = [
    "DEFAULT_RECALL",
    "RANK_OFFSET",
    "Effort",
    "Explanation",
    "Fusion",
    "GroupBy",
    "Mode",
    "Retriever",
    "SearchKeywords",
    "SearchOptions",
    "TokenMatch",
    "choose_effort",
    "explain",
    "rank",
]
