"""Small indexes, an application in this process and a server as a separate process, for the server's tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install 'serotine[serve]'")
pytest.importorskip("fastapi_offline", reason="needs the extra: pip install 'serotine[serve]'")
pytest.importorskip("prometheus_client", reason="needs the extra: pip install 'serotine[serve]'")
pytest.importorskip("httpx", reason="Starlette's test client needs httpx")

from starlette.testclient import TestClient

from helpers.fakes import WordEncoder
from serotine import Client, Index
from serotine.errors import ServerError
from serotine.serving import Limits, ServerSettings
from serotine.serving.http.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DIM = 16
TEXTS = {
    "d1": "bats eat moths at night",
    "d2": "cats sleep all day",
    "d/3": "how bats find their way: echolocation",
    "d4": "dogs chase cats",
}


def create_index(path: Path, texts: Mapping[str, str] = TEXTS, encoder: Any = None) -> Path:
    with Index.create(path, encoder=encoder or WordEncoder(DIM), filterable={"lang": str}) as index:
        index.add(list(texts), list(texts.values()), metadata=[{"lang": "en", "n": i} for i in range(len(texts))])
    return path


def create_vector_index(path: Path, documents: int = 50, seed: int = 0) -> Path:
    with Index.create(path, dim=DIM) as index:
        index.add([f"v{i}" for i in range(documents)], vectors=vectors(documents, seed))
    return path


def vectors(count: int, seed: int = 0, tokens: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, tokens, DIM)).astype(np.float32)
    return list(rows / np.linalg.norm(rows, axis=2, keepdims=True))


@contextmanager
def application(
    state: Path, *indexes: Path, limits: dict[str, Any] | None = None, **options: Any
) -> Iterator[TestClient]:
    """Yield a client of an application in this process, called as a browser on this machine would."""
    state.mkdir(exist_ok=True)
    settings = ServerSettings(
        indexes={path.name.removesuffix(".serotine"): path for path in indexes},
        state=state,
        limits=replace(Limits(), **(limits or {})),
        **options,
    )
    with TestClient(create_app(settings), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def expect_error(response: Any, status: int, code: str) -> str:
    """Check the status, code and shape of an error response; return its message."""
    assert response.status_code == status, response.text
    (key,) = response.json()
    error = response.json()["error"]
    assert (key, sorted(error), error["code"]) == ("error", ["code", "message"], code)
    message: str = error["message"]
    assert message
    assert "\n" not in message
    return message


class Server:
    """`serotine serve` as a separate process."""

    def __init__(
        self,
        *arguments: object,
        program: Sequence[str] = (sys.executable, "-m", "serotine"),
        ready_token: str | None = None,
        **environment: str,
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.root = Path()
        # A file, not a pipe: nothing reads while the server runs, and a full pipe would block it.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process ends
        # What a server that is killed leaves there goes with it.
        self._temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # its workers may still write
        self._text: str | None = None
        self._clients: list[Client] = []
        self.process = subprocess.Popen(
            [*program, "serve", "--port", str(self.port), *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            env={**os.environ, "TMPDIR": self._temporary.name, **environment},
        )
        try:
            self._wait(ready_token)
        except BaseException:
            self.kill()
            raise

    def _wait(self, token: str | None) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(self.log())
            with suppress(ServerError):
                with Client(self.url, "", token=token) as client:
                    client.indexes()
                return
            time.sleep(0.05)
        raise TimeoutError("the server did not become ready")

    def client(self, index: str, **options: Any) -> Client:
        client = Client(self.url, index, **options)
        self._clients.append(client)
        return client

    def stop(self) -> int:
        """Stop the server with SIGTERM, and check that it leaves nothing behind; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self._end(leaves_nothing=True)

    def kill(self) -> int:
        self.process.kill()
        return self._end()

    def close(self) -> None:
        """Stop the server, unless it has ended."""
        if self.process.poll() is None:
            self.stop()
        elif self._text is None:
            self._end()

    def _end(self, *, leaves_nothing: bool = False) -> int:
        status = self.process.wait(timeout=60)
        left = list(Path(self._temporary.name).iterdir())
        self._temporary.cleanup()
        assert not (leaves_nothing and left), left
        for client in self._clients:
            client.close()
        self._text = self.log()
        self._log.close()
        return status

    def log(self) -> str:
        """Return the log so far."""
        if self._text is not None:
            return self._text
        self._log.seek(0)
        return self._log.read().decode()

    def lines(self) -> list[dict[str, Any]]:
        """Return the log, one object per line."""
        return [json.loads(line) for line in self.log().splitlines()]


@contextmanager
def serving(*arguments: object, **options: Any) -> Iterator[Server]:
    server = Server(*arguments, **options)
    try:
        yield server
    finally:
        server.close()
