"""An index in shards over HTTP: the same answers, what is missing from them, and when changes are answered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.served_shards import Opener, opener
from helpers.serving_cases import DIM, TEXTS, application, create_index, expect_error

from serotine.cli import main
from serotine.cli.serve import _Shards
from serotine.distributed import ShardedIndex, owner
from serotine.errors import PartialResultWarning, WaitingForClusterWarning
from serotine.issued_warnings import issue_warning
from serotine.serving import served_shards
from serotine.wire import unpack

__all__ = ["opener"]  # a fixture, used by its name


@pytest.fixture
def client(opener: Opener, tmp_path: Path) -> Iterator[Any]:
    with application(tmp_path / "state", create_index(tmp_path / "one"), shards={"wiki": opener}) as client:
        yield client


def answer(client: Any, name: str, **body: Any) -> Any:
    response = client.post(f"/v1/indexes/{name}/search", json={"query": "bats at night", **body})
    assert response.status_code == 200, response.text
    return response.json()


def test_an_index_in_shards_answers_like_one_in_a_folder(client: Any) -> None:
    for options in ({}, {"mode": "bm25"}, {"mode": "hybrid"}, {"exact": True}, {"where": {"lang": "en"}, "k": 2}):
        own, sharded = answer(client, "one", **options), answer(client, "wiki", **options)
        assert [(hit["id"], hit["score"]) for hit in sharded["hits"]] == [
            (hit["id"], hit["score"]) for hit in own["hits"]
        ]
        assert sharded["partial"] is None
    assert {index["name"]: index["documents"] for index in client.get("/v1/indexes").json()["indexes"]} == {
        "one": 4, "wiki": 4,
    }  # fmt: skip
    for path in ("documents/d1", "documents/d/3"):
        own = client.get(f"/v1/indexes/one/{path}?vectors=true").json()
        sharded = client.get(f"/v1/indexes/wiki/{path}?vectors=true").json()
        assert (own["id"], own["text"]) == (sharded["id"], sharded["text"])
        assert (unpack(own["vectors"], DIM, "x") == unpack(sharded["vectors"], DIM, "x")).all()
    listed = client.get("/v1/indexes/wiki/ids").json()
    assert (sorted(listed["ids"]), listed["total"]) == (sorted(TEXTS), 4)
    assert client.get("/readyz").status_code == 200
    assert client.post("/v1/indexes/wiki/verify").json()["documents"] == 4
    assert client.get("/v1/indexes/wiki").json()["documents"] == 4
    body = {"query": "bats", "id": "d1"}
    explained = [client.post(f"/v1/indexes/{name}/explain", json=body).json() for name in ("one", "wiki")]
    assert explained[0]["matches"] == explained[1]["matches"]


def test_shards_refuse_mode_xtr_and_what_it_alone_has(client: Any) -> None:
    body = {"query": "bats at night", "mode": "xtr"}
    for path, indexes in (("indexes/wiki/search", {}), ("search", {"indexes": ["one", "wiki"]})):
        response = client.post(f"/v1/{path}", json={**body, **indexes})
        expected = 'mode: xtr searches one index, got one in shards; use "late"'
        assert (response.status_code, response.json()["error"]["message"]) == (422, expected)
    message = 'k_token: needs the mode "xtr", got "late", and an index without shards; drop it'
    body = {"query": "bats at night", "k_token": 100}
    batch = {"queries": ["bats at night"], "k_token": 100}
    for path, request in (
        ("indexes/wiki/search", body),
        ("indexes/wiki/search/batch", batch),
        ("search", {**body, "indexes": ["one", "wiki"]}),
    ):
        response = client.post(f"/v1/{path}", json=request)
        assert (response.status_code, response.json()["error"]["message"]) == (422, message)


@pytest.mark.parametrize("options", [{}, {"mode": "bm25"}, {"mode": "hybrid", "offset": 1}, {"exact": True}])
def test_shards_are_searched_with_folders_as_one(client: Any, options: dict[str, Any]) -> None:
    """With the same documents in both, every hit of one is also one of the other, with the same score."""
    body = {"query": "bats at night", "indexes": ["one", "wiki"], "k": 6, "explain": True, **options}
    response = client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    result = response.json()
    offset = options.get("offset", 0)
    alone = answer(client, "one", k=8, **{**options, "offset": 0})["hits"]
    expected = [(hit["id"], hit["score"]) for hit in alone for _ in range(2)]
    if options.get("mode") != "bm25":
        assert [(hit["id"], hit["score"]) for hit in result["hits"]] == expected[offset : offset + len(result["hits"])]
    assert {hit["index"] for hit in result["hits"]} == {"one", "wiki"}
    assert all(hit["explanation"]["id"] == hit["id"] for hit in result["hits"])
    assert [(one["index"], one["partial"]) for one in result["indexes"]] == [("one", None), ("wiki", None)]


def test_a_search_of_several_indexes_names_shards_that_are_down(client: Any, opener: Opener) -> None:
    opener.shards.down.add(1)
    result = client.post("/v1/search", json={"query": "bats at night", "indexes": ["one", "wiki"]}).json()
    one, wiki = result["indexes"]
    assert (one["partial"], wiki["partial"]["missing"]) == (None, [1])
    assert [warning["kind"] for warning in result["warnings"]] == ["PartialResultWarning"]
    opener.shards.down.update(range(3))
    response = client.post("/v1/search", json={"query": "bats", "indexes": ["one", "wiki"]})
    expect_error(response, 503, "shard_unavailable")


def test_changes_are_answered_when_their_snapshot_is_in_storage(client: Any, opener: Opener) -> None:
    documents = [{"id": f"n{i}", "text": "moths at noon", "metadata": {"lang": "de"}} for i in range(5)]
    response = client.post("/v1/indexes/wiki/documents", json={"documents": documents})
    assert (response.status_code, response.json()["added"], opener.published) == (201, 5, 1)
    assert len([hit for hit in answer(client, "wiki", query="moths at noon")["hits"] if hit["id"][0] == "n"]) == 5
    message = expect_error(
        client.post("/v1/indexes/wiki/documents", json={"documents": documents}), 409, "duplicate_id"
    )
    assert message == "ids: 'n0' (and 4 more) is already in the index; set upsert to true to replace it"
    skipped = client.post(
        "/v1/indexes/wiki/documents", json={"documents": [*documents, {"id": "m", "text": "x"}], "skip_known": True}
    )
    assert skipped.json()["added"] == 1
    changed = {"documents": [{"id": "n1", "metadata": {"lang": "fr"}}]}
    assert client.post("/v1/indexes/wiki/documents/metadata", json=changed).json()["updated"] == 1
    assert client.post("/v1/indexes/wiki/documents/delete", json={"where": {"lang": "de"}}).json()["deleted"] == 4
    assert client.delete("/v1/indexes/wiki/documents/n1").json()["deleted"] == 1
    assert client.post("/v1/indexes/wiki/compact").json()["documents"] == 5
    assert opener.published == 6
    opener.failure = f"{opener.url}: shard 1 of 3: access denied"
    message = expect_error(client.delete("/v1/indexes/wiki/documents/m"), 500, "server_error")
    # Folders of the server are its own affair.
    assert message == "wiki: shard 1 of 3: access denied"


def test_shards_that_are_down_are_named(client: Any, opener: Opener) -> None:
    opener.shards.down.add(owner("d1", 3))
    body = answer(client, "wiki", exact=True)
    assert body["partial"]["missing"] == [owner("d1", 3)]
    assert body["partial"]["statement"].startswith("only 2 of 3 shards were searched")
    assert not body["certificate"]["exact"]
    # This is what the page shows.
    assert [warning["kind"] for warning in body["warnings"]] == [PartialResultWarning.__name__]
    response = client.get("/v1/indexes/wiki/documents/d1")
    message = expect_error(response, 503, "shard_unavailable")
    assert message == f"local: shard {owner('d1', 3)} of 3 did not answer (down); try again in some seconds"
    assert response.headers["Retry-After"] == "1"
    opener.shards.down.update(range(3))
    expect_error(client.post("/v1/indexes/wiki/search", json={"query": "bats"}), 503, "shard_unavailable")


def test_what_shards_cannot_do_is_said(client: Any) -> None:
    response = client.post("/v1/indexes/wiki/files", files={"files": ("a.txt", b"text")})
    assert expect_error(response, 422, "bad_value") == (
        "files: 'wiki' is an index in shards; send their documents to /documents"
    )
    message = expect_error(client.post("/v1/indexes/wiki/tune", json={}), 422, "bad_value")
    assert message.startswith("tune: 'wiki' is an index in shards; each shard measures itself")
    message = expect_error(client.get("/v1/indexes/wikis"), 404, "unknown_index")
    assert message.endswith("available: 'one', 'wiki'")


def test_snapshots_of_others_are_looked_for(opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_shards, "_REFRESH_SECONDS", 0.01)
    with application(tmp_path / "state", shards={"wiki": opener}):
        end = time.monotonic() + 30
        while opener.refreshed < 2:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_read_only_server_changes_no_shard(opener: Opener, tmp_path: Path) -> None:
    with application(tmp_path / "state", shards={"wiki": opener}, read_only=True) as client:
        expect_error(client.delete("/v1/indexes/wiki/documents/d1"), 403, "read_only")
        assert client.get("/v1/indexes").json()["indexes"][0]["writable"] is False
    assert opener.published == 0


@pytest.mark.parametrize("command", [["serve", "--ray"], ["cluster", "serve"]])
def test_the_command_line_says_what_is_wrong(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(status: int, *options: str) -> str:
        assert main([*command, str(tmp_path), *options]) == status
        return capsys.readouterr().err

    assert "--workers: must be 1 for an index in shards, got 2" in refusal(2, "--workers", "2")
    assert "--workers: must be 1 unless --read-only, got 2" in refusal(2, "--ray-serve", "--workers", "2")
    assert "--port: must be above 0 with --ray-serve" in refusal(2, "--ray-serve", "--port", "0")
    assert "no sharded index" in refusal(1)
    assert "no sharded index" in refusal(1, "--ray-serve", "--workers", "2", "--read-only")


def test_ray_serve_is_for_shards_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path), "--ray-serve"]) == 2
    assert "--ray-serve: needs an index in shards" in capsys.readouterr().err
    assert main(["serve", str(tmp_path), "--ray", str(tmp_path), "--ray-serve"]) == 2
    assert "--ray-serve: serves indexes in shards only" in capsys.readouterr().err


def test_what_shards_wait_for_is_a_line_when_they_are_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def opening(url: str, **options: Any) -> str:
        issue_warning(WaitingForClusterWarning(f"{url}: waiting"))
        return f"{url} {options['replicas']} {options['start_timeout']}"

    monkeypatch.setattr(ShardedIndex, "open", opening)
    assert _Shards("wiki", None, 2, 5.0).open(None) == "wiki 2 5.0"
    assert capsys.readouterr().err == "warning: wiki: waiting\n"
