"""No answer over HTTP names a folder of the server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers.fakes import WordEncoder
from helpers.serving_cases import DIM, application, create_index, create_vector_index, expect_error

from serotine import Index
from serotine.errors import InputFileError, MaintenanceWarning
from serotine.issued_warnings import issue_warning
from serotine.serving import ServerSettings
from serotine.serving.server_paths import ServerPaths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

_WIKI = "/v1/indexes/wiki"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    # The name of an encoder in a folder is the folder.
    encoder = WordEncoder(DIM, name=str(tmp_path / "encoders" / "words"))
    monkeypatch.setattr("serotine.encoders.load_recorded", lambda _name, *_: encoder)
    root = tmp_path / "root"
    root.mkdir()
    create_index(root / "below.serotine", encoder=encoder)
    indexes = (
        create_index(tmp_path / "wiki.serotine", encoder=encoder),
        create_vector_index(tmp_path / "numbers.serotine"),
    )
    with application(tmp_path / "state", *indexes, root=root) as client:
        yield client


def job_of(client: TestClient, name: str, content: bytes) -> dict[str, Any]:
    id_ = client.post(f"{_WIKI}/files", files=[("files", (name, content))]).json()["job"]
    deadline = time.monotonic() + 20
    while (job := client.get(f"/v1/jobs/{id_}").json())["state"] not in ("done", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    record: dict[str, Any] = job
    return record


def test_an_index_without_an_encoder(client: TestClient) -> None:
    message = expect_error(client.post("/v1/indexes/numbers/search", json={"query": "bats"}), 422, "encoder_error")
    assert message.startswith("numbers: this index has no encoder")


def test_damaged_indexes(client: TestClient, tmp_path: Path) -> None:
    for name, folder in (("wiki", tmp_path), ("below", tmp_path / "root")):
        segment = next((folder / f"{name}.serotine" / "segments").iterdir())
        segment.write_bytes(segment.read_bytes()[:-1] + b"!")
        message = expect_error(client.post(f"/v1/indexes/{name}/verify"), 500, "index_damaged")
        assert message.startswith(f"{name}: the checksum of {segment.name} does not match")


def test_encoders_in_folders(client: TestClient, tmp_path: Path) -> None:
    answers = [
        client.get("/v1/indexes"),
        client.get(_WIKI),
        client.post("/v1/rerank", json={"query": "bats", "documents": ["bats eat moths"], "model": "words"}),
        client.post("/v1/rerank", json={"query": "bats", "documents": ["bats"], "model": "none"}),
        client.post("/pooling", json={"input": "bats", "model": "wiki"}),
        client.post("/v1/multi-vector", json={"input": ["bats"], "model": "wiki"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 200, 200]
    assert [str(tmp_path) in answer.text for answer in answers] == [False] * len(answers)
    assert ["words" in answer.text for answer in answers] == [True] * len(answers)


def test_uploads_that_cannot_be_read(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(_index: Index, sources: Any, **_: Any) -> Any:
        raise InputFileError(f"{sources[0].path}: cannot be read (gone); check it")

    def full_disk(_index: Index, sources: Any, **_: Any) -> Any:
        raise OSError(28, "No space left on device", str(sources[0].path))

    for update, message in ((unreadable, "cannot be read (gone); check it"), (full_disk, "No space left on device")):
        monkeypatch.setattr("serotine.serving.jobs.update", update)
        job = job_of(client, "my notes/a b.txt", b"bats")
        assert message in job["error"]
        assert "my notes/a b.txt" in job["error"]
        assert str(tmp_path) not in str(job)
        assert "uploads" not in job["error"]


def test_warnings(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add = Index.add

    def with_warning(self: Index, *arguments: Any, **options: Any) -> None:
        add(self, *arguments, **options)
        issue_warning(MaintenanceWarning(f"{self.path}/7.codes: damaged; {tmp_path}/encoders/words: gone"))

    monkeypatch.setattr(Index, "add", with_warning)
    with pytest.warns(MaintenanceWarning):
        answer = client.post(f"{_WIKI}/documents", json={"documents": [{"id": "new", "text": "bats"}]}).json()
    assert [warning["message"] for warning in answer["warnings"]] == ["wiki/7.codes: damaged; words: gone"]


def test_ids_are_shown_as_they_are_sent(client: TestClient, tmp_path: Path) -> None:
    for id_ in ("/notes/a.md", str(tmp_path / "notes" / "a.md"), "/wiki.serotine"):
        message = expect_error(client.post(f"{_WIKI}/documents/fetch", json={"ids": [id_]}), 404, "unknown_id")
        assert message == f"ids: {id_!r} is not in the index"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("/srv/wiki.serotine: gone", "wiki: gone"),
        ("'/srv/wiki.serotine/1.codes': damaged", "'wiki/1.codes': damaged"),
        # Of another folder nothing is known.
        ("/srv/wiki.serotine2: gone", "/srv/wiki.serotine2: gone"),
        ("/srv/all/new.serotine: exists", "new: exists"),
        ("/srv/all: full", "the folder of the indexes: full"),
        ("/run/s/uploads/0af3/notes/a b.txt: gone", "notes/a b.txt: gone"),
        ("/run/s/jobs/1.json: full", "1.json: full"),
        ("/srv/models/mine/config.json, /srv/models/mine: gone", "config.json, mine: gone"),
        ("see https://example.org/srv/wiki.serotine", "see https://example.org/srv/wiki.serotine"),
    ],
)
def test_folders_in_messages(message: str, shown: str) -> None:
    paths = ServerPaths(ServerSettings({"wiki": Path("/srv/wiki.serotine")}, Path("/run/s"), root=Path("/srv/all")))
    paths.add_folder(Path("/srv/models/mine"))
    assert paths.hidden(message) == shown
