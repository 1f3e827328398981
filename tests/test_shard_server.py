"""What a shard's process does without Ray: where its documents are, and how it opens and reopens its snapshot."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

import numpy as np
import pytest

from serotine import Index
from serotine.distributed import owner, writer_server
from serotine.distributed.shard_server import NotReady, ShardServer
from serotine.distributed.snapshot_cache import ShardSource, restored
from serotine.distributed.writer_server import WriterServer
from serotine.errors import IndexLockedError
from serotine.index.shard_writer import NewDocuments


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
    folder = restored(source).folder
    written = (folder / "catalog.sqlite").stat().st_mtime_ns
    assert restored(source).folder == folder
    assert (folder / "catalog.sqlite").stat().st_mtime_ns == written
    first, second = ShardServer(source.url), ShardServer(source.url)
    assert first.call(source.snapshot, "documents", ()) == second.call(source.snapshot, "documents", ()) == 2


def test_a_shard_whose_folder_was_removed_restores_it(source: ShardSource) -> None:
    server = ShardServer(source.url)
    assert server.call(source.snapshot, "documents", ()) == 2
    shutil.rmtree(restored(source).folder)
    answer = server.call(source.snapshot, "documents", ())
    assert isinstance(answer, NotReady)
    assert "was removed" in answer.reason
    assert server.call(source.snapshot, "documents", ()) == 2


def test_a_shard_without_its_snapshot_is_not_ready(source: ShardSource) -> None:
    answer = ShardServer(source.url).ready("20200101-000000-000000")
    assert isinstance(answer, NotReady)
    assert "no snapshot '20200101-000000-000000'" in answer.reason


def newer(source: ShardSource, tmp_path: Path) -> ShardSource:
    """Add a document, and write another snapshot."""
    with Index.open(tmp_path / "index") as index:
        index.add(ids=["plum"], vectors=[np.eye(2)])
        name = index.snapshot(source.url).name
    assert name is not None
    return ShardSource(source.url, name)


def test_a_newer_snapshot_shares_files_with_the_one_before_and_replaces_it(source: ShardSource, tmp_path: Path) -> None:
    server, other = ShardServer(source.url), ShardServer(source.url)
    assert server.call(source.snapshot, "documents", ()) == 2
    assert other.call(source.snapshot, "documents", ()) == 2
    second = newer(source, tmp_path)
    # What is shared is not fetched.
    removed = [path for path in (tmp_path / "snapshots" / "parts").iterdir() if path.read_bytes() in segments(source)]
    assert removed
    for path in removed:
        path.unlink()
    assert server.call(second.snapshot, "documents", ()) == 3
    assert server.call(source.snapshot, "documents", ()) == 2
    folder = restored(source).folder
    server.retire(source.snapshot, second.snapshot)
    assert folder.is_dir(), "another process uses it"
    other.retire(source.snapshot, second.snapshot)
    assert not folder.is_dir()
    assert server.call(second.snapshot, "documents", ()) == 3


def segments(source: ShardSource) -> set[bytes]:
    return {path.read_bytes() for path in (restored(source).folder / "segments").iterdir()}


def test_a_writer_begins_as_the_snapshot_and_keeps_its_changes(
    source: ShardSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_server, "_LOCK_SECONDS", 0.1)
    first = WriterServer(source, "writing-a")
    assert first.begin("") is None
    new = NewDocuments(["plum"], None, [np.eye(2, dtype=np.float16)], None, False, "warn")
    assert first.call("", "add", (new,)) == []
    assert first.call("", "documents", ()) == 3
    with pytest.raises(IndexLockedError):
        WriterServer(source, "writing-a").ready("")
    assert isinstance(WriterServer(source, "writing-a").call("", "documents", ()), NotReady)
    assert ShardServer(source.url).call(source.snapshot, "documents", ()) == 2
    del first
    gc.collect()
    # As after the end of its process.
    again = WriterServer(source, "writing-a")
    assert isinstance(again.ready(""), int)
    assert again.call("", "existing", (["plum", "fig"],)) == ["plum"]
    assert WriterServer(source, "writing-b").begin("") is None
    del again
    gc.collect()
    assert WriterServer(source, "writing-c").begin("writing-a") is None
    left = {path.name for path in restored(source).folder.parent.glob("writing-*")}
    assert left == {"writing-a", "writing-c"}
    shutil.rmtree(restored(source).folder.parent / "writing-a")
    answer = WriterServer(source, "writing-a").ready("")
    assert isinstance(answer, NotReady)
    assert "its changes, which no snapshot has, were removed from" in answer.reason
