"""Uploads are accepted, indexed in the background and reported."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers.fakes import WordEncoder
from helpers.serving_cases import DIM, application, create_index, create_vector_index, expect_error
from starlette.testclient import TestClient

from serotine import Index
from serotine.cli import main
from serotine.ingest import IngestReport, update
from serotine.serving import ServerSettings
from serotine.serving.http.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "/v1/indexes/wiki/files"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr("serotine.encoders.load_recorded", lambda _name, *_: WordEncoder(DIM))
    wiki, numbers = create_index(tmp_path / "wiki.serotine"), create_vector_index(tmp_path / "numbers.serotine", 2)
    with application(tmp_path / "state", wiki, numbers) as client:
        yield client


def upload(client: TestClient, *files: tuple[str, bytes]) -> dict[str, Any]:
    """Upload files and return the job once it has ended."""
    response = client.post(URL, files=[("files", file) for file in files])
    assert response.status_code == 202, response.text
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(f"/v1/jobs/{response.json()['job']}").json()
        if job["state"] in ("done", "failed"):
            return job
        time.sleep(0.01)
    raise TimeoutError(job)


def test_files_become_documents(client: TestClient, tmp_path: Path) -> None:
    job = upload(
        client,
        ("notes/owls.txt", b"owls hunt mice"),
        ("many.jsonl", b'{"_id": "j1", "text": "foxes dig", "lang": "en"}\n{"text": "hares run"}\n'),
    )
    assert (job["state"], job["done"], job["total"], job["added"], job["skipped"]) == ("done", 2, 2, 3, [])
    with Index.open(tmp_path / "wiki.serotine", read_only=True) as index:
        assert index.ids()[4:] == ["notes/owls.txt", "j1", "many.jsonl:2"]
        assert index.get(["j1"])[0].metadata == {"lang": "en", "source": "many.jsonl", "line": 1}
    replacing_job = upload(client, ("notes/owls.txt", b"owls sleep"))
    assert replacing_job["added"] == 1
    assert client.get("/v1/indexes/wiki/documents/notes/owls.txt").json()["text"] == "owls sleep"
    assert not list((tmp_path / "state" / "uploads").iterdir())


@pytest.mark.parametrize(("expansion", "added"), [(2, 0), (100_000, 6_000)])
def test_max_expansion_is_that_of_uploads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expansion: int, added: int
) -> None:
    monkeypatch.setattr("serotine.encoders.load_recorded", lambda _name, *_: WordEncoder(DIM))
    jobs: list[dict[str, Any]] = []

    def serve(settings: ServerSettings, **_: object) -> int:
        with TestClient(create_app(settings), base_url="http://localhost") as client:
            jobs.append(upload(client, ("a.csv.gz", gzip.compress(b"text\n" + b"bats hunt\n" * 6_000))))
        return 0

    monkeypatch.setattr("serotine.serving.serve", serve)
    wiki = create_index(tmp_path / "wiki.serotine")
    assert main(["serve", str(wiki), "--max-record", "1", "--max-expansion", str(expansion)]) == 0
    (job,) = jobs
    assert job["added"] == added
    refused = ["must have at most 1,048,576 characters" in file["reason"] for file in job["skipped"]]
    assert refused == ([] if added else [True])


def test_the_name_of_a_file_stands_for_its_passages(client: TestClient) -> None:
    text = "\n\n".join(f"Bats of kind {n} hunt moths over water at night." for n in range(60))
    passages = upload(client, ("notes/bats.txt", text.encode()))["added"]
    assert passages > 1
    assert client.get("/v1/indexes/wiki/documents/notes/bats.txt").json()["text"] == text
    assert client.delete("/v1/indexes/wiki/documents/notes/bats.txt").json() == {"deleted": passages, "warnings": []}
    expect_error(client.get("/v1/indexes/wiki/documents/notes/bats.txt#1"), 404, "unknown_id")


def test_a_broken_file_is_skipped_and_reported(client: TestClient) -> None:
    job = upload(
        client,
        ("a.jsonl", b'{"_id": "a1", "text": "x"}\n{broken'),
        ("b.exe", b"\x00"),
        ("c.jsonl", b'{"_id": "c1", "text": "x", "lang": 3}\n'),
        ("d.txt", b"good"),
        ("e.jsonl", b'{"_id": "e1", "text": "x", "n": NaN}\n{"_id": "e2", "text": null}\n'),
    )
    assert (job["state"], job["added"]) == ("done", 3)
    reasons = {skipped["file"]: skipped["reason"] for skipped in job["skipped"]}
    assert sorted(reasons) == ["b.exe", "c.jsonl"]
    # A bad row does not cost the others of its file.
    assert (job["skipped_rows"]["count"], job["skipped_rows"]["files"]) == (2, 2)
    first, second = job["skipped_rows"]["first"]
    assert (first["file"], first["line"], first["reason"][:14]) == ("a.jsonl", 2, "not valid JSON")
    reason = "'text' must be a string, got null"
    assert second == {"file": "e.jsonl", "line": 2, "reason": reason, "collisions": 0}
    assert "must be a str, got 3" in reasons["c.jsonl"]
    assert not any("uploads" in reason for reason in reasons.values())


def test_an_upload_is_not_advised_to_use_options_of_the_command_line(client: TestClient) -> None:
    job = upload(client, ("a.txt", "Þetta er stutt".encode("cp1252")))
    (row,) = job["problems"]["first"]
    assert row["reason"].endswith("which is a guess; if letters are wrong, convert it: iconv -f ENCODING -t UTF-8")


def test_an_upload_replaces_only_its_own_rows(client: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "wiki.serotine"
    indexed, gone = tmp_path / "a.csv", tmp_path / "gone.csv"
    indexed.write_text("id,text\n1,bat\n2,owl\n")
    gone.write_text("id,text\n3,fox\n")
    with Index.open(path, encoder=WordEncoder(DIM)) as index:
        update(index, [indexed, gone])
    # The files of an index that was copied to a server are not there.
    gone.unlink()
    rows = b"id,text\n1,emu\n2,emu\n3,emu\nd1,emu\nx4,gnu\n"
    for expected in (1, 0):
        job = upload(client, ("up.csv", rows))
        assert (job["state"], job["added"], job["replaced"]) == ("done", expected, 0)
        assert (job["skipped"], job["skipped_rows"]["count"]) == ([], 4)
        (row,) = job["skipped_rows"]["first"]
        assert (row["file"], row["line"], row["collisions"]) == ("up.csv", 2, 4)
        assert row["reason"] == (
            f"4 rows have ids that are already in the index, from {indexed.as_posix()} and 2 other files "
            "(the first: '1'); use other ids, or delete the documents first"
        )
    (skipped,) = upload(client, ("only.csv", b"id,text\nx4,hen\n"))["skipped"]
    assert skipped["reason"].startswith("line 2: id 'x4' is already in the index, from up.csv; use other ids")
    job = upload(client, ("up.csv", b"id,text\nx4,yak\n"))
    assert (job["added"], job["replaced"], job["skipped_rows"]["count"]) == (1, 1, 0)
    with Index.open(path, read_only=True) as opened:
        texts = {id_: opened[id_].text for id_ in ("1", "2", "3", "d1", "x4")}
    assert texts == {"1": "bat", "2": "owl", "3": "fox", "d1": "bats eat moths at night", "x4": "yak"}


@pytest.mark.parametrize(
    "name",
    [
        "../up.txt",
        "a/../../up.txt",
        "/etc/passwd",
        "/FOLDER/up.txt",
        "//FOLDER/up.txt",
        "///FOLDER/up.txt",
        "C:/up.txt",
        "..",
        "a\\..\\..\\b.txt",
        "x" * 300 + ".txt",
    ],
)
def test_names_stay_in_their_folder(client: TestClient, tmp_path: Path, name: str) -> None:
    name = name.replace("FOLDER", str(tmp_path).lstrip("/"))
    response = client.post(URL, files=[("files", (name, b"text"))])
    assert "must have relative paths" in expect_error(response, 422, "bad_value")
    assert not list(tmp_path.rglob("up.txt"))


def test_names_must_not_clash(client: TestClient) -> None:
    same_name = client.post(URL, files=[("files", ("a.txt", b"x")), ("files", ("./a.txt", b"y"))])
    assert "duplicate name" in expect_error(same_name, 422, "bad_value")
    nested = client.post(URL, files=[("files", ("a.txt", b"x")), ("files", ("a.txt/b.txt", b"y"))])
    assert "a file and a folder" in expect_error(nested, 422, "bad_value")


def test_a_request_has_at_most_1000_files(client: TestClient) -> None:
    files = [("files", (f"{i}.txt", b"x")) for i in range(1001)]
    assert "1000" in expect_error(client.post(URL, files=files), 400, "bad_request")
    assert client.post(URL, files=files[:1000]).status_code == 202


def test_indexes_that_accept_no_files(client: TestClient) -> None:
    assert "no encoder" in expect_error(
        client.post("/v1/indexes/numbers/files", files={"files": ("a.txt", b"x")}), 422, "bad_value"
    )
    expect_error(client.post("/v1/indexes/nope/files", files={"files": ("a.txt", b"x")}), 404, "unknown_index")
    expect_error(client.post(URL), 422, "bad_value")
    expect_error(client.post(URL, data={"files": "no file"}), 422, "bad_value")
    expect_error(client.get("/v1/jobs/" + "0" * 32), 404, "unknown_job")
    expect_error(client.get("/v1/jobs/..%2Fjobs"), 404, "not_found")


def test_a_job_reports_what_the_command_line_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "owls.txt": b"owls hunt mice",
        "broken.md": b"---\ntitle: [unclosed\n---\nBats eat moths.\n",
        "rows.jsonl": b'{"_id": "e1", "text": "x", "n": NaN}\n{"_id": "e2", "text": null}\n',
        "long.jsonl": b'{"_id": "long", "text": "' + b"owls hunt mice at dusk. " * 200 + b'"}\n',
        "cat.txt": "แมวนอนหลับบนเก้าอี้".encode(),
        "broken.json": b"{",
        "blob.bin": b"\x00",
        "mail.eml": b"Subject: hi\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n"
        b"Content-Type: text/plain\n\nbats\n--x\nContent-Type: image/png\nContent-Disposition: attachment; "
        b"filename=a.png\n\nx\n--x--\n",
    }
    monkeypatch.chdir(tmp_path)
    # Also what is unchanged, replaced, removed, and has other metadata.
    before = {
        "owls.txt": b"owls hunt mice",
        "rows.jsonl": b'{"_id": "e1", "text": "x", "n": 1}\n{"_id": "e0", "text": "y"}',
    }
    for name, content in (before | {"cat.txt": b"cats sleep"}).items():
        Path(name).write_bytes(content)
    assert main(["index", *before, "cat.txt", "-o", "shell.serotine", "--encoder", "serotine-mini"]) == 0
    Index.create("wiki.serotine", encoder="serotine-mini").close()
    for name, content in files.items():
        Path(name).write_bytes(content)
    capsys.readouterr()
    assert main(["index", *files, "-o", "shell.serotine", "--json", "-"]) == 0
    shell = json.loads(capsys.readouterr().out)
    with application(tmp_path / "state", Path("wiki.serotine")) as client:
        job = upload(client, *before.items(), ("cat.txt", b"cats sleep"))
        assert (job["state"], job["skipped"]) == ("done", [])
        job = upload(client, *files.items())
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
    report = set(IngestReport.total([]).to_json())
    assert report | {"id", "index", "state", "total", "done", "error", "warnings"} == set(job)
    assert set(schemas["JobResponse"]["properties"]) == set(job)
    assert set(schemas["IgnoredDetail"]["properties"]) == set(job["ignored"])
    assert report <= set(shell)
    # What to do is worded by who reads it.
    for value in (job, shell):
        value["skipped"] = [{**skipped, "reason": skipped["reason"].partition(";")[0]} for skipped in value["skipped"]]
    assert {name: job[name] for name in report} == {name: shell[name] for name in report}
    # The comparison compares something.
    expected = {
        "skipped",
        "skipped_rows",
        "problems",
        "unread",
        "changed_metadata",
        "cut_records",
        "unknown",
        "removed",
    }
    assert {name for name in expected if not shell[name]} == set()
    assert [problem["file"] for problem in job["problems"]["first"]] == ["broken.md"]
