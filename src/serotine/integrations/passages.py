"""What the adapters for RAG frameworks share: an index to ask, and an encoder to rerank by."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serotine import maxsim
from serotine.errors import UnprovedWarning
from serotine.index import Hits, Index, Mode, TextEncoder
from serotine.index.encoding import encode_questions, encode_texts


def open_index(index: Index | str | Path) -> Index:
    """The index itself, or the one in a folder, opened for reading."""
    return index if isinstance(index, Index) else Index.open(index, read_only=True)


def load_encoder(encoder: TextEncoder | str | Path | None, options: Mapping[str, Any] | None = None) -> TextEncoder:
    """The encoder itself, or what `serotine.Encoder` loads by that name with these options; None is its default."""
    if encoder is not None and not isinstance(encoder, (str, Path)):
        return encoder
    from serotine.encoders import Encoder

    return Encoder(encoder, **(options or {}))


def search(index: Index, query: str, *, k: int, where: Mapping[str, Any] | None, mode: Mode, exact: bool) -> Hits:
    """`Index.search`; frameworks have no place for a certificate, so that one which proves nothing becomes a warning.

    Warns:
        UnprovedWarning: ``exact=True``, and the index could not prove it.
    """
    hits = index.search(query, k, where=where, mode=mode, exact=exact)
    if hits.certificate is not None and not hits.certificate.exact:
        warnings.warn(hits.certificate.statement, UnprovedWarning, stacklevel=3)
    return hits


def rerank(encoder: TextEncoder, query: str, texts: Sequence[str], top_n: int | None) -> list[tuple[int, float]]:
    """Positions in `texts` and their MaxSim with `query`, best first: the scores an index of these texts would give.

    Args:
        encoder: encodes query and texts.
        query: a question.
        texts: passages; one without words scores -inf.
        top_n: how many; all unless given.

    Raises:
        ValueError: an empty query, or `top_n` below 1.
    """
    if not query.strip():
        raise ValueError("query: is empty; ask something")
    if top_n is not None and top_n < 1:
        raise ValueError(f"top_n: want at least 1, got {top_n}")
    if not texts:
        return []
    (question,) = encode_questions(encoder, [query], encoder.dim)
    scores = maxsim.score(question, list(encode_texts(encoder, texts, encoder.dim, show_progress=False)))
    order = np.argsort(-scores, kind="stable")[:top_n]
    return [(int(place), float(scores[place])) for place in order]
