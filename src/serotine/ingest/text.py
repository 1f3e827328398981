"""Plain text."""

from __future__ import annotations

from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, encoding_of, plain


def read_text(data: bytes, name: str) -> Extract:
    """The text of a .txt file; InputFileError where it is none."""
    text, encoding = decode(data, name)
    return plain(text, encoding_of(encoding))
