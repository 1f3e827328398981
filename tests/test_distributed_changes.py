"""Changes of a sharded index on a Ray cluster: what was acknowledged is found, by whom, and after what was lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.ray_cluster import cluster
from helpers.s3_server import BUCKET, s3_server

from serotine import Index
from serotine.errors import (
    DuplicateIdError,
    IndexLockedError,
    RepositoryError,
    SerotineError,
    ShardUnavailableError,
    UnknownIdError,
)

ray = pytest.importorskip("ray", reason="the library ray is not installed: pip install 'serotine[ray]'")
pytest.importorskip("serotine_mini")

from serotine.distributed import ShardedIndex, build, owner, shard_records  # noqa: E402

__all__ = ["cluster"]  # a fixture, used by its name

# Ray's own: it forks, and leaves sockets open.
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.timeout(900)]
SHARDS = 2
TEXTS = {f"d{i}": f"{animal} number {i} sleeps in the {place}" for i, (animal, place) in enumerate(
    (animal, place) for animal in ("bat", "owl", "fox", "hare") for place in ("cave", "tree", "field", "barn", "attic")
)}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_text("".join(json.dumps({"_id": id_, "text": text}) + "\n" for id_, text in TEXTS.items()))
    return path


@pytest.fixture(scope="module")
def built(cluster: Any, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("built") / "collection")
    build(corpus, url, shards=SHARDS, encoder="mini")
    return url


@pytest.fixture
def url(built: str, tmp_path: Path) -> str:
    """A copy of its own for every test."""
    return str(shutil.copytree(built, tmp_path / "collection"))


def opened(url: str, **options: Any) -> ShardedIndex:
    return ShardedIndex.open(url, deadline=60.0, cpus=0.1, start_timeout=300.0, **options)


def ranked(index: ShardedIndex | Index, query: str = "where do bats sleep?") -> list[tuple[str, float]]:
    hits = index.search(query, k=50, exact=True)
    assert hits.partial is None
    return sorted((hit.id, hit.score) for hit in hits)


def answered(index: ShardedIndex, id_: str) -> str | None:
    """Return a document's text, once its shard has started again."""
    end = time.monotonic() + 120
    while True:
        try:
            return index[id_].text
        except ShardUnavailableError:
            assert time.monotonic() < end
            time.sleep(0.2)


def test_changes_are_seen_survive_their_writer_and_reach_others_with_a_snapshot(url: str, tmp_path: Path) -> None:
    with Index.create(tmp_path / "one", encoder="mini") as one, opened(url, replicas=2) as index:
        one.add(list(TEXTS), list(TEXTS.values()))
        assert ranked(index) == ranked(one)
        for place in (one, index):
            place.add(["n1", "n2", "n3"], ["a bat in a box"] * 3, metadata=[{"year": i} for i in range(3)])
            place.add(["d1", "n4"], ["another bat", "an owl in a box"], upsert=True)
            assert place.delete(["d2", "n2"]) == 2
            assert place.delete(where={"year": 2}) == 1
            place.update_metadata(["n1"], [{"color": "red"}])
            with pytest.raises(DuplicateIdError, match="'n1' is already in the index"):
                place.add(["n5", "n1"], ["x", "y"])
            with pytest.raises(UnknownIdError, match="'n9' is not in the index; nothing was deleted"):
                place.delete(["n1", "n9"])
        assert ranked(index) == ranked(one)
        assert index["n1"].metadata == {"year": 0, "color": "red"}
        assert len(index) == len(one) == index.stats().documents
        before = ranked(one)
        assert {bool(record.unsaved) for record in shard_records(url)} == {True}
        # Another one sees what is in snapshots.
        with opened(url) as other:
            assert len(other) == len(TEXTS)
            with pytest.raises(IndexLockedError, match=r"shard 0 of 2: another process is changing it, at .*/writing-"):
                other.add(["x1", "x2", "x3", "x4"], ["x"] * 4)
            # The writers end; each is started again where its changes are.
            for pids in index._shards.process_ids():
                assert len(pids) == 1
                os.kill(pids[0], signal.SIGKILL)
            one.add(["n6"], ["a fox in a box"])
            index.add(["n6"], ["a fox in a box"])
            for id_, _ in before:
                assert answered(index, id_) == one[id_].text
            index.snapshot()
            assert ranked(index) == ranked(one)
            # Replicas answer again, two for each shard.
            assert [len(pids) for pids in index._shards.process_ids()] == [2, 2]
            assert len(other) == len(TEXTS)
            assert other.refresh() == SHARDS
            assert other.refresh() == 0
            assert ranked(other) == ranked(one)
            # Now it is the turn of the other.
            for place in (one, other):
                place.add(["n8"], ["an owl in a hat"])
            with pytest.raises(SerotineError, match=r"another process has changed it since it was opened; refresh\(\)"):
                index.delete(["n6"])
            other.snapshot()
            assert index.refresh() == 1
        one.delete(["n6"])
        index.delete(["n6"], snapshot=True)
        assert not any(record.unsaved for record in shard_records(url))
        assert ranked(index) == ranked(one)
        # Not saved, and its process ends without a word.
        one.add(["n7"], ["a hare in a box"])
        index.add(["n7"], ["a hare in a box"])
        saved = ranked(one)
    assert [bool(record.unsaved) for record in shard_records(url)].count(True) == 1
    with opened(url) as index:
        assert ranked(index) == saved
        assert not any(record.unsaved for record in shard_records(url))


@pytest.mark.slow
def test_changes_on_a_machine_that_is_lost_are_not_forgotten_in_silence(url: str, corpus: Path) -> None:
    with opened(url) as index:
        index.add(["n1"], ["a bat in a box"])
    manifest = Path(url) / "shards.json"
    content = json.loads(manifest.read_text())
    record = content["shards"][owner("n1", SHARDS)]
    record["unsaved"] = f"elsewhere/{record['unsaved'].rpartition('/')[2]}"
    manifest.write_text(json.dumps(content))
    with pytest.raises(ShardUnavailableError, match=r"changes that are in no snapshot, at elsewhere/writing-.*disc"):
        opened(url)
    with opened(url, discard_changes=True) as index:
        assert "n1" not in index
        assert len(index) == len(TEXTS)
    assert not any(record.unsaved for record in shard_records(url))
    with pytest.raises(RepositoryError, match="was changed after it was built, which building would undo"):
        build(corpus, url, shards=SHARDS, encoder="mini")


def test_an_upgrade_during_a_stream_of_queries_fails_none(url: str, corpus: Path, tmp_path: Path) -> None:
    grown = tmp_path / "grown.jsonl"
    texts = {id_: text.replace("bat", "moth") for id_, text in TEXTS.items() if id_ != "d0"} | {"new": "a bat asleep"}
    grown.write_text("".join(json.dumps({"_id": id_, "text": text}) + "\n" for id_, text in texts.items()))
    answers: list[list[tuple[str, float]]] = []
    failures: list[BaseException] = []
    stop = threading.Event()
    with opened(url, replicas=2) as index:
        before = ranked(index)

        def stream() -> None:
            while not stop.is_set():
                try:
                    answers.append(ranked(index))
                except BaseException as error:
                    failures.append(error)
                    return

        threads = [threading.Thread(target=stream) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            build(grown, url, shards=SHARDS, encoder="mini")
            assert index.refresh() == SHARDS
            after = ranked(index)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert not failures
    assert {id_ for id_, _ in after} == set(texts)
    # Of all shards at once: no answer is of both.
    assert all(answer in (before, after) for answer in answers)
    assert answers[0] == before


def test_an_index_in_a_bucket_is_built_changed_and_opened(
    cluster: Any, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("moto")
    pytest.importorskip("flask_cors")
    s3fs = pytest.importorskip("s3fs")
    url = f"s3://{BUCKET}/collection"
    with s3_server() as (faults, address):
        # Workers have the environment that the cluster was started with.
        options = {"key": "public-name", "secret": "sesame-open", "client_kwargs": {"endpoint_url": address}}
        s3fs.S3FileSystem(**options).mkdir(BUCKET)
        build(corpus, url, shards=SHARDS, encoder="mini", storage_options=options)
        faults.share = 0.05
        with opened(url, storage_options=options) as index:
            assert {id_ for id_, _ in ranked(index)} == set(TEXTS)
            index.add(["new"], ["a bat in a bucket"], snapshot=True)
            assert index.delete(["d0"], snapshot=True) == 1
            expected = ranked(index)
        faults.share = 0.0
        assert faults.failed
        with opened(url, storage_options=options) as index:
            assert ranked(index) == expected
            assert {id_ for id_, _ in expected} == {*TEXTS, "new"} - {"d0"}
        assert sum(record.documents for record in shard_records(url, storage_options=options)) == len(TEXTS)
        s3fs.S3FileSystem.clear_instance_cache()
