"""The on-disk index: crash-safe, live, searched by exact MaxSim. What the other rooms may import."""

from __future__ import annotations

from serotine.index.container import Missing, check_missing, unknown_id
from serotine.index.documents import (
    check_query_list,
    check_tuning_queries,
    document_ids,
    json_metadata,
    query_vectors,
    stored_vectors,
    validate_batch,
    validate_counts,
    validate_deletion,
    validate_query,
)
from serotine.index.files import nearest
from serotine.index.growth import FIRST_TRAINING, first_training_at, k_means
from serotine.index.hits import Certificate, Hit, Hits, Partial, SearchStats
from serotine.index.index import Index
from serotine.index.long_texts import LongTexts, check_long_texts
from serotine.index.merging import MergedHit
from serotine.index.queries import Query
from serotine.index.recorded_encoder import load_encoder
from serotine.index.repository import MissingObjectError, Objects, PruneReport, SnapshotInfo, objects_at
from serotine.index.results import IndexStats, PooledStats, VerifyReport
from serotine.index.search import (
    PROBED_FROM,
    Explanation,
    FirstStage,
    Fusion,
    GroupBy,
    Mode,
    SearchKeywords,
    SearchOptions,
    TokenMatch,
    explain,
)
from serotine.index.searcher import OpenSearch
from serotine.index.several_indexes import SeveralHits, search_several
from serotine.index.shard import Shard
from serotine.index.shard_writer import ShardWriter
from serotine.index.sharded_changes import ShardedChanges, ShardWriters
from serotine.index.sharded_documents import Replies, Shards
from serotine.index.sharded_search import ShardedSearch
from serotine.index.store import (
    CATALOG_FILE,
    Calibration,
    CatalogEntry,
    CopyReport,
    Curve,
    DeletedDocument,
    LostDocument,
    PooledSettings,
    SalvageReport,
    Settings,
    SourceRecord,
    Sources,
    SourceUpdate,
    analyze,
    check_filterable,
    check_metadata,
    compile_where,
    read_settings,
    replace_index,
    restore_replaced_index,
)
from serotine.index.text_vectors import encode_documents, encode_queries, passage_encoder
from serotine.index.tuning import TuneReport, describe_recall
from serotine.text_encoder import TextEncoder

__all__ = [
    "CATALOG_FILE",
    "FIRST_TRAINING",
    "PROBED_FROM",
    "Calibration",
    "CatalogEntry",
    "Certificate",
    "CopyReport",
    "Curve",
    "DeletedDocument",
    "Explanation",
    "FirstStage",
    "Fusion",
    "GroupBy",
    "Hit",
    "Hits",
    "Index",
    "IndexStats",
    "LongTexts",
    "LostDocument",
    "MergedHit",
    "Missing",
    "MissingObjectError",
    "Mode",
    "Objects",
    "OpenSearch",
    "Partial",
    "PooledSettings",
    "PooledStats",
    "PruneReport",
    "Query",
    "Replies",
    "SalvageReport",
    "SearchKeywords",
    "SearchOptions",
    "SearchStats",
    "Settings",
    "SeveralHits",
    "Shard",
    "ShardWriter",
    "ShardWriters",
    "ShardedChanges",
    "ShardedSearch",
    "Shards",
    "SnapshotInfo",
    "SourceRecord",
    "SourceUpdate",
    "Sources",
    "TextEncoder",
    "TokenMatch",
    "TuneReport",
    "VerifyReport",
    "analyze",
    "check_filterable",
    "check_long_texts",
    "check_metadata",
    "check_missing",
    "check_query_list",
    "check_tuning_queries",
    "compile_where",
    "describe_recall",
    "document_ids",
    "encode_documents",
    "encode_queries",
    "explain",
    "first_training_at",
    "json_metadata",
    "k_means",
    "load_encoder",
    "nearest",
    "objects_at",
    "passage_encoder",
    "query_vectors",
    "read_settings",
    "replace_index",
    "restore_replaced_index",
    "search_several",
    "stored_vectors",
    "unknown_id",
    "validate_batch",
    "validate_counts",
    "validate_deletion",
    "validate_query",
]
