"""Shards in one process, which can be made to fail: what a search of shards does, without Ray."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from serotine.index import Index, Replies, Shard, ShardWriter


class LocalShards:
    """Shards of indexes; those in `down` do not answer, nor do shards to the methods in `failing`."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self.place = "local"
        self.count = len(indexes)
        self.down: set[int] = set()
        self.failing: dict[int, str] = {}
        self.calls: list[str] = []
        self._shards = [Shard(index) for index in indexes]

    def call(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> Replies:
        self.calls.append(method)
        replies = Replies()
        for shard, given in arguments.items():
            if shard in self.down or self.failing.get(shard) == method:
                replies.missing[shard] = "down"
                continue
            # As between processes.
            given = pickle.loads(pickle.dumps(given))  # noqa: S301
            replies.answers[shard] = pickle.loads(pickle.dumps(getattr(self._shards[shard], method)(*given)))  # noqa: S301
        return replies

    def pinned(self) -> AbstractContextManager[LocalShards]:
        return nullcontext(self)


class LocalWriters:
    """Writers of indexes."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self.count = len(indexes)
        self._writers = [ShardWriter(index) for index in indexes]

    def ask(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        answers = {}
        for shard, given in arguments.items():
            # As between processes.
            given = pickle.loads(pickle.dumps(given))  # noqa: S301
            answers[shard] = pickle.loads(pickle.dumps(getattr(self._writers[shard], method)(*given)))  # noqa: S301
        return answers

    change = ask
