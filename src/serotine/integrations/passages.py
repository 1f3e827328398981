"""Shared code of the adapters for RAG frameworks: searching an index, and reranking passages by MaxSim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from serotine import maxsim
from serotine.coverage import warn_about_texts
from serotine.errors import UnprovedWarning, invalid
from serotine.index import Hits, Index, SearchKeywords, TextEncoder, encode_documents, encode_queries
from serotine.issued_warnings import issue_warning
from serotine.texts import has_visible


def open_index(index: Index | str | Path) -> Index:
    """Return an open index, or open the one in a folder for reading."""
    return index if isinstance(index, Index) else Index.open(index, read_only=True)


def load_encoder(encoder: TextEncoder | str | Path | None, options: Mapping[str, Any] | None = None) -> TextEncoder:
    """Return an encoder, or load `serotine.Encoder` by name with these options; None loads its default.

    Raises:
        EncoderError: no encoder has that name, or it cannot be loaded.
        TypeError: it is neither an encoder nor a name.
    """
    from serotine.encoders import Encoder, as_text_encoder

    if encoder is not None and not isinstance(encoder, (str, Path)):
        return as_text_encoder(encoder)
    return Encoder(encoder, **(options or {}))


def search(index: Index, query: str, k: int, **options: Unpack[SearchKeywords]) -> Hits:
    """Call `Index.search`, and warn if the result is not proved, because frameworks have no place for a certificate.

    Warns:
        UnprovedWarning: ``exact=True``, and the index could not prove the result.
    """
    hits = index.search(query, k, **options)
    if hits.certificate is not None and not hits.certificate.exact:
        issue_warning(UnprovedWarning(hits.certificate.statement))
    return hits


def rerank(encoder: TextEncoder, query: str, texts: Sequence[str], top_n: int | None) -> list[tuple[int, float]]:
    """Return positions in `texts` and their MaxSim with `query`, best first; scores are those an index would return.

    Args:
        encoder: the encoder of query and texts.
        query: the query.
        texts: passages; one without words scores -inf.
        top_n: how many; all unless given.

    Raises:
        ValueError: an empty query, or `top_n` below 1.

    Warns:
        TruncatedTextWarning, UnknownTextWarning: the encoder does not read query or texts whole, or does not know them.
    """
    if not has_visible(query):
        raise invalid("query", "a text with words", query)
    if top_n is not None and top_n < 1:
        raise invalid("top_n", "at least 1", top_n)
    if not texts:
        return []
    warn_about_texts(encoder, [query], query=True)
    warn_about_texts(encoder, texts, query=False)
    (query_vectors,) = encode_queries(encoder, [query], encoder.dim)
    scores = maxsim.score(query_vectors, list(encode_documents(encoder, texts, encoder.dim, show_progress=False)))
    order = np.argsort(-scores, kind="stable")[:top_n]
    return [(int(position), float(scores[position])) for position in order]
