"""Bodies of requests that arrive slowly, many at once, do not fill the memory of a server."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from helpers.serving_cases import application, create_vector_index
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


@pytest.mark.parametrize(
    ("path", "start", "item", "end", "message"),
    [
        ("documents", '{"documents":[', "{},", "{}]}", "documents.0.id: is required"),
        ("documents", '{"documents":[', '{"x":1},', "{}]}", "documents.0: unknown key 'x'; valid"),
        ("documents/fetch", '{"ids":[', "1,", "1]}", "ids.0: must be a valid string, got 1"),
        ("search/batch", '{"queries":[', "{},", "{}]}", "queries.0: must be a valid string, got {}"),
        ("search", '{"vectors":[', '["x"],', '["x"]]}', "vectors.0.0: must be a valid number"),
        ("search", '{"query":', "[", "", "body: not valid JSON (nested too deeply)"),
        ("search", '{"query":"a","k":', "9", "}", "body: not valid JSON (a number has over 4,300 digits)"),
    ],
)
def test_a_body_of_many_mistakes_is_refused_at_the_first(
    tmp_path: Path, path: str, start: str, item: str, end: str, message: str
) -> None:
    # Minutes and gigabytes, while no other request was answered.
    assert message in refusal(tmp_path, path, start + item * 500_000 + end)


def test_a_body_of_many_fields_or_not_in_utf_8_is_refused(tmp_path: Path) -> None:
    fields = ",".join(f'"{i:x}":1' for i in range(100_000))
    message = refusal(tmp_path, "search", f"{{{fields}}}")
    assert message == "fields: must be at most 256, got 100,000; drop the unknown ones"
    assert refusal(tmp_path, "search", b'{"query":"\xff"}') == "body: not valid JSON (not UTF-8)"


def refusal(tmp_path: Path, path: str, body: str | bytes) -> str:
    """Return the message of the response to a request for an index."""
    index = tmp_path / "i.serotine"
    with application(tmp_path / "state", index if index.exists() else create_vector_index(index, 3)) as client:
        started = time.monotonic()
        headers = {"content-type": "application/json"}
        response = client.post(f"/v1/indexes/i/{path}", content=body, headers=headers)
    assert time.monotonic() - started < 10
    assert response.status_code in (400, 422)
    return str(response.json()["error"]["message"])


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("search", "[1]", "body: must be an object, got [1]"),
        ("search", '{"query":"a","where":3}', "where: must be an object, got 3"),
        ("documents", '{"documents":[{"id":"a"},1]}', "documents.1: must be an object, got 1"),
        ("documents", '{"documents":[{"id":"a","metadata":[]}]}', "documents.0.metadata: must be an object, got []"),
    ],
)
def test_what_is_no_object_is_named_in_the_words_of_json(tmp_path: Path, path: str, body: str, message: str) -> None:
    assert refusal(tmp_path, path, body) == message
