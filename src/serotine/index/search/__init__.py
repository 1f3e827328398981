"""Search of an index: options, plan, fusion, explanations. What the other rooms of the index may import."""

from __future__ import annotations

from serotine.index.search.documents import (
    Documents,
    Queries,
    Rankings,
    StoredDocuments,
    StoredView,
    View,
    lexical_ranking,
)
from serotine.index.search.effort import Effort, choose_effort
from serotine.index.search.explanation import Explanation, TokenMatch, explain
from serotine.index.search.fusion import RANK_OFFSET
from serotine.index.search.options import (
    DEFAULT_POOLED_WEIGHTS,
    DEFAULT_RECALL,
    FirstStage,
    Fusion,
    GroupBy,
    Mode,
    SearchKeywords,
    SearchOptions,
    checked_weights,
)
from serotine.index.search.plan import PROBED_FROM, Ranking, rank
from serotine.index.search.retriever import Retriever
from serotine.index.search.shards import by_shard, collection_number, merge_late, merge_lexical, partial_search

__all__ = [
    "DEFAULT_POOLED_WEIGHTS",
    "DEFAULT_RECALL",
    "PROBED_FROM",
    "RANK_OFFSET",
    "Documents",
    "Effort",
    "Explanation",
    "FirstStage",
    "Fusion",
    "GroupBy",
    "Mode",
    "Queries",
    "Ranking",
    "Rankings",
    "Retriever",
    "SearchKeywords",
    "SearchOptions",
    "StoredDocuments",
    "StoredView",
    "TokenMatch",
    "View",
    "by_shard",
    "checked_weights",
    "choose_effort",
    "collection_number",
    "explain",
    "lexical_ranking",
    "merge_late",
    "merge_lexical",
    "partial_search",
    "rank",
]
