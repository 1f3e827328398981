"""An index in shards as a server opens it, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.fakes import WordEncoder
from helpers.local_shards import LocalShards, LocalWriters
from helpers.serving_cases import DIM, TEXTS, create_index
from serotine import Index
from serotine.distributed import ShardedIndex, owner
from serotine.errors import RepositoryError
from serotine.index import Settings

ENCODER = WordEncoder(DIM)


class Opener:
    """Shards in this process; what they would ask of Ray and storage is counted."""

    def __init__(self, folder: Path) -> None:
        self.url = str(folder / "collection")
        self.indexes = []
        for shard in range(3):
            owned = {id_: text for id_, text in TEXTS.items() if owner(id_, 3) == shard}
            self.indexes.append(Index.open(create_index(folder / f"shard{shard}", owned), encoder=ENCODER))
        self.shards: Any = LocalShards(self.indexes)
        self.shards.close = lambda: None
        self.writers: Any = LocalWriters(self.indexes)
        self.writers.manifest = SimpleNamespace(settings=self.settings())
        self.writers.publish = self.publish
        self.writers.refresh = self.refresh
        self.writers.close = lambda: None
        self.published = self.refreshed = 0
        self.failure = ""

    def settings(self) -> Settings:
        return self.indexes[0]._store.settings

    def open(self, encoder: Any) -> ShardedIndex:
        return ShardedIndex(self.shards, self.writers, encoder)

    def publish(self) -> None:
        if self.failure:
            raise RepositoryError(self.failure)
        self.published += 1

    def refresh(self) -> int:
        self.refreshed += 1
        return 0


@pytest.fixture
def opener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    from serotine.serving import indexes

    monkeypatch.setattr(indexes, "load_encoder", lambda *_: ENCODER)
    opener = Opener(tmp_path)
    yield opener
    for index in opener.indexes:
        index.close()
