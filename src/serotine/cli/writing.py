"""Opening an index to put texts into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serotine.errors import EncoderError

if TYPE_CHECKING:
    from serotine.index import Index, TextEncoder


def open_for_texts(path: Path, encoder: TextEncoder | None = None) -> Index:
    """Opens an index for writing.

    Raises:
        EncoderError: the index was made for vectors, which no file here can give, or by another encoder.
    """
    from serotine.index import Index

    index = Index.open(path, encoder=encoder)
    if index.stats().encoder is None:
        index.close()
        raise EncoderError(f"{path}: holds vectors and has no encoder for texts; add to it from Python, with vectors=")
    return index
