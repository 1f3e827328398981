"""What a shard's process does without Ray: where its documents are, and how it opens and reopens its snapshot."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from serotine import Index
from serotine.distributed import owner
from serotine.distributed.shard_server import NotReady, ShardServer, ShardSource, restored


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardSource:
    monkeypatch.setenv("SEROTINE_SHARDS", str(tmp_path / "cache"))
    url = (tmp_path / "snapshots").as_uri()
    with Index.create(tmp_path / "index", dim=2) as index:
        index.add(ids=["apple", "pear"], vectors=[np.eye(2)] * 2)
        name = index.snapshot(url).name
    assert name is not None
    return ShardSource(url, name)


def test_the_hash_of_ids_never_changes() -> None:
    # Another hash would look for documents where they are not.
    assert [owner(id_, 1000) for id_ in ("", "apple", "東京", "a#b", "\ud800")] == [876, 823, 808, 735, 464]
    assert owner("guide.md#1", 1000) == owner("guide.md#2#3", 1000) == owner("guide.md", 1000)
    assert {owner(f"d{i}", 4) for i in range(50)} == {0, 1, 2, 3}


def test_ids_are_spread_evenly() -> None:
    counts = np.bincount([owner(f"document {i}", 8) for i in range(8000)])
    assert counts.min() > 900
    assert counts.max() < 1100


def test_processes_of_one_machine_share_a_restored_snapshot(source: ShardSource) -> None:
    folder = restored(source)
    written = (folder / "catalog.sqlite").stat().st_mtime_ns
    assert restored(source) == folder
    assert (folder / "catalog.sqlite").stat().st_mtime_ns == written
    first, second = ShardServer(source), ShardServer(source)
    assert first.call("documents", ()) == second.call("documents", ()) == 2


def test_a_shard_whose_folder_was_removed_restores_it(source: ShardSource) -> None:
    server = ShardServer(source)
    assert server.call("documents", ()) == 2
    shutil.rmtree(restored(source))
    answer = server.call("documents", ())
    assert isinstance(answer, NotReady)
    assert "was removed" in answer.reason
    assert server.call("documents", ()) == 2


def test_a_shard_without_its_snapshot_is_not_ready(source: ShardSource) -> None:
    missing = ShardServer(ShardSource(source.url, "20200101-000000-000000"))
    answer = missing.ready()
    assert isinstance(answer, NotReady)
    assert "no snapshot '20200101-000000-000000'" in answer.reason
