"""Texts that the encoder reads only in part, or not at all, are reported wherever they come in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.serving_cases import application
from starlette.testclient import TestClient

from serotine import Encoder, Index
from serotine.cli import main

LONG = "owls hunt mice at dusk and sleep all day in old barns. " * 80
THAI = "แมวนอนหลับบนเก้าอี้"


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """An index whose texts are not cut into passages."""
    (tmp_path / "bats.txt").write_text("Bats eat moths.")
    path = tmp_path / "notes.serotine"
    assert main(["index", str(tmp_path / "bats.txt"), "-o", str(path), "--no-chunk"]) == 0
    return path


@pytest.fixture
def client(whole: Path, tmp_path: Path) -> Iterator[TestClient]:
    with application(tmp_path / "state", whole) as client:
        yield client


def upload(client: TestClient, *files: tuple[str, bytes]) -> dict[str, Any]:
    """Upload files and return the job once it has ended."""
    job = client.post("/v1/indexes/notes/files", files=[("files", file) for file in files]).json()["job"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        body: dict[str, Any] = client.get(f"/v1/jobs/{job}").json()
        if body["state"] in ("done", "failed"):
            return body
        time.sleep(0.01)
    raise TimeoutError(job)


def test_an_upload_reports_long_and_unknown_texts(client: TestClient) -> None:
    job = upload(client, ("owls.txt", LONG.encode()), ("cat.txt", THAI.encode()))
    assert (job["state"], job["added"]) == ("done", 2)
    assert (job["truncated"], job["unknown"], job["unknown_scripts"]) == (1, 1, {"Thai": 1})
    assert [warning["kind"] for warning in job["warnings"]] == ["TruncatedTextWarning", "UnknownTextWarning"]
    long, unknown = (warning["message"] for warning in job["warnings"])
    assert "documents: 1 of 2 longer than" in long
    assert "owls.txt" in long
    assert "(Thai)" in unknown
    job = upload(client, ("moths.txt", b"Moths fly to light."))
    assert (job["truncated"], job["unknown"], job["unknown_scripts"], job["warnings"]) == (0, 0, {}, [])


def test_an_upload_reports_records_that_are_cut(tmp_path: Path) -> None:
    with Index.create(tmp_path / "notes.serotine", encoder=Encoder()) as index:
        index.add(ids=["bats"], texts=["Bats eat moths."])
    with application(tmp_path / "state", tmp_path / "notes.serotine") as client:
        job = upload(client, ("long.jsonl", f'{{"_id": "a", "text": "{LONG}"}}\n{{"_id": "b", "text": "x"}}'.encode()))
    assert (job["cut_records"], job["truncated"], job["warnings"]) == (1, 0, [])


def test_a_dry_run_counts_what_is_cut_and_what_is_too_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text(f'{{"_id": "a", "text": "{LONG}"}}\n')
    command = ["index", str(file), "-o", str(tmp_path / "new"), "--dry-run"]
    assert main(command) == 0
    assert "\nwould cut 1 long record into passages" in capsys.readouterr().out
    assert main([*command, "--no-chunk"]) == 0
    output = capsys.readouterr().out
    assert "\ntoo long for the encoder: 1 document; the rest is not searched: omit --no-chunk" in output
    assert "would cut" not in output


def test_no_chunk_warns_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "owls.txt").write_text(LONG)
    assert main(["index", str(tmp_path / "owls.txt"), "-o", str(tmp_path / "new"), "--no-chunk"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "longer than" in line]
    assert len(lines) == 1
    assert lines[0].startswith("warning: documents: 1 of 1 longer than")
    assert lines[0].endswith("omit --no-chunk to cut them into passages")


def test_later_runs_still_count_what_the_index_has(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for name, text in (("cat", THAI), ("owls", LONG)):
        (texts / f"{name}.txt").write_text(text, encoding="utf-8")
    update = ["index", str(texts), "-o", str(whole), "--no-chunk"]
    line = (
        "\nIn the index: 1 document more than 20% outside the encoder's vocabulary (Thai), 1 document longer than the "
        "encoder reads; `serotine info` says more.\n"
    )
    assert main(update) == 0
    first = capsys.readouterr()
    assert "In the index" not in first.out
    assert first.err.count("warning: documents: ") == 2
    assert main(update) == 0
    second = capsys.readouterr()
    assert (second.out.count(line), second.err) == (1, "")
    (tmp_path / "more.txt").write_text("A bat.")
    assert main(["add", str(whole), str(tmp_path / "more.txt")]) == 0
    assert line in capsys.readouterr().out


def test_a_search_over_http_reports_the_query(client: TestClient) -> None:
    body = client.post("/v1/indexes/notes/search", json={"query": THAI}).json()
    assert len(body["warnings"]) == 1
    assert "% outside the vocabulary of 'serotine-mini' (Thai)" in body["warnings"][0]["message"]
    assert body["warnings"][0]["kind"] == "UnknownTextWarning"
    assert client.post("/v1/indexes/notes/search", json={"query": "bats"}).json()["warnings"] == []


def test_reranking_and_encoding_over_http_report_their_texts(client: TestClient) -> None:
    body = client.post("/v1/rerank", json={"query": THAI, "documents": ["Owls hunt.", LONG]}).json()
    assert [warning["message"].split(":")[0] for warning in body["warnings"]] == ["queries", "texts"]
    assert "the first is texts[1]" in body["warnings"][1]["message"]
    assert client.post("/v1/rerank", json={"query": "owls", "documents": ["Owls hunt."]}).json()["warnings"] == []
    for url in ("/v1/multi-vector", "/pooling"):
        (warning,) = client.post(url, json={"input": ["Owls hunt.", LONG]}).json()["warnings"]
        assert warning["kind"] == "TruncatedTextWarning"
        assert warning["message"].startswith("texts: 1 of 2 longer than")
