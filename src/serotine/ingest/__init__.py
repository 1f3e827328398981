"""Files in, documents out: text, Markdown, HTML, PDF, JSON Lines, CSV and Parquet; and an index kept up with them."""

from __future__ import annotations

from serotine.ingest.chunking import Chunking
from serotine.ingest.document import Document
from serotine.ingest.planning import Skipped
from serotine.ingest.sources import SUFFIXES, SourceFile, read
from serotine.ingest.updating import IngestReport, update

__all__ = ["SUFFIXES", "Chunking", "Document", "IngestReport", "Skipped", "SourceFile", "read", "update"]
