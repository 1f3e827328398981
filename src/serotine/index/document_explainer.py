"""Explanations of stored documents: the vectors and tokens of both sides, and the rarity of their words."""

from __future__ import annotations

from serotine.index.container import DocumentContainer, live_row
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
        self._documents = DocumentContainer(store)
        self._encoder = encoder
        self._queries = queries
        self._rarity = WordRarity(store)

    def explain(self, query: str, id_: str) -> Explanation:
        """Return the explanation of one document; see `Index.explain`."""
        validate_query(query)
        row = live_row(self._store, id_)
        if row.text is None:
            raise ValueError(f"id: {id_!r} was added as vectors, without a text to explain")
        encoder = self._encoder.get()
        query_vectors = self._queries.text_vectors(query)
        vectors = self._documents.vectors(id_)
        tokens = encoder.tokens(row.text, query=False) if len(vectors) else []
        query_tokens = encoder.tokens(query, query=True)
        return explain(id_, query, query_vectors, list(query_tokens), row.text, vectors, list(tokens), self._rarity)
