"""Hostile clients of a server: slow ones, queries as long as a book, and a SIGTERM in the middle of an upload."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from helpers.serving_cases import Server, create_vector_index, serving, vectors

from serotine import Index
from serotine.index.store import filters
from serotine.serving.http import slow_clients
from serotine.serving.http.slow_clients import PatientProtocol
from serotine.serving.mcp.schemas import SearchArguments

FAKE = (sys.executable, str(Path(__file__).parent / "helpers" / "cli_fake.py"))
PERIOD = 0.5
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


async def slow_application(scope: Any, receive: Any, send: Any) -> None:
    """Read the body, and respond after the period in which a client must have sent it."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(1.5 * PERIOD)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


# More bytes than the buffers of sockets hold, and as many as the system's send buffer does.
LARGE, BUFFERED = 30_000_000, 1_000_000
# The lengths of the responses that have begun.
BEGUN: list[int] = []


async def large_application(scope: Any, receive: Any, send: Any) -> None:
    """Respond with as many bytes as the path says."""
    length = scope["path"][1:]
    BEGUN.append(int(length))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length.encode())]})
    await send({"type": "http.response.body", "body": bytes(int(length))})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server with little patience."""
    yield from serve_with_little_patience(slow_application, monkeypatch)


@pytest.fixture
def large_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of one whose responses are large."""
    yield from serve_with_little_patience(large_application, monkeypatch)


def serve_with_little_patience(application: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(slow_clients, "PERIOD", PERIOD)
    monkeypatch.setattr(slow_clients, "MIN_BYTES", 10)
    monkeypatch.setattr(slow_clients, "TAKING_PERIODS", 2)
    config = uvicorn.Config(application, http=PatientProtocol, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        yield bound.getsockname()[1]
        server.should_exit = True
        thread.join()


def response(connection: socket.socket) -> bytes:
    """Return everything until the server closes the connection, or has responded with "ok"."""
    data = b""
    connection.settimeout(20)
    try:
        while not data.endswith(b"ok") and (block := connection.recv(1000)):
            data += block
    except ConnectionError:
        pass
    return data


def dribble(connection: socket.socket, data: bytes, pause: float) -> None:
    """Send bytes one by one until they are sent, or the server closes the connection."""
    try:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(pause)
    except OSError:
        pass


@pytest.mark.parametrize(
    ("at_once", "dribbled", "expected"),
    [
        (b"", b"", b"408"),
        (b"", HEAD, b"408"),
        (b"POST / HTTP/1.1\r\nX: ", b"x" * 40, b"408"),
        # Without a response: the request may be with the application.
        (HEAD % 100, b"x" * 40, b""),
        (HEAD % 4 + b"body" + b"POST / HTTP/1.1\r\nX: ", b"x" * 60, b"200"),
    ],
)
def test_a_slow_client_is_closed(port: int, at_once: bytes, dribbled: bytes, expected: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(at_once)
        started = time.monotonic()
        dribble(connection, dribbled, 0.1)
        received = response(connection)
        if expected == b"200":
            received += response(connection)
            assert b"408" in received
        assert received[9:12] == expected
        assert time.monotonic() - started < 15


def test_a_client_that_is_not_slow_waits_for_its_response(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(2):
            # For three periods, at five times the bytes that must arrive.
            connection.sendall(HEAD % 150)
            for _ in range(15):
                connection.sendall(b"x" * 10)
                time.sleep(PERIOD / 5)
            assert response(connection).startswith(b"HTTP/1.1 200")


def unread_response(port: int, size: int = LARGE, receive_buffer: int = 4096) -> socket.socket:
    """Ask for a response that waits at the server until it is taken."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(("127.0.0.1", port))
    connection.sendall(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % size)
    return connection


def taken(connection: socket.socket, size: int = LARGE) -> int:
    """Return how many bytes can be read until the connection ends, or the response does."""
    received = 0
    connection.settimeout(20)
    with suppress(ConnectionError):
        while received < size and (block := connection.recv(1 << 20)):
            received += len(block)
    return received


@pytest.mark.parametrize("size", [LARGE, BUFFERED])
def test_a_client_that_does_not_take_its_response_is_closed(large_port: int, size: int) -> None:
    with unread_response(large_port, size) as connection:
        time.sleep(4 * PERIOD)
        assert taken(connection, size) < size


def test_a_client_that_stops_near_the_end_of_its_response_is_closed(large_port: int) -> None:
    with unread_response(large_port) as connection:
        received = 0
        while received < LARGE - BUFFERED:
            received += len(connection.recv(1 << 16))
        time.sleep(4 * PERIOD)
        assert received + taken(connection) < LARGE


def test_a_client_that_takes_its_response_in_parts_gets_it_whole(large_port: int) -> None:
    with unread_response(large_port) as connection:
        received = 0
        for _ in range(15):
            received += len(connection.recv(1000))
            time.sleep(PERIOD / 5)
        assert taken(connection) + received >= LARGE


def test_a_client_whose_system_reports_rarely_gets_its_response_whole(
    large_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A steady reader whose system reports only once the whole receive buffer is free looks like this: nothing for five
    # periods, then all of it.
    monkeypatch.setattr(slow_clients, "TAKING_PERIODS", 9)
    with unread_response(large_port, receive_buffer=1 << 18) as connection:
        received = 0
        for _ in range(2):
            time.sleep(5 * PERIOD)
            received += taken(connection, 1 << 20)
        assert taken(connection) + received >= LARGE


@pytest.mark.parametrize("pause", [0, PERIOD])
def test_a_client_that_takes_responses_one_after_the_other_is_not_closed(large_port: int, pause: float) -> None:
    with unread_response(large_port, 1000) as connection:
        for _ in range(8):
            received = b""
            while len(received) < 1000 or not received.endswith(bytes(1000)):
                received += connection.recv(10_000)
            time.sleep(pause)
            connection.sendall(b"GET /1000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert taken(connection, 1000) >= 1000


@pytest.mark.parametrize("pause", [0, PERIOD / 2])
def test_no_response_begins_before_the_one_before_is_taken(large_port: int, pause: float) -> None:
    # With the first request, and after it.
    BEGUN.clear()
    with unread_response(large_port) as connection:
        time.sleep(pause)
        connection.sendall(b"GET /1001 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        time.sleep(PERIOD / 2)
        assert BEGUN == [LARGE]
        assert taken(connection, LARGE + 2 * 1001) >= LARGE + 2 * 1001
    assert BEGUN == [LARGE, 1001, 1001]


def test_of_many_unsent_responses_the_slowest_is_dropped(large_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "PERIOD", 60.0)
    monkeypatch.setattr(slow_clients, "MAX_UNSENT_BYTES", LARGE * 3 // 2)
    with unread_response(large_port) as idle:
        time.sleep(1.2)
        with unread_response(large_port) as taking:
            assert taken(taking) >= LARGE
        assert taken(idle) < LARGE


def test_slow_clients_block_nobody_and_are_closed(tmp_path: Path) -> None:
    path = create_vector_index(tmp_path / "i.serotine", 50)
    with serving(path) as server, ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), slow_clients.PERIOD + 30))
            for _ in range(100)
        ]
        started = time.monotonic()
        slowest = 0.0
        with server.client("i") as client:
            for byte in b"POST /v1/indexes/i":
                for connection in slow:
                    connection.sendall(bytes([byte]))
                before = time.monotonic()
                client.search(vectors(1)[0], k=5)
                slowest = max(slowest, time.monotonic() - before)
                time.sleep(0.1)
        assert slowest < 5
        assert all(connection.recv(100).startswith(b"HTTP/1.1 408") for connection in slow)
        assert time.monotonic() - started < slow_clients.PERIOD + 20


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """An index of texts that only `FAKE` can serve."""
    file, path = tmp_path / "texts.jsonl", tmp_path / "i.serotine"
    rows = ({"_id": f"t{i}", "text": f"bat{i} eats moth{i % 97}"} for i in range(2000))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    subprocess.run([*FAKE, "index", str(file), "-o", str(path)], check=True, capture_output=True)
    return path


@pytest.mark.parametrize("mode", ["bm25", "hybrid"])
def test_a_query_as_long_as_a_book_blocks_no_other(texts: Path, mode: str) -> None:
    book = " ".join(f"bat{i}" for i in range(700_000))
    longest = book[:65_536]
    with serving(texts, program=FAKE) as server, ThreadPoolExecutor(1) as pool, server.client("i", timeout=60) as other:
        url = f"{server.url}/v1/indexes/i/search"

        def send() -> list[int]:
            return [
                httpx.post(url, json={"query": query, "mode": mode}, timeout=60).status_code
                for query in (book, longest, book, longest)
            ]

        sending = pool.submit(send)
        times = []
        while not sending.done():
            before = time.monotonic()
            assert other.search("bat7", k=3, mode="bm25")[0].id == "t7"
            times.append(time.monotonic() - before)
        statuses = sending.result()
    assert statuses[::2] == [422, 422]
    # The longest query allowed has more tokens than one may have where it is encoded.
    assert set(statuses[1::2]) <= {200, 422}
    assert max(times) < 5, "seconds; it was 18"


def upload_head(size: int) -> bytes:
    return (
        f"POST /v1/indexes/i/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="files"; filename="a.jsonl"\r\n\r\n'
    ).encode()


def stopped_within(server: Server, seconds: float) -> None:
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < seconds


def test_sigterm_while_an_upload_arrives(texts: Path) -> None:
    with serving(texts, program=FAKE) as server:
        with server.client("i") as client:
            client.add(["acknowledged"], ["an owl"])
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(upload_head(1 << 20) + b'{"_id": "never", "text": "bat"}\n' * 1000)
            time.sleep(0.5)
            # Far below the 30 seconds that a running request may take.
            stopped_within(server, 25)
    with Index.open(texts) as index:
        index.verify()
        assert "acknowledged" in index
        assert "never" not in index
        assert len(index) == 2001


def test_sigterm_while_an_upload_is_indexed(tmp_path: Path, texts: Path) -> None:
    file = tmp_path / "upload.jsonl"
    file.write_text("".join(json.dumps({"_id": f"u{i}", "text": f"owl {i}"}) + "\n" for i in range(20_000)))
    added = 0
    with serving(texts, program=FAKE, FAKE_DELAY="0.005") as server:
        client = server.client("i")
        client.add(["acknowledged"], ["an owl"])
        with file.open("rb") as data:
            sent = httpx.post(f"{server.url}/v1/indexes/i/files", files={"files": data}, timeout=60)
        assert sent.status_code == 202
        deadline = time.monotonic() + 60
        while not added:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            added = len(client) - 2001
        stopped_within(server, 25)
    with Index.open(texts) as index:
        index.verify()
        assert "acknowledged" in index
        assert 2001 + added <= len(index) < 22_001


def test_sigterm_while_a_long_text_is_cut(tmp_path: Path, texts: Path) -> None:
    file = tmp_path / "upload.jsonl"
    row = json.dumps({"text": "bat " * 1_800_000}) + "\n"
    file.write_text(row * 8)
    with serving(texts, program=FAKE) as server:
        client = server.client("i")
        client.add(["acknowledged"], ["an owl"])
        with file.open("rb") as data:
            sent = httpx.post(f"{server.url}/v1/indexes/i/files", files={"files": data}, timeout=60)
        assert sent.status_code == 202
        job = f"{server.url}/v1/jobs/{sent.json()['job']}"
        deadline = time.monotonic() + 60
        while httpx.get(job).json()["state"] == "queued":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        assert httpx.get(job).json()["state"] == "running"
        stopped_within(server, 10)
    with Index.open(texts) as index:
        index.verify()
        assert "acknowledged" in index
        assert len(index) == 2001


UPLOAD = (
    b"POST /v1/indexes/i/files HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
)
CHUNK = b"10000\r\n" + b"x" * 65_536 + b"\r\n"


@pytest.fixture(scope="module")
def vector_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(create_vector_index(tmp_path_factory.mktemp("endless") / "i.serotine", 5)) as server:
        yield server


def send_without_end(server: Server, head: bytes, repeated: bytes) -> tuple[bytes, int]:
    """Send until the server closes the connection; return its response and how many bytes it took."""
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(head)
        deadline = time.monotonic() + 10
        try:
            while time.monotonic() < deadline:
                connection.sendall(repeated)
                sent += len(repeated)
        except OSError:
            pass
        else:
            pytest.fail(f"the server took {sent:,} bytes")
        return response(connection), sent


@pytest.mark.parametrize(
    ("head", "repeated", "status"),
    [
        # The multipart parser refuses the first bytes.
        (UPLOAD, CHUNK, b"400"),
        (UPLOAD.replace(b"/i/", b"/other/"), CHUNK, b"4"),
        (UPLOAD.replace(b"/v1/indexes/i/files", b"/v1/nothing"), CHUNK, b"404"),
        (UPLOAD.replace(b"/files", b"/search").replace(b"multipart/form-data", b"application/json"), CHUNK, b"413"),
        (UPLOAD + b"5;x=", b"x" * 65_536, b"413"),
        (UPLOAD + b"5\r\nhello\r\n0\r\n", b"X: " + b"x" * 1000 + b"\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X: " + b"x" * 1000 + b"\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nX: ", b"x" * 65_536, b"413"),
        (b"GET /", b"x" * 65_536, b"413"),
    ],
)  # fmt: skip
def test_what_has_no_end_is_not_read(vector_server: Server, head: bytes, repeated: bytes, status: bytes) -> None:
    received, sent = send_without_end(vector_server, head, repeated)
    assert received[9:].startswith(status), received
    assert b"connection: close" in received.lower()
    assert received.rstrip().endswith(b"}}"), "a whole response"
    # The limit of a body is the largest, 64 MiB; the rest is in the sockets' buffers.
    assert sent < 100 << 20


def test_an_early_response_to_a_short_body_leaves_the_connection_open(vector_server: Server) -> None:
    head = b"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
    with socket.create_connection(("127.0.0.1", vector_server.port), 10) as connection:
        for _ in range(2):
            connection.sendall(head)
            time.sleep(0.1)
            connection.sendall(b"hello")
            received = b""
            while not received.endswith(b"}}"):
                block = connection.recv(10_000)
                assert block
                received += block
            assert received.startswith(b"HTTP/1.1 404")
            assert b"connection: close" not in received.lower()


def test_a_client_that_waits_for_100_is_answered_at_once(vector_server: Server) -> None:
    head = b"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with socket.create_connection(("127.0.0.1", vector_server.port), 10) as connection:
        connection.sendall(head)
        assert response(connection).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("i/search", {"query": "x", "where": {"n": {"in": list(range(500_000))}}}, "at most 10,000 values of 'in'"),
        ("i/ids", {"where": {"n": {"in": list(range(500_000))}}}, "at most 10,000 values of 'in'"),
        ("../search", {"query": "x", "indexes": [f"i{i}" for i in range(200_000)]}, "indexes: must be at most 1,000"),
        ("i/documents/fetch", {"ids": [str(i) for i in range(500_000)]}, "ids: must be at most 10,000"),
        ("i/documents/delete", {"ids": [str(i) for i in range(500_000)]}, "ids: must be at most 10,000"),
        ("i/search/batch", {"queries": ["x"] * 100_000}, "queries: must be at most 1,000"),
        ("i/tune", {"queries": ["x"] * 100_000}, "queries: must be at most 1,000"),
    ],
)
def test_long_lists_are_refused_at_once(vector_server: Server, path: str, body: dict[str, Any], message: str) -> None:
    started = time.monotonic()
    refused = httpx.post(f"{vector_server.url}/v1/indexes/{path}", json=body, timeout=30)
    assert refused.status_code == 422
    assert message in refused.json()["error"]["message"]
    assert time.monotonic() - started < 8, "seconds; names of indexes took minutes"


def test_the_schemas_say_the_limits_of_filters(vector_server: Server) -> None:
    limit = f"{filters.MAX_VALUES:,} values"
    schemas = httpx.get(f"{vector_server.url}/openapi.json").json()["components"]["schemas"]
    assert limit in schemas["SearchRequestBody"]["properties"]["where"]["description"]
    assert limit in SearchArguments.model_json_schema()["properties"]["where"]["description"]
