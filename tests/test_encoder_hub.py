"""Encoders from a hub: a local server that answers the real client as the Hugging Face hub does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from serotine.encoders.location import locate

OLD, NEW = "1" * 40, "2" * 40
MODEL = "someone/bat"
SCRIPT = """
import sys
from serotine import Encoder
from serotine.errors import SerotineError
for name in sys.argv[1:]:
    try:
        encoder = Encoder(name)
        print(encoder.name, encoder.fingerprint, len(encoder.encode_queries(["a bat at night"])[0]))
    except SerotineError as error:
        print(f"{type(error).__name__}: {error}")
"""


@dataclass
class Hub:
    """A hub with one model, at an old and a new commit."""

    address: str
    home: Path
    requests: list[str] = field(default_factory=list)

    def run(self, *names: str, script: str = SCRIPT, **environment: str) -> list[str]:
        """Load each encoder in a new process and return its output lines."""
        file = self.home / "script.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(script, "utf-8")
        settings = {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            **environment,
        }
        process = subprocess.run(
            [sys.executable, "-W", "ignore", file, *names],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert process.returncode == 0, process.stderr
        return process.stdout.splitlines()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    # serotine-mini, which needs no torch, among files of every kind; the commits differ in the query length.
    pytest.importorskip("serotine_mini", reason="serotine-mini is not installed (pip install ./models/serotine-mini)")
    default = locate(None)
    folders = {}
    for commit, length in ((OLD, 3), (NEW, 5)):
        folder = folders[commit] = tmp_path / commit
        folder.mkdir()
        for name in ("serotine.json", "tokenizer.json"):
            shutil.copy(default.folder / name, folder)
        (folder / "model.safetensors").symlink_to(default.folder / "model.safetensors")
        settings = json.loads((folder / "serotine.json").read_text())
        (folder / "serotine.json").write_text(json.dumps({**settings, "query": {"length": length}}))
        for name in ("1_Dense/model.safetensors", "pytorch_model.bin", "modeling.py", "onnx/model.onnx"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(commit.encode())
    branches = {"main": NEW, OLD: OLD, NEW: NEW}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            local_hub.requests.append(path)
            parts = path.strip("/").split("/")
            if "gated" in parts:
                return self.fail(403, "GatedRepo")
            if "limited" in parts:
                return self.fail(503, "")
            if f"{MODEL}/" not in path:
                return self.fail(401 if "secret" in parts else 404, "RepoNotFound")
            if parts[:2] == ["api", "models"]:
                commit = branches.get(parts[5] if len(parts) > 5 else "main")
                if commit is None:
                    return self.fail(404, "RevisionNotFound")
                files = [file for file in folders[commit].rglob("*") if file.is_file()]
                names = [str(file.relative_to(folders[commit])) for file in files]
                if parts[4] == "tree":
                    entries = [
                        {"type": "file", "oid": "0" * 40, "size": file.stat().st_size, "path": name}
                        for file, name in zip(files, names, strict=True)
                    ]
                    return self.respond(json.dumps(entries).encode(), {"Content-Type": "application/json"})
                info = {"id": MODEL, "modelId": MODEL, "sha": commit, "siblings": [{"rfilename": n} for n in names]}
                return self.respond(json.dumps(info).encode(), {"Content-Type": "application/json"})
            commit = branches[parts[3]]
            file = folders[commit].joinpath(*parts[4:])
            if not file.is_file():
                return self.fail(404, "EntryNotFound")
            content = file.read_bytes()
            return self.respond(content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit})

        def respond(self, content: bytes, headers: dict[str, str], status: int = 200) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def fail(self, status: int, code: str) -> None:
            self.respond(b"{}", {"X-Error-Code": code, "X-Error-Message": code} if code else {}, status)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    local_hub = Hub(f"http://127.0.0.1:{server.server_port}", tmp_path / "home")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield local_hub
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_model_is_downloaded_pinned_and_cached(hub: Hub) -> None:
    newest, oldest = hub.run(MODEL, f"{MODEL}@{OLD}")
    # The name includes the commit, whatever branch was requested.
    assert newest.split()[0] == f"{MODEL}@{NEW}"
    assert oldest.split()[0] == f"{MODEL}@{OLD}"
    assert (newest.split()[2], oldest.split()[2]) == ("5", "3")
    assert newest.split()[1] != oldest.split()[1]
    # Code, pickles and models of other formats are never requested.
    files = {path.partition("/resolve/")[2].partition("/")[2] for path in hub.requests if "/resolve/" in path}
    assert files == {"serotine.json", "tokenizer.json", "model.safetensors", "1_Dense/model.safetensors"}
    pooled = f"""
from serotine.encoders import EncoderPool
if __name__ == "__main__":
    with EncoderPool({MODEL!r}, processes=1, revision="main") as pool:
        print(pool.name, len(pool.encode_documents(["a bat at night"])[0]))
"""
    requests = len(hub.requests)
    assert hub.run(script=pooled) == [f"{MODEL}@{NEW} 6"]
    # Workers load the resolved commit, not the branch, which may have moved.
    assert sum(path.endswith("/revision/main") for path in hub.requests[requests:]) == 1
    requests = len(hub.requests)
    assert hub.run(MODEL, f"{MODEL}@{OLD}", HF_HUB_OFFLINE="1") == [newest, oldest]
    assert len(hub.requests) == requests


def test_hub_errors_are_one_line(hub: Hub) -> None:
    lines = hub.run(f"{MODEL}@nonesuch", "someone/gated", "someone/missing", "someone/secret", "someone/limited")
    for line, words in zip(
        lines,
        (
            "the hub has no such revision",
            "access is restricted; request it at",
            "the hub has no such model, or it is private",
            "the hub has no such model, or it is private",
            "cannot be",
        ),
        strict=True,
    ):
        assert line.startswith("EncoderError: encoder 'someone/"), line
        assert words in line, line


def test_two_different_revisions_raise() -> None:
    with pytest.raises(ValueError, match=r"revision: 'main' contradicts '1{40}' in the name"):
        locate(f"{MODEL}@{OLD}", revision="main")


def test_the_cache_is_used_when_the_hub_is_unreachable(hub: Hub) -> None:
    (line,) = hub.run(MODEL, HF_ENDPOINT="http://127.0.0.1:9")
    assert "not on this machine, and the hub cannot be reached" in line
    (first,) = hub.run(MODEL)
    # A cached model loads without the hub.
    assert hub.run(MODEL, HF_ENDPOINT="http://127.0.0.1:9") == [first]
