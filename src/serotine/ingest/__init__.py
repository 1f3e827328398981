"""Files in, documents out: JSON Lines, CSV, plain text and Markdown, one document at a time."""

from __future__ import annotations

from serotine.ingest.document import Document
from serotine.ingest.sources import SUFFIXES, read

__all__ = ["SUFFIXES", "Document", "read"]
