"""The BM25 baseline, computed by bm25s."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from serotine.errors import SerotineError, missing_extra
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.metrics import Run
from serotine.evaluation.systems.base import Answer
from serotine.evaluation.systems.languages import stop_words, words
from serotine.languages import main_language
from serotine.stemmers import stemmer, stemmer_name

K1, B = 1.5, 0.75
_BATCH_SIZE = 512


class BM25:
    """Okapi BM25 (k1 1.5, b 0.75, Lucene's variant) over stemmed words, without stop words.

    Stemmer and stop words are those of the language, where Snowball and bm25s have them. Chinese, Japanese, Korean,
    Thai, Lao, Khmer and Burmese are split into overlapping pairs of characters, as in the lexical search of an index.

    Args:
        documents: text by id.
        language: ISO 639-1 code; detected in the texts by default.

    Attributes:
        language: the language in use; None if it could not be detected: words are then not stemmed.
        stemmer: Snowball's name of the stemmer, or None.

    Raises:
        SerotineError: the eval extra is not installed.

    >>> from serotine.evaluation import BM25
    >>> bm25 = BM25({"a": "owls hunt at night", "b": "bees make honey"}, language="en")
    >>> list(bm25.search({"q": "hunting owl"})["q"])
    ['a']
    """

    def __init__(self, documents: Mapping[str, str], language: str | None = None) -> None:
        try:
            import bm25s
        except ImportError:
            raise SerotineError(missing_extra("BM25", "eval")) from None
        self.language = language or main_language(documents.values())
        self.stemmer = stemmer_name(self.language)
        self._terms = _Terms(stemmer(self.language), stop_words(self.language))
        self._ids = list(documents)
        self._index = bm25s.BM25(k1=K1, b=B)
        ids = [self._terms.add(text) for text in documents.values()]
        self._tokenized = bm25s.tokenization.Tokenized
        # bm25s cannot index a collection without terms.
        self._empty = not self._terms.numbers
        if not self._empty:
            self._index.index(self._tokenized(ids=ids, vocab=self._terms.numbers), show_progress=False)

    def search(self, queries: Mapping[str, str], k: int = 100) -> Run:
        """Return the k best documents of every query; documents that share no word with a query are left out."""
        run: Run = {query: {} for query in queries}
        if self._empty:
            return run
        with_terms = [(query, terms) for query, text in queries.items() if (terms := self._terms.lookup(text))]
        for start in range(0, len(with_terms), _BATCH_SIZE):
            batch = with_terms[start : start + _BATCH_SIZE]
            positions, scores = self._index.retrieve(
                self._tokenized(ids=[terms for _, terms in batch], vocab=self._terms.numbers),
                k=min(k, len(self._ids)),
                show_progress=False,
            )
            for (query, _), row, values in zip(batch, positions, scores, strict=True):
                run[query] = {self._ids[p]: float(s) for p, s in zip(row, values, strict=True) if s > 0}
        return run

    def scores(self, query: str) -> NDArray[np.float32]:
        """Return the scores (documents,) of a query with every document, in their order; 0 without a common word."""
        terms = [] if self._empty else self._terms.lookup(query)
        if not terms:
            return np.zeros(len(self._ids), np.float32)
        scores: NDArray[np.float32] = self._index.get_scores(terms)
        return scores


class _Terms:
    """Term numbers of words, shared by all documents; each word is stemmed once."""

    def __init__(self, stem: Callable[[str], str] | None, stop: Iterable[str]) -> None:
        self.numbers: dict[str, int] = {}
        self._stem = stem
        self._of_word: dict[str, int | None] = dict.fromkeys(stop)

    def add(self, text: str) -> list[int]:
        """Return the term numbers of a document; new terms get the next numbers."""
        terms = []
        for word in words(text):
            if word not in self._of_word:
                self._of_word[word] = self.numbers.setdefault(self._stemmed(word), len(self.numbers))
            number = self._of_word[word]
            if number is not None:
                terms.append(number)
        return terms

    def lookup(self, text: str) -> list[int]:
        """Return the numbers of a query's terms that some document contains."""
        terms = []
        for word in words(text):
            number = self._of_word[word] if word in self._of_word else self.numbers.get(self._stemmed(word))
            if number is not None:
                terms.append(number)
        return terms

    def _stemmed(self, word: str) -> str:
        return self._stem(word) if self._stem is not None else word


class BM25Baseline:
    """BM25 as a system to evaluate.

    Args:
        language: ISO 639-1 code; that of the collection, or detected in its texts, by default.

    >>> from serotine.evaluation import BM25Baseline, Collection
    >>> collection = Collection("toy", {"a": "owls", "b": "bees"}, {"q": "owls"}, {"q": {"a": 1}})
    >>> list(BM25Baseline("en").answer(collection, depth=10).run["q"])
    ['a']
    """

    name = "bm25"

    def __init__(self, language: str | None = None) -> None:
        self._language = language

    @property
    def key(self) -> str:
        """The parameters k1 and b, and the language."""
        return f"bm25 {K1} {B} {self._language}"

    def answer(self, collection: Collection, depth: int, *, show_progress: bool = False) -> Answer:
        """Run every query; see `System.answer`."""
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
