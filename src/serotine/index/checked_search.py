"""Searches whose ranking is checked: by words too where the encoder does not know the query, or what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from serotine.coverage import UNKNOWN_SHARE, main_scripts, with_wordless_advice
from serotine.errors import UnknownTextWarning
from serotine.index.hits import Hits
from serotine.index.query_checks import CheckedQuery, ranked_by_words
from serotine.index.search import Documents, Retriever, SearchOptions
from serotine.model_packages import multilingual_advice

# Of the first page: above it, what is ranked is mostly noise.
_MAX_UNKNOWN = 0.5


class CheckedSearch:
    """Searches of documents, each query with the options that its check gave it.

    Args:
        documents: an index's, or those of shards.
        encoder: the name of their encoder.
    """

    def __init__(self, documents: Documents, encoder: str | None) -> None:
        self._documents = documents
        self._encoder = encoder or ""
        self._retriever = Retriever(documents)

    def search(
        self,
        options: SearchOptions,
        checked: Sequence[CheckedQuery],
        vectors: Sequence[NDArray[np.float32]],
        texts: Sequence[str | None],
        encoding: float,
    ) -> list[tuple[CheckedQuery, Hits]]:
        """Return every query with its hits; see `Retriever.search`.

        Where the encoder knows a query, but not most documents of its first page by MaxSim, they are ranked by words
        too, and the query has a warning about it.
        """
        alike = [i for i, query in enumerate(checked) if query.options is options]
        together = self._retriever.search(
            options, [vectors[i] for i in alike] if vectors else [], [texts[i] for i in alike], encoding
        )
        results = dict(zip(alike, together, strict=True))
        answers = []
        for i, query in enumerate(checked):
            text, query_vectors = texts[i], [vectors[i]] if vectors else []
            if query.options is not options:
                answer = query, self._retriever.search(query.options, query_vectors, [text], encoding)[0]
            else:
                answer = query, results[i]
                if text is not None and query_vectors:
                    answer = self._checked(query, results[i], query_vectors, text, encoding)
            answers.append(answer)
        return answers

    def _checked(
        self, query: CheckedQuery, hits: Hits, vectors: list[NDArray[np.float32]], text: str, encoding: float
    ) -> tuple[CheckedQuery, Hits]:
        options = query.options
        ids = [hit.id for hit in hits]
        if (options.offset or options.mode == "hybrid") and self._documents.has_unknown():
            # Every page must be ranked in the same way, and so must both modes.
            first_page = replace(options, mode="late", offset=0, exact=False)
            ids = [hit.id for hit in self._retriever.search(first_page, vectors, [text], encoding)[0]]
        scripts = self._documents.unknown_scripts(ids)
        share = len(scripts) / max(len(ids), 1)
        if share <= _MAX_UNKNOWN:
            return query, hits
        encoder = self._encoder
        fix = 'search with mode="bm25"'
        consequence = "MaxSim scores say little about them"
        if by_words := ranked_by_words(options, 1 - share, whose="their", what="them"):
            options, consequence = by_words
            (hits,) = self._retriever.search(options, vectors, [text], encoding)
            fix = multilingual_advice('create the index with Encoder("multilingual")', encoder, "")
        counts = Counter(scripts.values())
        named = main_scripts(script for script, _ in counts.most_common())
        first = next(id_ for id_ in ids if id_ in scripts)
        advice = with_wordless_advice(fix, counts)
        warning = UnknownTextWarning(
            f"hits: {len(scripts):,} of the first {len(ids):,} more than {UNKNOWN_SHARE:.0%} outside the vocabulary of "
            f"{encoder!r} ({named}), the first is {first!r}; {consequence}{advice and f'; {advice}'}"
        )
        return replace(query, options=options, warnings=(*query.warnings, warning)), hits
