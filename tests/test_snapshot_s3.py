"""Snapshots on a server of S3's API: sent once, whole or absent when requests fail, are cut, or the process dies."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.s3_server import BUCKET, Faults, s3_server
from helpers.snapshot_cases import answers, grow, index, restored, small

from serotine import Index
from serotine.errors import RepositoryError
from serotine.index.repository import filesystem

__all__ = ["index", "small"]  # fixtures, used by their names

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("flask_cors", "moto", "s3fs")),
    reason="moto, flask-cors or s3fs is not installed",
)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """A server with an empty bucket, which s3fs and programs started from here use."""
    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "public-name")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame-open")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with s3_server() as (faults, address):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir(BUCKET)
        yield faults
        s3fs.S3FileSystem.clear_instance_cache()


URL = f"s3://{BUCKET}/wiki"


def test_s3_is_sent_each_part_once(index: Index, tmp_path: Path, s3: Faults) -> None:
    first = index.snapshot(URL)
    s3.sent()
    assert index.snapshot(URL).transferred == 0
    assert {path.split("/")[3] for path in s3.sent()} == {"operations", "snapshots"}
    grow(index, 20, 2)
    assert 0 < index.snapshot(URL).transferred < first.transferred
    assert restored(URL, tmp_path / "r") == (list(index.ids()), answers(index))
    assert Index.prune_snapshots(URL, keep=1).objects > 0
    assert restored(URL, tmp_path / "s", storage_options={}) == (list(index.ids()), answers(index))


def test_requests_that_fail_or_are_cut_are_repeated(index: Index, tmp_path: Path, s3: Faults) -> None:
    s3.share = 0.2
    index.snapshot(URL)
    grow(index, 20, 2)
    index.snapshot(URL)
    expected = list(index.ids()), answers(index)
    assert restored(URL, tmp_path / "r") == expected
    assert s3.failed > 10
    s3.share = 0.0
    assert restored(URL, tmp_path / "s") == expected


@pytest.mark.parametrize("folder", ["parts", "snapshots"])
def test_a_snapshot_that_fails_is_absent(
    index: Index, tmp_path: Path, s3: Faults, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write below a folder fails for good: no attempt helps."""
    monkeypatch.setattr(filesystem, "_ATTEMPTS", 1)
    index.snapshot(URL)
    before = list(index.ids()), answers(index)
    grow(index, 20, 2)

    application = s3._application

    def refusing(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] == "PUT" and f"/{folder}/" in environ["PATH_INFO"]:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        return application(environ, start_response)

    s3._application = refusing
    with pytest.raises(RepositoryError, match=rf"{URL}: access denied \(.*\); check the credentials") as raised:
        index.snapshot(URL)
    assert "sesame-open" not in str(raised.value)
    assert len(Index.snapshots(URL)) == 1
    assert restored(URL, tmp_path / "r") == before
    s3._application = application
    index.snapshot(URL)
    assert restored(URL, tmp_path / "s") == (list(index.ids()), answers(index))


def test_a_bucket_that_is_missing(index: Index, tmp_path: Path, s3: Faults) -> None:
    pattern = r"s3://nowhere/wiki: does not exist \(.*bucket does not exist\); create the bucket first"
    for call in (
        lambda: index.snapshot("s3://nowhere/wiki"),
        lambda: Index.restore("s3://nowhere/wiki", tmp_path / "r"),
        lambda: Index.snapshots("s3://nowhere/wiki"),
    ):
        with pytest.raises(RepositoryError, match=pattern):
            call()
    with pytest.raises(RepositoryError, match="no snapshots"):
        Index.restore(f"s3://{BUCKET}/empty", tmp_path / "r")


KILLED = """
import sys
from serotine import Index
from serotine.index.repository import manifest, transfer
manifest.PART_BYTES = transfer.PART_BYTES = 2048
with Index.open(sys.argv[1], read_only=True) as index:
    index.snapshot(sys.argv[2])
"""


@pytest.mark.parametrize("puts", [1, 4, 9])
def test_killed_in_the_middle_of_a_transfer(index: Index, tmp_path: Path, s3: Faults, puts: int) -> None:
    reached, count = threading.Event(), 0

    def before(method: str, path: str) -> None:
        nonlocal count
        count += method == "PUT"
        if method == "PUT" and count > puts:
            reached.set()
            time.sleep(0.5)

    s3.before = before
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "x", URL], stderr=subprocess.DEVNULL)
    assert reached.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    s3.before = lambda method, path: None
    time.sleep(0.6)
    assert Index.snapshots(URL) == []
    s3.sent()
    with pytest.raises(RepositoryError, match="a snapshot is being written; try again when that has ended, or at"):
        Index.prune_snapshots(URL, keep=1)
    index.snapshot(URL)
    assert restored(URL, tmp_path / "r") == (list(index.ids()), answers(index))
