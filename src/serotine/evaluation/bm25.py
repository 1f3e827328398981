"""BM25, the baseline every retriever must beat: bm25s with a Snowball stemmer."""

from __future__ import annotations

from collections.abc import Mapping

from serotine.errors import SerotineError
from serotine.evaluation.metrics import Run


class Bm25:
    """Okapi BM25 over English stems, stop words removed (k1 1.5, b 0.75, Lucene's variant).

    Args:
        documents: text by id.

    Raises:
        SerotineError: the eval extra is not installed.
    """

    def __init__(self, documents: Mapping[str, str]) -> None:
        try:
            import bm25s
            import Stemmer
        except ImportError:
            raise SerotineError("BM25 needs bm25s and PyStemmer; run: pip install 'serotine[eval]'") from None
        self._bm25s = bm25s
        self._stemmer = Stemmer.Stemmer("english")
        self._ids = list(documents)
        self._index = bm25s.BM25(k1=1.5, b=0.75)
        self._index.index(self._tokenize(list(documents.values())), show_progress=False)

    def _tokenize(self, texts: list[str]) -> object:
        return self._bm25s.tokenize(texts, stopwords="en", stemmer=self._stemmer, show_progress=False)

    def search(self, queries: Mapping[str, str], k: int = 100) -> Run:
        """The k best documents of every query; documents that share no word with it are left out."""
        places, scores = self._index.retrieve(
            self._tokenize(list(queries.values())), k=min(k, len(self._ids)), show_progress=False
        )
        return {
            query: {self._ids[p]: float(s) for p, s in zip(row, values, strict=True) if s > 0}
            for query, row, values in zip(queries, places, scores, strict=True)
        }
