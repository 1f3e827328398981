"""The on-disk index: crash-safe, live, searched by exact MaxSim."""

from __future__ import annotations

from serotine.index.index import Index
from serotine.index.results import Certificate, Hit, Hits, IndexStats, SearchStats, VerifyReport
from serotine.index.search.explanation import Explanation, TokenMatch, word_spans
from serotine.index.search.options import Mode
from serotine.text_encoder import TextEncoder

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
    "word_spans",
]
