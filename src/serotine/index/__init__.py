"""The on-disk index: crash-safe, live, searched by exact MaxSim."""

from __future__ import annotations

from serotine.index.files.segment import SEGMENT_FOLDER
from serotine.index.index import Index
from serotine.index.results import Certificate, Hit, Hits, IndexStats, SearchStats, VerifyReport
from serotine.index.search.explanation import Explanation, TokenMatch, word_spans
from serotine.index.search.options import Mode
from serotine.index.sources import Holding, SourceRecord, SourceUpdate
from serotine.index.store.catalog import CATALOG_FILE
from serotine.index.store.filters import check_filterable, check_metadata, compile_where
from serotine.index.store.writer_lock import LOCK_FILE, WriterLock
from serotine.text_encoder import TextEncoder

__all__ = [
    "CATALOG_FILE",
    "LOCK_FILE",
    "SEGMENT_FOLDER",
    "Certificate",
    "Explanation",
    "Hit",
    "Hits",
    "Holding",
    "Index",
    "IndexStats",
    "Mode",
    "SearchStats",
    "SourceRecord",
    "SourceUpdate",
    "TextEncoder",
    "TokenMatch",
    "VerifyReport",
    "WriterLock",
    "check_filterable",
    "check_metadata",
    "compile_where",
    "word_spans",
]
