"""Sharded indexes on a Ray cluster of three nodes: what is lost, what is said of it, and what comes back."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from helpers.ray_cluster import cluster

from serotine import Index
from serotine.cli import main
from serotine.errors import (
    IndexDamagedError,
    InputFileError,
    PartialResultWarning,
    RepositoryError,
    SerotineError,
    ShardUnavailableError,
    UnknownIdError,
)
from serotine.index import Hits

ray = pytest.importorskip("ray", reason="the library ray is not installed: pip install 'serotine[ray]'")
pytest.importorskip("serotine_mini")

from serotine.distributed import ShardedIndex, build, owner  # noqa: E402
from serotine.distributed.ray_data import Pipelines  # noqa: E402

__all__ = ["cluster"]  # a fixture, used by its name

SHARDS, QUERIES = 4, 300
EXAMPLES = Path(__file__).parent.parent / "examples"
# Ray's own: it forks, and leaves sockets open.
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Documents of a judged collection in a file, and its queries."""
    from serotine.evaluation import find_sources

    collection = find_sources(str(EXAMPLES / "cranfield"))[0].load()
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    documents = sorted(collection.documents.items())[:400]
    path.write_text(
        "".join(
            json.dumps({"_id": id_, "text": text, "year": 1950 + i % 20}) + "\n"
            for i, (id_, text) in enumerate(documents)
        )
    )
    # The first words of documents that are not there are queries too.
    others = [" ".join(text.split()[:12]) for _, text in sorted(collection.documents.items())[400:] if text.strip()]
    return path, [*collection.queries.values(), *others][:QUERIES]


@pytest.fixture(scope="module")
def one(corpus: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """One index with the same documents, in the order of their shards."""
    documents = [json.loads(line) for line in corpus[0].read_text().splitlines()]
    documents.sort(key=lambda document: owner(document["_id"], SHARDS))
    path = tmp_path_factory.mktemp("one") / "index"
    with Index.create(path, encoder="mini", filterable={"year": int}) as index:
        index.add(
            ids=[document["_id"] for document in documents],
            texts=[document["text"] for document in documents],
            metadata=[{"year": document["year"]} for document in documents],
            long_texts="split",
        )
        yield index


@pytest.fixture(scope="module")
def url(cluster: Any, corpus: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("url") / "collection")
    report = build(corpus[0], url, shards=SHARDS, encoder="mini", filterable={"year": int})
    assert (report.shards, report.built) == (SHARDS, (0, 1, 2, 3))
    return url


def test_the_command_line_builds_and_lists_shards(
    url: str, corpus: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["cluster", "build", str(corpus[0]), "-o", url, "--encoder", "mini", "--filterable", "year:int"]
    assert main([*command, "--shards", "4", "--json", "-"]) == 0
    built = json.loads(capsys.readouterr().out)
    # The fixture has built them.
    assert built["built"] == []
    assert main(["cluster", "status", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + SHARDS
    assert lines[-1] == f"{built['documents']:,} documents in 4 shards."
    assert main(["cluster", "status", f"{url}/nothing"]) == 1
    assert "no sharded index" in capsys.readouterr().err


@pytest.fixture(scope="module")
def sharded(url: str) -> Iterator[ShardedIndex]:
    with ShardedIndex.open(url, deadline=300.0) as index:
        yield index


def facts(hits: Hits) -> list[tuple[Any, ...]]:
    return [(hit.id, hit.score, hit.text, hit.metadata["year"]) for hit in hits]


def test_shards_on_a_cluster_answer_like_one_index(
    one: Index, sharded: ShardedIndex, corpus: tuple[Path, list[str]]
) -> None:
    _, queries = corpus
    assert len(set(queries)) == QUERIES
    cases: list[dict[str, Any]] = [
        {"mode": "late"},
        {"mode": "late", "exact": True},
        {"mode": "bm25"},
        {"mode": "hybrid"},
        {"mode": "hybrid", "where": {"year": {">=": 1960}}},
    ]
    for options in cases:
        expected = one.search_batch(queries, k=10, **options)
        for query, hits, own in zip(queries, sharded.search_batch(queries, k=10, **options), expected, strict=True):
            assert facts(hits) == facts(own), (query, options)
            assert hits.partial is None
            if options.get("exact"):
                assert hits.certificate is not None
                assert hits.certificate.exact
    assert len(sharded) == sharded.count() == len(one)
    assert sharded.count(where={"year": 1960}) == one.count(where={"year": 1960})
    some = list(one)[:7]
    assert [hit.text for hit in sharded.get(some)] == [hit.text for hit in one.get(some)]
    assert sharded.get(["no-such-id"], missing="none") == [None]
    with pytest.raises(UnknownIdError, match="'no-such-id' is not in the index"):
        sharded.get("no-such-id")
    stats, own_stats = sharded.stats(), one.stats()
    assert (stats.documents, stats.tokens, stats.encoder) == (own_stats.documents, own_stats.tokens, own_stats.encoder)
    assert sharded.verify().documents == len(one)
    best = one.search(queries[0], k=1)[0]
    explained = sharded.explain(queries[0], best.id)
    assert explained.score == pytest.approx(best.score)
    vectors = one.encoder.encode_queries(queries[:1])[0]
    assert sharded.search(vectors, k=3)[0].id == best.id
    with pytest.raises(ValueError, match="k: must be at least 1"):
        sharded.search("wings", k=0)


def test_the_server_runs_on_ray_serve(cluster: Any, url: str, one: Index, corpus: tuple[Path, list[str]]) -> None:
    query = corpus[1][0]
    command = [sys.executable, "-m", "serotine", "serve", "--ray", url, "--address", cluster.address, "--ray-serve"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    options = ["--port", port, "--workers", "2", "--read-only"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith(f"Open http://127.0.0.1:{port}")
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                answers = [client.post("/v1/indexes/collection/search", json={"query": query, "k": 10, "exact": True})
                           for _ in range(6)]  # fmt: skip
                expected = [(hit.id, pytest.approx(hit.score)) for hit in one.search(query, exact=True)]
                for answer in answers:
                    assert [(hit["id"], hit["score"]) for hit in answer.json()["hits"]] == expected
                assert client.get("/").text.startswith("<!doctype html>")
                assert client.delete("/v1/indexes/collection/documents/1").status_code == 403
            second = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (second.returncode, "Ray Serve runs on this cluster already" in second.stderr) == (1, True)
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/")


@pytest.mark.slow
def test_a_shard_that_ended_for_good_is_replaced(url: str, corpus: tuple[Path, list[str]]) -> None:
    with ShardedIndex.open(url, deadline=20.0, cpus=0.5) as index:
        (replica,) = index._shards.replicas(1)
        dead = replica.actor
        ray.kill(dead)
        with pytest.raises(ShardUnavailableError, match="shard 1 of 4 did not answer"):
            index.verify()
        end = time.monotonic() + 90
        while searched(index, corpus[1][0]).partial is not None:
            assert time.monotonic() < end, "the actor was not replaced"
            time.sleep(0.1)
        assert replica.actor is not dead
        assert index.verify().documents == len(index)


def searched(index: ShardedIndex, query: str) -> Hits:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartialResultWarning)
        return index.search(query, k=20, exact=True)


@pytest.mark.slow
def test_a_replica_answers_for_one_that_died(url: str, one: Index, corpus: tuple[Path, list[str]]) -> None:
    query = corpus[1][0]
    with ShardedIndex.open(url, replicas=2, deadline=20.0) as index:
        expected = facts(one.search(query, exact=True))
        assert facts(index.search(query, exact=True)) == expected
        replicas = index._shards.replicas(0)
        dead = replicas[0].actor
        ray.kill(dead)
        # Each time complete: the other replica answers, and soon a new actor does.
        end = time.monotonic() + 90
        while replicas[0].actor is dead or replicas[0].recovery is not None:
            hits = index.search(query, exact=True)
            assert hits.partial is None
            assert facts(hits) == expected
            assert time.monotonic() < end, "the replica was not replaced"


@pytest.mark.slow
def test_a_build_whose_worker_is_killed_ends_with_the_same_index(
    cluster: Any,
    corpus: tuple[Path, list[str]],
    one: Index,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from serotine.distributed import building

    url = str(tmp_path / "collection")
    killed, resumed = tmp_path / "killed", tmp_path / "resumed"

    class Dying(building.ShardBuilder):
        """The process of shard 1 is killed once, after some commits."""

        def __call__(self, order: building.ShardOrder) -> building.BuiltShard:
            # The worker's module, in which nothing is replaced.
            building = importlib.import_module("serotine.distributed.building")
            building._BATCH = 40
            batches = building._batches

            def fatal_batches(order: building.ShardOrder) -> Iterator[dict[str, list[Any]]]:
                for number, batch in enumerate(batches(order)):
                    if number == 4 and order.shard == 1:
                        killed.touch()
                        os.kill(os.getpid(), signal.SIGKILL)
                    yield batch

            if not killed.exists():
                building._batches = fatal_batches
            elif order.shard == 1:
                folder = building.shard_folder(order.url) / f"building-{order.key}"
                with Index.open(folder, read_only=True) as left:
                    resumed.write_text(str(len(left)))
            built: Any = super().__call__(order)
            return built

    monkeypatch.setattr(building, "ShardBuilder", Dying)
    report = build(corpus[0], url, shards=2, encoder="mini", filterable={"year": int})
    assert killed.exists()
    assert 0 < int(resumed.read_text()) < report.documents / 2
    assert report.built == (0, 1)
    assert report.documents == len(one)
    # Nothing to build: no task is started.
    assert build(corpus[0], url, shards=2, encoder="mini", filterable={"year": int}).built == ()
    # One document more: only its shard.
    grown = tmp_path / "grown.jsonl"
    grown.write_text(corpus[0].read_text() + json.dumps({"_id": "new", "text": "a new wing", "year": 1999}) + "\n")
    assert build(grown, url, shards=2, encoder="mini", filterable={"year": int}).built == (owner("new", 2),)
    restored = []
    for shard in range(2):
        Index.restore(f"file://{url}/shard-{shard:05}", tmp_path / f"restored{shard}")
        with Index.open(tmp_path / f"restored{shard}", read_only=True) as index:
            index.verify()
            restored += list(index)
            for id_ in list(index)[:20]:
                if id_ != "new":
                    assert np.array_equal(index.vectors(id_), one.vectors(id_))
    assert sorted(restored) == sorted([*one, "new"])


@pytest.mark.parametrize("runs_in", ["tasks", "actors"])
def test_one_order_that_fails_ends_the_others(runs_in: str, cluster: Any, tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    def run(order: str) -> str:
        if order == "wrong":
            while not runs.exists():
                time.sleep(0.05)
            raise InputFileError("rows.jsonl:3: wrong")
        if order == "long":
            runs.write_text(str(os.getpid()))
            time.sleep(600)
        return order.upper()

    class Runner:
        def __call__(self, order: str) -> str:
            return run(order)

    function = run if runs_in == "tasks" else Runner
    with Pipelines(ray) as pipelines:
        done = dict(pipelines.map(function, ["a", "b"], resources={"num_cpus": 1}, lost=named))
        assert done == {"a": "A", "b": "B"}
        with pytest.raises(InputFileError, match=r"^rows\.jsonl:3: wrong$"):
            list(pipelines.map(function, ["long", "wrong"], resources={"num_cpus": 1}, lost=named))
        end = time.monotonic() + 60
        while Path(f"/proc/{runs.read_text()}").exists():
            assert time.monotonic() < end, "an order still runs after the build has failed"
            time.sleep(0.1)


def named(order: str) -> tuple[str, str]:
    return f"order {order}", "give it more memory"


@pytest.mark.slow
@pytest.mark.parametrize("runs_in", ["tasks", "actors"])
def test_an_order_that_is_lost_too_often_is_named(runs_in: str, cluster: Any, tmp_path: Path) -> None:
    starts = tmp_path / "starts"

    def run(order: str) -> str:
        if order == "fatal":
            with starts.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return order.upper()

    class Runner:
        def __call__(self, order: str) -> str:
            return run(order)

    function = run if runs_in == "tasks" else Runner
    message = "^order fatal: its process or machine died 6 times; give it more memory$"
    with Pipelines(ray) as pipelines:
        answers = pipelines.map(function, ["a", "fatal", "b"], resources={"num_cpus": 1}, lost=named)
        with pytest.raises(SerotineError, match=message):
            list(answers)
    assert starts.read_text() == 6 * "x"


def test_what_is_wrong_with_a_build_or_its_place_is_said(
    cluster: Any,
    tmp_path: Path,
) -> None:
    twice = tmp_path / "twice.jsonl"
    twice.write_text('{"_id": "a", "text": "one"}\n{"_id": "a", "text": "two"}\n')
    with pytest.raises(InputFileError, match=r"twice\.jsonl.*duplicate id 'a'; ids must be unique"):
        build(twice, str(tmp_path / "x"), shards=2, encoder="mini")
    with pytest.raises(ValueError, match="shards: must be between 1 and 10,000, got 0"):
        build(twice, str(tmp_path / "x"), shards=0)
    with pytest.raises(TypeError, match="encoder: must be a name that every machine can load"):
        build(twice, str(tmp_path / "x"), shards=1, encoder=7)
    with pytest.raises(RepositoryError, match="no sharded index"):
        ShardedIndex.open(str(tmp_path / "x"))
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "shards.json").write_text('{"format": 9, "hash": "crc"}')
    with pytest.raises(IndexDamagedError, match="format 9 with hash 'crc' is unknown"):
        ShardedIndex.open(str(tmp_path / "x"))
    (tmp_path / "x" / "shards.json").write_text(
        json.dumps(
            {
                "format": 1,
                "hash": "blake2b-64",
                "settings": {"dim": 4},
                "shards": [{"snapshot": "../../etc/passwd", "documents": 1}],
            }
        )
    )
    with pytest.raises(IndexDamagedError, match="the list of shards is not valid"):
        ShardedIndex.open(str(tmp_path / "x"))


# Last: the node does not come back.
@pytest.mark.parametrize("loss", ["process", pytest.param("node", marks=pytest.mark.slow)])
def test_what_is_lost_during_queries_is_named_and_comes_back(
    loss: str, cluster: Any, one: Index, url: str, corpus: tuple[Path, list[str]]
) -> None:
    _, queries = corpus
    expected = {query: facts(one.search(query, k=20, exact=True)) for query in queries[:8]}
    with ShardedIndex.open(url, deadline=3.0, cpus=0.5) as index:
        ((victim,),) = index._shards.process_ids()[2:3]
        lost_at = partial = complete_again = 0.0
        started = time.monotonic()
        while not complete_again and time.monotonic() < started + 150:
            for query in queries[:8]:
                if not lost_at and time.monotonic() > started + 0.3:
                    lost_at = time.monotonic()
                    if loss == "process":
                        os.kill(victim, signal.SIGKILL)
                    else:
                        cluster.remove_node(cluster.expendable, allow_graceful=False)
                hits = searched(index, query)
                assert hits.certificate is not None
                if hits.partial is None:
                    assert facts(hits) == expected[query]
                    assert hits.certificate.exact
                    complete_again = time.monotonic() if partial else 0.0
                    continue
                partial += 1
                assert hits.partial.missing
                assert (hits.certificate.exact, hits.certificate.exact_among_searched) == (False, True)
                # The best of the other shards, and their scores.
                others = [fact for fact in expected[query] if owner(fact[0], SHARDS) in hits.partial.searched]
                assert facts(hits)[: len(others)] == others
                assert {owner(hit.id, SHARDS) for hit in hits} <= set(hits.partial.searched)
        assert partial
        assert complete_again, "what was lost did not come back"
        assert complete_again - lost_at < 90
