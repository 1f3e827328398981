"""BM25, the baseline every retriever must beat: bm25s over words as the collection's language has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from serotine.errors import SerotineError
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.metrics import Run
from serotine.evaluation.systems.base import Answer
from serotine.evaluation.systems.languages import SNOWBALL, guess, stop_words, words

K1, B = 1.5, 0.75
_QUERIES_AT_ONCE = 512


class BM25:
    """Okapi BM25 (k1 1.5, b 0.75, Lucene's variant) over stems, stop words removed.

    Stemmer and stop words are those of the language, where Snowball and bm25s have them; Chinese, Japanese, Korean,
    Thai, Lao, Khmer and Burmese are taken in overlapping pairs of characters, as `serotine.index.analyze` does.

    Args:
        documents: text by id.
        language: ISO 639-1 code; found out from the texts unless given.

    Attributes:
        language: which was used; None where none could be told: words are then taken as they stand.
        stemmer: Snowball's name of the stemmer, if there is one.

    Raises:
        SerotineError: the eval extra is not installed.
    """

    def __init__(self, documents: Mapping[str, str], language: str | None = None) -> None:
        try:
            import bm25s
            import Stemmer
        except ImportError:
            raise SerotineError("BM25 needs bm25s and PyStemmer; run: pip install 'serotine[eval]'") from None
        self.language = language or guess(documents.values())
        name = SNOWBALL.get(self.language or "")
        self.stemmer = name if name in Stemmer.algorithms() else None
        stem: Callable[[str], str] | None = Stemmer.Stemmer(self.stemmer).stemWord if self.stemmer else None
        self._terms = _Terms(stem, stop_words(self.language))
        self._ids = list(documents)
        self._index = bm25s.BM25(k1=K1, b=B)
        ids = [self._terms.add(text) for text in documents.values()]
        self._tokenized = bm25s.tokenization.Tokenized
        # Without any term there is nothing to index, and nothing to find.
        self._empty = not self._terms.numbers
        if not self._empty:
            self._index.index(self._tokenized(ids=ids, vocab=self._terms.numbers), show_progress=False)

    def search(self, queries: Mapping[str, str], k: int = 100) -> Run:
        """The k best documents of every query; documents that share no word with it are left out."""
        run: Run = {query: {} for query in queries}
        if self._empty:
            return run
        asked = [(query, terms) for query, text in queries.items() if (terms := self._terms.known(text))]
        for start in range(0, len(asked), _QUERIES_AT_ONCE):
            part = asked[start : start + _QUERIES_AT_ONCE]
            places, scores = self._index.retrieve(
                self._tokenized(ids=[terms for _, terms in part], vocab=self._terms.numbers),
                k=min(k, len(self._ids)),
                show_progress=False,
            )
            for (query, _), row, values in zip(part, places, scores, strict=True):
                run[query] = {self._ids[p]: float(s) for p, s in zip(row, values, strict=True) if s > 0}
        return run

    def scores(self, query: str) -> NDArray[np.float32]:
        """(documents,) of a question with every document, in the order they were given; 0 where no word is shared."""
        terms = [] if self._empty else self._terms.known(query)
        if not terms:
            return np.zeros(len(self._ids), np.float32)
        found: NDArray[np.float32] = self._index.get_scores(terms)
        return found


class _Terms:
    """Numbers of terms. A word is stemmed once, and the lists share their numbers, however large the collection."""

    def __init__(self, stem: Callable[[str], str] | None, stop: Iterable[str]) -> None:
        self.numbers: dict[str, int] = {}
        self._stem = stem
        self._of_word: dict[str, int | None] = dict.fromkeys(stop)

    def add(self, text: str) -> list[int]:
        """The terms of a document; new ones get the next numbers."""
        found = []
        for word in words(text):
            if word not in self._of_word:
                self._of_word[word] = self.numbers.setdefault(self._stemmed(word), len(self.numbers))
            number = self._of_word[word]
            if number is not None:
                found.append(number)
        return found

    def known(self, text: str) -> list[int]:
        """The terms of a question that documents have; the others can find nothing."""
        found = []
        for word in words(text):
            number = self._of_word[word] if word in self._of_word else self.numbers.get(self._stemmed(word))
            if number is not None:
                found.append(number)
        return found

    def _stemmed(self, word: str) -> str:
        return self._stem(word) if self._stem is not None else word


class BM25Baseline:
    """BM25.

    Args:
        language: of the texts; as the collection's files tell it, or as the texts look, unless given.
    """

    name = "bm25"

    def __init__(self, language: str | None = None) -> None:
        self._language = language

    @property
    def key(self) -> str:
        """Its parameters."""
        return f"bm25 {K1} {B} {self._language}"

    def answer(self, collection: Collection, depth: int, *, show_progress: bool = False) -> Answer:
        """As `System.answer`."""
        started = time.perf_counter()
        index = BM25(collection.documents, self._language or collection.language)
        indexed = time.perf_counter()
        run = index.search(collection.queries, depth)
        record = {
            "kind": "bm25",
            "retrieval": f"exact BM25, k1 {K1}, b {B}",
            "exact": True,
            "language": index.language,
            "stemmer": index.stemmer,
            "seconds": {"encoding": indexed - started, "searching": time.perf_counter() - indexed},
        }
        return Answer(run, record)
