"""The state of an index on disk: folder, writer lock, catalog, snapshots. What the other rooms of the index import."""

from __future__ import annotations

from serotine.index.store.calibration_table import Calibration, Curve, Origin
from serotine.index.store.catalog import Catalog, Row
from serotine.index.store.connection import CATALOG_FILE
from serotine.index.store.copies import CommittedState, CopyReport
from serotine.index.store.coverage_table import CoverageRow
from serotine.index.store.deleted_table import DeletedDocument
from serotine.index.store.filter_fields import FilterField, sample_value, undeclared_fields
from serotine.index.store.filters import check_filterable, check_metadata, compile_where
from serotine.index.store.folder import checked as checked_path
from serotine.index.store.lexical import analyze
from serotine.index.store.pages import field_names
from serotine.index.store.passages import passage_origin
from serotine.index.store.replacement import beside, check_replaceable, replace_index, restore_replaced_index
from serotine.index.store.salvage import LostDocument, SalvageReport, salvage_index
from serotine.index.store.settings import PooledSettings, Settings
from serotine.index.store.snapshot import SegmentView, Snapshot
from serotine.index.store.source_catalog import CatalogEntry, SourceRecord, Sources, SourceUpdate
from serotine.index.store.sqlite_errors import is_disk_full
from serotine.index.store.store import Store, read_settings
from serotine.index.store.transaction import Transaction
from serotine.index.store.word_statistics import WordStatistics, merged_statistics

__all__ = [
    "CATALOG_FILE",
    "Calibration",
    "Catalog",
    "CatalogEntry",
    "CommittedState",
    "CopyReport",
    "CoverageRow",
    "Curve",
    "DeletedDocument",
    "FilterField",
    "LostDocument",
    "Origin",
    "PooledSettings",
    "Row",
    "SalvageReport",
    "SegmentView",
    "Settings",
    "Snapshot",
    "SourceRecord",
    "SourceUpdate",
    "Sources",
    "Store",
    "Transaction",
    "WordStatistics",
    "analyze",
    "beside",
    "check_filterable",
    "check_metadata",
    "check_replaceable",
    "checked_path",
    "compile_where",
    "field_names",
    "is_disk_full",
    "merged_statistics",
    "passage_origin",
    "read_settings",
    "replace_index",
    "restore_replaced_index",
    "salvage_index",
    "sample_value",
    "undeclared_fields",
]
