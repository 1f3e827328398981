"""Bodies of requests that arrive slowly, many at once, do not fill the memory of a server."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from test_serving_hostile import HEAD, response, serve_with_little_patience

from serotine.serving.http import slow_clients
from serotine.serving.http.slow_clients import PatientProtocol


async def reading_application(scope: Any, receive: Any, send: Any) -> None:
    """Read the body into memory."""
    if scope["type"] == "http":
        body = []
        while (message := await receive()).get("more_body"):
            body.append(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def reading_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server that reads large bodies."""
    monkeypatch.setattr(slow_clients, "MAX_BODY_BYTES", 60 << 20)
    for port in serve_with_little_patience(reading_application, monkeypatch):
        monkeypatch.setattr(slow_clients, "PERIOD", 60.0)
        yield port


@pytest.mark.parametrize("path", [b"/", b"/v1/indexes/i/files"])
def test_of_many_large_bodies_the_slowest_is_refused(reading_port: int, path: bytes) -> None:
    size = 24 << 20
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path, size)
    with ExitStack() as stack:
        slow, *fast = [stack.enter_context(socket.create_connection(("127.0.0.1", reading_port), 20)) for _ in range(4)]
        slow.sendall(head + bytes(size // 2))
        time.sleep(1.1)
        for connection in fast:
            connection.sendall(head + bytes(size - 1))
        if path == b"/":
            assert response(slow).startswith(
                b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\n"
            )
        else:
            # The files of an upload are stored on disk.
            slow.sendall(bytes(size - size // 2))
            assert response(slow).startswith(b"HTTP/1.1 200")
        for connection in fast:
            connection.sendall(b" ")
            assert response(connection).startswith(b"HTTP/1.1 200")


def test_bodies_that_were_answered_count_no_longer(reading_port: int) -> None:
    size = 24 << 20
    with socket.create_connection(("127.0.0.1", reading_port)) as connection:
        for _ in range(6):
            connection.sendall(HEAD % size + bytes(size // 2))
            time.sleep(1.1)
            connection.sendall(bytes(size // 2))
            assert response(connection).startswith(b"HTTP/1.1 200")
            assert not PatientProtocol._bodies
