"""The on-disk index: crash-safe, live, searched by exact MaxSim."""

from __future__ import annotations

from serotine.index.explanation import Explanation, TokenMatch
from serotine.index.hits import Certificate, Hit, Hits, SearchStats
from serotine.index.index import Index
from serotine.index.reports import IndexStats, VerifyReport
from serotine.index.retrieval import Mode
from serotine.index.text_encoder import TextEncoder

__all__ = [
    "Certificate",
    "Explanation",
    "Hit",
    "Hits",
    "Index",
    "IndexStats",
    "Mode",
    "SearchStats",
    "TextEncoder",
    "TokenMatch",
    "VerifyReport",
]
