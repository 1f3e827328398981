"""Documents from files of text, source code, office formats and tables; and updates of an index from them."""

from __future__ import annotations

from serotine.ingest.changes import batched
from serotine.ingest.chunking import Chunking
from serotine.ingest.decoding import read_lines
from serotine.ingest.document import Document
from serotine.ingest.estimate import Estimate
from serotine.ingest.fields import Fields
from serotine.ingest.file_types import SUFFIXES, described_types, file_type
from serotine.ingest.generated import generated_kind
from serotine.ingest.ingest import Ingest, update
from serotine.ingest.limits import ReadingLimits
from serotine.ingest.listing import check_is_no_index, list_files, read
from serotine.ingest.plan import FileChange, IngestReport, Plan, Skipped
from serotine.ingest.readers.parquet import parquet_batches
from serotine.ingest.recorded_chunkings import file_chunkings, previous_chunking, recorded_chunking
from serotine.ingest.rows import MAX_NAMED, SkippedRow, SkippedRows
from serotine.ingest.sample import sample_texts
from serotine.ingest.sources import SourceFile
from serotine.ingest.walk import IGNORE_FILES, FileSelection, Ignored

__all__ = [
    "IGNORE_FILES",
    "MAX_NAMED",
    "SUFFIXES",
    "Chunking",
    "Document",
    "Estimate",
    "Fields",
    "FileChange",
    "FileSelection",
    "Ignored",
    "Ingest",
    "IngestReport",
    "Plan",
    "ReadingLimits",
    "Skipped",
    "SkippedRow",
    "SkippedRows",
    "SourceFile",
    "batched",
    "check_is_no_index",
    "described_types",
    "file_chunkings",
    "file_type",
    "generated_kind",
    "list_files",
    "parquet_batches",
    "previous_chunking",
    "read",
    "read_lines",
    "recorded_chunking",
    "sample_texts",
    "update",
]
