"""The documents of all shards of a collection, as one search reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serotine.errors import ShardUnavailableError
from serotine.index.hits import Partial
from serotine.index.search import (
    Queries,
    Ranking,
    Rankings,
    SearchOptions,
    by_shard,
    collection_number,
    lexical_ranking,
    merge_late,
    merge_lexical,
    partial_search,
)
from serotine.index.shard import RankRequest, ShardRankings, ShardRows
from serotine.index.store import Row, WordStatistics, merged_statistics
from serotine.wording import worded


@dataclass(slots=True)
class Replies:
    """What shards replied.

    Attributes:
        answers: by shard.
        missing: the reason why a shard did not answer.
        advice: what to do where these are needed.
    """

    answers: dict[int, Any] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)
    advice: str = "try again in some seconds"


class Shards(Protocol):
    """The shards of a collection, wherever they are.

    Attributes:
        place: of the collection, for messages.
        count: number of shards.
    """

    place: str
    count: int

    def call(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> Replies:
        """Call a method of several `Shard`s at the same time, each with its arguments, and wait until a deadline.

        Raises what a shard raised.
        """
        ...

    def pinned(self) -> AbstractContextManager[Shards]:
        """Return these shards for one search: numbers of documents mean the same in all its requests."""
        ...


class ShardedDocuments:
    """The documents of shards, for one search; see `Documents`.

    A shard that does not answer once is left out from then on: all rankings of a search are of the same shards.

    Args:
        shards: the shards.
        languages: the languages whose stems queries were searched as last; updated.
    """

    def __init__(self, shards: Shards, languages: list[str]) -> None:
        self.place = shards.place
        self._shards = shards
        self._languages = languages
        self._scripts: dict[str, str] = {}
        self.missing: dict[int, str] = {}

    @property
    def partial(self) -> Partial | None:
        """The shards that have been left out so far."""
        return partial_search(self._shards.count, self.missing)

    def state(self) -> object:
        """See `Documents`: shards are not asked for theirs, so that any may have changed."""
        return object()

    def view(self, options: SearchOptions, *, lenient: bool) -> ShardedView:
        """See `Documents`; every shard answers for one state of its own.

        Raises:
            ValueError: the mode is "xtr", whose scores depend on which tokens a whole index has, or "pooled".
        """
        if options.mode in ("xtr", "pooled"):
            fix = worded('use mode="late"', http='use "late"', command="use --mode late")
            raise ValueError(f"mode: {options.mode} searches one index, got one in shards; {fix}")
        return ShardedView(self, options)

    def unknown_scripts(self, ids: Sequence[str]) -> dict[str, str]:
        """See `Documents`: of hits, which came with their scripts."""
        return {id_: self._scripts[id_] for id_ in ids if id_ in self._scripts}

    def has_unknown(self) -> bool:
        """See `Documents`."""
        return any(self.ask_all("has_unknown").values())

    def ask_all(self, method: str, *arguments: Any) -> dict[int, Any]:
        """Return the answers of all shards that are not left out to one request."""
        return self.ask(method, dict.fromkeys(range(self._shards.count), arguments))

    def ask(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Return the answers of shards, each to its request; leave out those that do not answer.

        Raises:
            ShardUnavailableError: no shard is left.
        """
        replies = self._shards.call(method, {i: given for i, given in arguments.items() if i not in self.missing})
        self.missing.update(replies.missing)
        if len(self.missing) == self._shards.count:
            shard, reason = min(self.missing.items())
            raise ShardUnavailableError(
                f"{self.place}: none of its {self._shards.count:,} shards answered, "
                f"shard {shard} because: {reason}; {replies.advice}"
            )
        return replies.answers

    def word_statistics(self, texts: Sequence[str]) -> list[WordStatistics]:
        """Return the word statistics of the collection for every query."""
        languages = list(self._languages)
        while True:
            of_shards: dict[int, list[WordStatistics]] = self.ask_all("word_statistics", texts, languages)
            merged = [merged_statistics(of_query) for of_query in zip(*of_shards.values(), strict=True)]
            if not merged or merged[0].stemmed == languages:
                return merged
            # Known from now on, for later searches too.
            languages = self._languages[:] = merged[0].stemmed

    def received(self, documents: ShardRows) -> None:
        """Note the scripts of documents."""
        self._scripts.update(documents.scripts)


class ShardedView:
    """The documents of shards, for one attempt of a search; see `View`."""

    def __init__(self, documents: ShardedDocuments, options: SearchOptions) -> None:
        self.filtering = 0.0
        self._documents = documents
        self._options = options
        self._rows: dict[int, Row] = {}

    @property
    def partial(self) -> Partial | None:
        """See `View`."""
        return self._documents.partial

    def rank(self, depth: int, queries: Queries) -> list[Rankings] | None:
        """See `View`."""
        vectors, texts = queries.vectors, queries.texts
        statistics: list[WordStatistics] = []
        if self._options.mode != "late":
            statistics = self._documents.word_statistics([text or "" for text in texts])
        request = RankRequest(self._options, depth, vectors, texts, statistics)
        answers: dict[int, ShardRankings] = self._documents.ask_all("rank", request)
        self.filtering = max(answer.filtering for answer in answers.values())
        allowed = sum(answer.allowed for answer in answers.values())
        for shard, answer in sorted(answers.items()):
            self._received(shard, answer.documents)
        return [
            Rankings(
                self._late(answers, i, depth) if vectors else None,
                self._lexical(answers, i, depth, allowed) if statistics else None,
            )
            for i in range(len(texts))
        ]

    def _late(self, answers: Mapping[int, ShardRankings], query: int, depth: int) -> Ranking:
        has_vectors = all(answer.has_vectors for answer in answers.values())
        rankings = {shard: answer.late[query] for shard, answer in sorted(answers.items())}
        return merge_late(rankings, depth, has_vectors=has_vectors, partial=self.partial)

    def _lexical(self, answers: Mapping[int, ShardRankings], query: int, depth: int, allowed: int) -> Ranking:
        rankings = {shard: answer.lexical[query] for shard, answer in sorted(answers.items())}
        return lexical_ranking(merge_lexical(rankings, depth), allowed)

    def late_scores(self, query: NDArray[np.float32], numbers: Sequence[int]) -> dict[int, float]:
        """See `View`."""
        answers = self._ask_owners("late_scores", numbers, lambda local: (query, local))
        return {
            collection_number(shard, number): score
            for shard, scores in answers.items()
            for number, score in scores.items()
        }

    def rows(self, numbers: Sequence[int], *, filtered: bool) -> dict[int, Row]:
        """See `View`; documents that came with a ranking have passed the filter."""
        unknown = [number for number in numbers if number not in self._rows]
        fetched: dict[int, Row] = {}
        answers = self._ask_owners("rows", unknown, lambda local: (self._options, local, filtered))
        for shard, documents in answers.items():
            fetched.update(self._numbered(shard, documents))
            self._documents.received(documents)
        return {number: row for number in numbers if (row := self._rows.get(number) or fetched.get(number)) is not None}

    def _ask_owners(
        self, method: str, numbers: Sequence[int], arguments: Callable[[list[int]], tuple[Any, ...]]
    ) -> dict[int, Any]:
        owned = by_shard(numbers)
        if not owned:
            return {}
        return self._documents.ask(method, {shard: arguments(local) for shard, local in owned.items()})

    def _received(self, shard: int, documents: ShardRows) -> None:
        self._rows.update(self._numbered(shard, documents))
        self._documents.received(documents)

    @staticmethod
    def _numbered(shard: int, documents: ShardRows) -> dict[int, Row]:
        return {collection_number(shard, number): row for number, row in documents.rows.items()}
