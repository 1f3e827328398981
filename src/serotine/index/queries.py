"""Validation and encoding of queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.coverage import text_coverage
from serotine.errors import wrong_type
from serotine.index.documents import query_vectors, validate_query
from serotine.index.pooled_model import PooledModel
from serotine.index.query_checks import CheckedQuery, check_min_score, check_query
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.search import Mode, SearchOptions
from serotine.index.text_vectors import encode_queries
from serotine.wording import worded

Query = str | NDArray[np.floating[Any]]


class QueryEncoder:
    """Token vectors of the queries of one index.

    Args:
        encoder: encodes queries that are texts.
        dim: dimension of a token vector.
        pooled: gives the pooled vectors of queries that are texts; None where there are none.
    """

    def __init__(self, encoder: RecordedEncoder, dim: int, pooled: PooledModel | None = None) -> None:
        self._encoder = encoder
        self._dim = dim
        self._pooled = pooled
        self._last: tuple[str, NDArray[np.float32]] | None = None

    def vectors(self, queries: Sequence[Query]) -> list[NDArray[np.float32]]:
        """Return the token vectors of every query, float32 (tokens, dim); texts are encoded together."""
        texts = [query for query in queries if isinstance(query, str)]
        encoded = iter([self.text_vectors(texts[0])] if len(texts) == 1 else self._encode(texts))
        return [next(encoded) if isinstance(query, str) else query_vectors(query, self._dim) for query in queries]

    def text_vectors(self, query: str) -> NDArray[np.float32]:
        """Return the token vectors of one query, float32 (tokens, dim); the last query is cached."""
        # A search is often followed by `explain` of its hits: encoding the query again would dominate their time. One
        # pair, replaced as a whole, needs no lock.
        last = self._last
        if last is None or last[0] != query:
            last = (query, self._encode([query])[0])
            self._last = last
        return last[1]

    def pooled_vectors(
        self, queries: Sequence[Query], given: Sequence[Any] | None, mode: Mode
    ) -> list[NDArray[np.float32]]:
        """Return the pooled vector of every query, float32 (dim,), given or encoded; none where there are none to have.

        Raises:
            TypeError, ValueError: vectors are given in another mode, are not those of the index, or are missing.
        """
        if mode != "pooled":
            if given is not None:
                raise ValueError(f"pooled: needs the mode 'pooled', got {mode!r}; drop it")
            return []
        if self._pooled is None or self._pooled.settings is None:
            return []
        return self._pooled.query_vectors([query if isinstance(query, str) else None for query in queries], given)

    def checked(self, texts: Sequence[str | None], options: SearchOptions) -> list[CheckedQuery]:
        """Return the options and warnings of every query; those of vectors, and of mode "bm25", need no check.

        Raises:
            ValueError: `min_score` is out of the range that scores have.
        """
        checked = [CheckedQuery(options)] * len(texts)
        positions = [i for i, text in enumerate(texts) if text is not None and options.mode != "bm25"]
        if not positions:
            return checked
        encoder = self._encoder.get()
        check_min_score(options, normalizes=getattr(encoder, "normalizes", False), encoder=encoder.name)
        coverages = text_coverage(encoder, [texts[i] or "" for i in positions], query=True)
        for i, coverage in zip(positions, coverages or (), strict=coverages is not None):
            checked[i] = check_query(texts[i] or "", coverage, encoder.name, options)
        return checked

    def _encode(self, texts: list[str]) -> list[NDArray[np.float32]]:
        return encode_queries(self._encoder.get(), texts, self._dim) if texts else []


def query_texts(queries: Sequence[Query], mode: Mode) -> list[str | None]:
    """Return the validated text of every query, or None for vectors, which modes without words accept."""
    texts = [query if isinstance(query, str) else None for query in queries]
    for text, query in zip(texts, queries, strict=True):
        if text is not None:
            validate_query(text)
        elif mode not in ("late", "xtr", "pooled"):
            raise wrong_type(
                "query", worded(f'a string with mode="{mode}"', http=f'a string in the mode "{mode}"'), query
            )
    return texts
