"""Searches as callers ask for them: queries checked and encoded, hits with their warnings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serotine.errors import PartialResultWarning, SerotineWarning
from serotine.index.checked_search import CheckedSearch
from serotine.index.filter_checks import FilterChecks
from serotine.index.hits import Explainer, Hits
from serotine.index.queries import Query, QueryEncoder, query_texts
from serotine.index.search import Documents, Queries, SearchOptions
from serotine.index.store import Settings
from serotine.index.weak_matches import weak_match
from serotine.issued_warnings import issue_query_warnings, issue_warning, warnings_wanted


class Searcher:
    """Searches of documents that share settings: those of an index, or of shards.

    Args:
        settings: of the index, or of every shard.
        queries: encodes queries.
        filters: checks filters.

    Attributes:
        settings: these settings.
    """

    def __init__(self, settings: Settings, queries: QueryEncoder, filters: FilterChecks) -> None:
        self.settings = settings
        self._queries = queries
        self._filters = filters
        self._issued: set[SerotineWarning] = set()

    def search(
        self,
        documents: Documents,
        queries: Sequence[Query],
        options: SearchOptions,
        explainer: Explainer,
        *,
        pooled: Sequence[Any] | None = None,
        checks_hits: bool = True,
        of_index: tuple[SerotineWarning, ...] = (),
    ) -> list[Hits]:
        """Return the hits of every query, which `explainer` can explain; see `Index.search_batch`.

        Args:
            documents: to search.
            queries: texts or vectors.
            options: of all queries.
            explainer: explains the hits.
            pooled: pooled vectors of the queries, where they are given.
            checks_hits: whether to check that the encoder knows most hits; otherwise the caller does.
            of_index: warnings that every hit list has, each issued once.
        """
        started = time.perf_counter()
        texts = query_texts(queries, options.mode)
        self._filters.validate(options.where)
        checked = self._queries.checked(texts, options)
        pooled_vectors = self._queries.pooled_vectors(queries, pooled, options.mode)
        vectors = [] if options.mode == "bm25" else self._queries.vectors(queries)
        encoding = (time.perf_counter() - started) * 1e3 / max(len(queries), 1)
        answers = CheckedSearch(documents, self.settings.encoder).search(
            options, checked, Queries(texts, vectors, pooled_vectors), encoding, checks_hits=checks_hits
        )
        # Last: hits show which fields exist, without a look-up.
        of_filter = self._filters.warnings(options.where, [hit.metadata for _, hits in answers for hit in hits])
        answers = [(query.warned((*_partial(hits), *of_filter)), hits) for query, hits in answers]
        issue_query_warnings(query.warnings for query, _ in answers)
        for warning in of_index:
            if warning not in self._issued and warnings_wanted():
                self._issued.add(warning)
                issue_warning(warning)
        fingerprint = self.settings.fingerprint
        return [
            hits.answering(text, (*of_index, *query.warnings, *weak_match(text, hits, query, fingerprint)), explainer)
            for text, (query, hits) in zip(texts, answers, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class OpenSearch:
    """An index, or one in shards, as one search reads it.

    Attributes:
        searcher: searches it.
        documents: its documents.
        explainer: explains its hits.
        warnings: about the whole index.
    """

    searcher: Searcher
    documents: Documents
    explainer: Explainer
    warnings: tuple[SerotineWarning, ...] = ()

    @property
    def settings(self) -> Settings:
        """The settings of the index, or of every shard."""
        return self.searcher.settings

    def hits(
        self,
        queries: Sequence[Query],
        options: SearchOptions,
        *,
        pooled: Sequence[Any] | None = None,
        checks_hits: bool = True,
    ) -> list[Hits]:
        """Return the hits of every query; see `Searcher.search`."""
        return self.searcher.search(
            self.documents,
            queries,
            options,
            self.explainer,
            pooled=pooled,
            checks_hits=checks_hits,
            of_index=self.warnings,
        )


def _partial(hits: Hits) -> tuple[SerotineWarning, ...]:
    return () if hits.partial is None else (PartialResultWarning(f"hits: {hits.partial.statement}"),)
