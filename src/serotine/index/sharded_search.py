"""Searches of a collection in shards: what `Index.search` is for one index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from serotine.index import recorded_encoder
from serotine.index.filter_checks import FilterChecks
from serotine.index.hits import Explainer, Hits
from serotine.index.queries import Query, QueryEncoder
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.search import SearchOptions
from serotine.index.searcher import OpenSearch, Searcher
from serotine.index.sharded_documents import Replies, ShardedDocuments, Shards
from serotine.index.store import FilterField, Settings
from serotine.text_encoder import AnyEncoder, TextEncoder


class ShardedSearch:
    """Searches of shards, which answer like one index.

    Args:
        shards: the shards.
        settings: of every shard.
        encoder: the encoder they were built with, or its name; None to load the recorded one when it is first needed.

    Raises:
        EncoderError: `encoder` is not the one that the shards were built with.
    """

    def __init__(self, shards: Shards, settings: Settings, encoder: AnyEncoder | None = None) -> None:
        self._shards = shards
        self._encoder = RecordedEncoder(settings, shards.place, recorded_encoder.adapt(encoder))
        self.filter_checks = FilterChecks(ShardedFields(shards, settings.filterable))
        self._searcher = Searcher(settings, QueryEncoder(self._encoder, settings.dim), self.filter_checks)
        self._languages: list[str] = []

    @property
    def encoder(self) -> TextEncoder:
        """The encoder, loaded when first needed."""
        return self._encoder.get()

    def search(self, queries: Sequence[Query], options: SearchOptions, explainer: Explainer) -> list[Hits]:
        """Return the hits of every query, which `explainer` can explain.

        Raises:
            ShardUnavailableError: no shard answered.
        """
        with self.open_search(explainer) as search:
            return search.hits(queries, options)

    @contextmanager
    def open_search(self, explainer: Explainer) -> Iterator[OpenSearch]:
        """Yield the shards as one search reads them; see `search_several`."""
        with self._shards.pinned() as shards:
            yield OpenSearch(self._searcher, ShardedDocuments(shards, self._languages), explainer)


class ShardedFields:
    """The fields of the documents of shards; see `Fields`.

    Args:
        shards: the shards.
        filterable: type names of the fields that they declare.
    """

    def __init__(self, shards: Shards, filterable: Mapping[str, str]) -> None:
        self.filterable = filterable
        self._shards = shards

    def absent(self, fields: Sequence[FilterField]) -> list[bool]:
        """See `Fields`; nothing is said of fields that a shard which does not answer may have."""
        if not fields:
            return []
        replies = self._ask("absent", tuple(fields))
        absent = [answer for answer in replies.answers.values() if answer is not None]
        if replies.missing or not absent:
            return [False] * len(fields)
        return [all(of_shards) for of_shards in zip(*absent, strict=True)]

    def names(self) -> list[str]:
        """See `Fields`."""
        answers = self._ask("field_names").answers
        return list(dict.fromkeys(name for _, names in sorted(answers.items()) for name in names))

    def sample(self, name: str) -> Any:
        """See `Fields`."""
        answers = self._ask("field_sample", name).answers
        return next((value for _, value in sorted(answers.items()) if value is not None), None)

    def _ask(self, method: str, *arguments: Any) -> Replies:
        return self._shards.call(method, dict.fromkeys(range(self._shards.count), arguments))
