"""Explanations of stored documents: the vectors and tokens of both sides, and the rarity of their words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from serotine import maxsim
from serotine.cutting import passage_id
from serotine.errors import shown_id
from serotine.index.container import stored_passages
from serotine.index.documents import validate_query
from serotine.index.queries import QueryEncoder
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.search import Explanation, explain
from serotine.index.store import Row, Store
from serotine.index.whole_documents import whole_document
from serotine.index.word_rarity import WordRarity
from serotine.text_encoder import TextEncoder


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
            raise ValueError(f"id: {shown_id(id_)} was added as vectors, without a text to explain")
        encoder = self._encoder.get()
        query_vectors = self._queries.text_vectors(query)
        best = int(np.argmax(maxsim.score(query_vectors, passages)))
        passage, text, vectors = rows[best].id, rows[best].text or "", passages[best]
        tokens = encoder.tokens(text, query=False) if len(vectors) else []
        if len(tokens) != len(vectors):
            # A passage that was encoded in its context may begin and end with other tokens than alone.
            tokens = self._tokens_in_context(encoder, rows[best]) or tokens
        query_tokens = encoder.tokens(query, query=True)
        return explain(passage, query, query_vectors, list(query_tokens), text, vectors, list(tokens), self._rarity)

    def _tokens_in_context(self, encoder: TextEncoder, row: Row) -> Sequence[Any]:
        """Return the tokens of a passage between the stored passages before and after it; none for other documents."""
        tokens_of: Any = getattr(encoder, "passage_tokens", None)
        document, _, number = row.id.rpartition("#")
        start = row.metadata.get("start")
        if tokens_of is None or not number.isdecimal() or not isinstance(start, int):
            return ()
        ids = [passage_id(document, int(number) + step) for step in (-1, 0, 1)]
        catalog = self._store.catalog
        found = {other.id: other for other in catalog.rows(list(catalog.live_ids(ids).values())).values()}
        passages = [found[id_] for id_ in ids if id_ in found]
        if not passages:
            return ()
        offset = start - passages[0].metadata.get("start", start)
        text = whole_document(document, passages).text or ""
        return list(tokens_of(text, offset, offset + len(row.text or "")))
