"""Explanations of stored documents: the vectors and tokens of both sides, and the rarity of their words."""

from __future__ import annotations

import numpy as np

from serotine import maxsim
from serotine.index.container import stored_passages
from serotine.index.documents import validate_query
from serotine.index.queries import QueryEncoder
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.search import Explanation, explain
from serotine.index.store import Store
from serotine.index.word_rarity import WordRarity


class DocumentExplainer:
    """Explains how the documents of one index match a query."""

    def __init__(self, store: Store, encoder: RecordedEncoder, queries: QueryEncoder) -> None:
        self._store = store
        self._encoder = encoder
        self._queries = queries
        self._rarity = WordRarity(store)

    def explain(self, query: str, id_: str) -> Explanation:
        """Return the explanation of one document; see `Index.explain`."""
        validate_query(query)
        rows, passages = stored_passages(self._store, id_)
        if any(row.text is None for row in rows):
            raise ValueError(f"id: {id_!r} was added as vectors, without a text to explain")
        encoder = self._encoder.get()
        query_vectors = self._queries.text_vectors(query)
        best = int(np.argmax(maxsim.score(query_vectors, passages)))
        passage, text, vectors = rows[best].id, rows[best].text or "", passages[best]
        tokens = encoder.tokens(text, query=False) if len(vectors) else []
        query_tokens = encoder.tokens(query, query=True)
        return explain(passage, query, query_vectors, list(query_tokens), text, vectors, list(tokens), self._rarity)
