"""Plain text."""

from __future__ import annotations

from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, plain


def read_text(data: bytes, name: str) -> Extract:
    """Return the text of a .txt file; InputFileError where it is not text."""
    text, encoding = decode(data, name)
    return plain(text, encoding.metadata, encoding.problems)
