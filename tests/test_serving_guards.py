"""What guards the routes: rights, host names, limits of size, load and time; logs and metrics."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.serving_cases import DIM, application, create_index, create_vector_index, expect_error

from serotine import Index
from serotine.cli import main
from serotine.errors import InputFileError
from serotine.serving.batching import BatchingEncoder
from serotine.serving.bearer_tokens import Token, read_tokens, scope_of
from serotine.serving.http.logs import JsonLines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.testclient import TestClient

SERVING_PAGE = Path(__file__).parents[1] / "docs" / "serving.md"
READER, WRITER = "r" * 32, "w" * 32
ROWS = [[1.0] * DIM]


class GatedEncoder(WordEncoder):
    """Encodes queries while `gate` is open, and records the batches."""

    def __init__(self) -> None:
        super().__init__(DIM)
        self.gate, self.started = threading.Event(), threading.Event()
        self.gate.set()
        self.batches: list[list[str]] = []

    def encode_queries(self, texts: Sequence[str]) -> list[np.ndarray]:
        self.batches.append(list(texts))
        self.started.set()
        assert self.gate.wait(30)
        if "poison" in texts:
            raise ValueError("poison: cannot be encoded")
        return super().encode_queries(texts)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> GatedEncoder:
    gated = GatedEncoder()
    monkeypatch.setattr("serotine.encoders.load_recorded", lambda _name, *_: gated)
    return gated


@pytest.fixture
def wiki(tmp_path: Path, encoder: GatedEncoder) -> Path:
    return create_index(tmp_path / "wiki.serotine")


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    return create_vector_index(tmp_path / "numbers.serotine")


def post_search(client: TestClient, name: str = "wiki", **body: Any) -> Any:
    return client.post(f"/v1/indexes/{name}/search", json=body or {"query": "bats"})


# Rights


def test_tokens_and_their_scopes(tmp_path: Path, wiki: Path) -> None:
    tokens = (Token.of(READER, "read"), Token.of(WRITER, "write"))
    documents = {"documents": [{"id": "new", "text": "owls"}]}
    with application(tmp_path / "state", wiki, tokens=tokens) as client:

        def authorization(token: str) -> dict[str, str]:
            return {"Authorization": f"Bearer {token}"}

        for path in ("/v1/indexes", "/v1/indexes/wiki", "/metrics", "/v1/jobs/x", "/v1/indexes/wiki/documents/d1"):
            refused = client.get(path)
            expect_error(refused, 401, "unauthorized")
            assert refused.headers["WWW-Authenticate"] == "Bearer"
            expect_error(client.get(path, headers=authorization("x" * 32)), 401, "unauthorized")
            assert client.get(path, headers=authorization(READER)).status_code in (200, 404)
        (listed,) = re.findall(r"No token is needed for (.*?), which say", SERVING_PAGE.read_text("utf-8"), re.DOTALL)
        documented = set(re.findall(r"`(/[\w./]*)`", listed))
        operations: dict[str, Any] = client.get("/openapi.json").json()["paths"]
        paths = {path for path, methods in operations.items() if "get" in methods and "{" not in path}
        paths |= {"/", "/docs", "/openapi.json", "/static/"}
        assert {path for path in paths if client.get(path).status_code != 401} == documented
        url = "/v1/indexes/wiki/documents"
        expect_error(client.post(url, json=documents), 401, "unauthorized")
        expect_error(client.post(url, json=documents, headers=authorization(READER)), 403, "forbidden")
        expect_error(client.post("/v1/indexes", json={"name": "x"}, headers=authorization(READER)), 403, "forbidden")
        expect_error(client.delete(f"{url}/d1", headers=authorization(READER)), 403, "forbidden")
        expect_error(
            client.post("/v1/indexes/wiki/files", files={"files": ("a.txt", b"x")}, headers=authorization(READER)),
            403,
            "forbidden",
        )
        for token, writable in ((READER, False), (WRITER, True)):
            (summary,) = client.get("/v1/indexes", headers=authorization(token)).json()["indexes"]
            assert summary["writable"] is writable
        assert client.post(url, json=documents, headers=authorization(WRITER)).status_code == 201
        assert client.get(f"{url}/new", headers=authorization(WRITER)).status_code == 200


def test_rights_are_checked_before_a_body_is_read(tmp_path: Path, wiki: Path) -> None:
    tokens = (Token.of(READER, "read"), Token.of(WRITER, "write"))

    def send(client: TestClient, path: str, content_type: str, token: str | None) -> Any:
        # An invalid body is refused with 400 as soon as it is read.
        rights = {"Authorization": f"Bearer {token}"} if token else {}
        return client.post(path, content=b"{", headers={"Content-Type": content_type, **rights})

    upload = ("/v1/indexes/wiki/files", "multipart/form-data")
    with application(tmp_path / "state", wiki, tokens=tokens) as client:
        for path in ("/v1/indexes/wiki/search", "/v1/rerank", "/pooling"):
            for wrong in (None, "x" * 32):
                expect_error(send(client, path, "application/json", wrong), 401, "unauthorized")
            expect_error(send(client, path, "application/json", READER), 400, "bad_json")
        expect_error(send(client, *upload, None), 401, "unauthorized")
        expect_error(send(client, *upload, READER), 403, "forbidden")
        expect_error(send(client, *upload, WRITER), 400, "bad_request")
    with application(tmp_path / "other", wiki, read_only=True) as client:
        expect_error(send(client, *upload, None), 403, "read_only")


def test_tokens_are_read_from_a_file_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# tokens of the team\n\nread {READER}\nwrite {WRITER}\n")
    from_environment = "e" * 20
    tokens = read_tokens(file, {"SEROTINE_WRITE_TOKENS": f"{from_environment}, {'f' * 20}"})
    assert [
        scope_of(tokens, secret) for secret in (READER, WRITER, from_environment, "f" * 20, "g" * 20, "", "\ud800")
    ] == [
        "read",
        "write",
        "write",
        "write",
        None,
        None,
        None,
    ]
    assert READER not in repr(tokens)
    assert read_tokens(None, {}) == ()


@pytest.mark.parametrize("line", ["read short", "admin " + "x" * 32, "x" * 32, "read " + "é" * 32, ""])
def test_a_wrong_token_file_is_refused_without_showing_it(tmp_path: Path, line: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(line)
    with pytest.raises(InputFileError) as raised:
        read_tokens(file, {})
    assert "tokens" in str(raised.value)
    assert not line or line.split()[-1] not in str(raised.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])  # noqa: S104 - refused
def test_serving_other_machines_requires_tokens(numbers: Path, capsys: pytest.CaptureFixture[str], host: str) -> None:
    assert main(["serve", str(numbers), "--host", host]) == 2
    assert "--allow-anyone" in capsys.readouterr().err


def test_serving_requires_indexes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve"]) == 2
    assert main(["serve", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("error: ") == 2
    for folder in ("a", "b"):
        create_vector_index(tmp_path / folder / "same.serotine", 1)
    assert main(["serve", str(tmp_path / "a" / "same.serotine"), str(tmp_path / "b" / "same.serotine")]) == 1
    assert "duplicate index name 'same'" in capsys.readouterr().err


def test_a_read_only_server_changes_nothing(tmp_path: Path, wiki: Path) -> None:
    with application(tmp_path / "state", wiki, read_only=True, root=tmp_path) as client:
        documents = {"documents": [{"id": "new", "text": "owls"}]}
        expect_error(client.post("/v1/indexes/wiki/documents", json=documents), 403, "read_only")
        expect_error(client.delete("/v1/indexes/wiki/documents/d1"), 403, "read_only")
        where = {"where": {"lang": "en"}}
        expect_error(client.post("/v1/indexes/wiki/documents/delete", json=where), 403, "read_only")
        change = {"documents": [{"id": "d1", "metadata": {"lang": "de"}}]}
        expect_error(client.post("/v1/indexes/wiki/documents/metadata", json=change), 403, "read_only")
        expect_error(client.post("/v1/indexes/wiki/compact"), 403, "read_only")
        expect_error(client.post("/v1/indexes/wiki/files", files={"files": ("a.txt", b"x")}), 403, "read_only")
        expect_error(client.post("/v1/indexes", json={"name": "x"}), 403, "read_only")
        assert client.get("/v1/indexes").json()["indexes"][0]["writable"] is False


# Names


def test_other_host_names_and_other_sites_are_refused(tmp_path: Path, numbers: Path) -> None:
    with application(tmp_path / "state", numbers, hosts=("search.example.org",)) as client:
        for host in ("localhost", "localhost:8000", "127.0.0.1:80", "[::1]:8000", "10.1.2.3", "Search.Example.org:443"):
            assert client.get("/healthz", headers={"Host": host}).status_code == 200, host
        for host in ("evil.example.org", "localhost.evil.org", "127.0.0.1.evil.org", "", "[::1", "a b"):
            expect_error(client.get("/healthz", headers={"Host": host}), 421, "wrong_host")
        same = {"Host": "localhost:8000", "Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}
        assert post_search(client, "numbers", vectors=ROWS).status_code == 200
        assert client.get("/v1/indexes", headers=same).status_code == 200
        for other in (
            {"Origin": "http://evil.example.org"},
            {"Origin": "null"},
            {"Origin": "http://localhost:9999"},
            {"Origin": "http://[::1"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            expect_error(client.get("/v1/indexes", headers={**same, **other}), 403, "wrong_origin")
            expect_error(
                client.delete("/v1/indexes/numbers/documents/v1", headers={**same, **other}), 403, "wrong_origin"
            )
        assert "access-control-allow-origin" not in client.get("/v1/indexes", headers=same).headers


def test_links_from_other_sites_reach_only_pages(tmp_path: Path, numbers: Path) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    with application(tmp_path / "state", numbers) as client:
        for path in ("/", "/?q=bats", "/docs"):
            assert client.get(path, headers=link).status_code == 200
        for other in (
            {"Sec-Fetch-Dest": "iframe"},
            {"Sec-Fetch-Mode": "no-cors"},
            {"Origin": "http://evil.example.org"},
        ):
            expect_error(client.get("/", headers={**link, **other}), 403, "wrong_origin")
        expect_error(client.get("/v1/indexes", headers=link), 403, "wrong_origin")
        expect_error(client.post("/", headers=link), 403, "wrong_origin")


def test_any_host_name_is_accepted_with_tokens(tmp_path: Path, numbers: Path) -> None:
    with application(tmp_path / "state", numbers, hosts=None) as client:
        assert client.get("/healthz", headers={"Host": "anything.example.org"}).status_code == 200


def test_every_response_has_the_security_headers(tmp_path: Path, numbers: Path) -> None:
    with application(tmp_path / "state", numbers) as client:
        for path in ("/healthz", "/nowhere", "/v1/indexes"):
            headers = client.get(path).headers
            assert headers["content-security-policy"].startswith("default-src 'self'; ")
            assert headers["x-content-type-options"] == "nosniff"
            assert "unsafe" not in headers["content-security-policy"]


def test_the_api_reference_works_without_a_network(tmp_path: Path, numbers: Path) -> None:
    with application(tmp_path / "state", numbers) as client:
        page = client.get("/docs")
        assert not re.search(r"https?://", page.text)
        assert page.headers["content-security-policy"].startswith(
            "default-src 'self'; style-src 'self' 'unsafe-inline'"
        )
        assets = re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.text)
        assert len(assets) == 3
        for asset in assets:
            assert len(client.get(asset).content) > 50
        paths = client.get("/openapi.json").json()["paths"]
        assert {"/v1/indexes/{name}/search", "/v1/indexes/{name}/explain", "/pooling", "/healthz"} <= paths.keys()
        for path, methods in paths.items():
            for method, operation in methods.items():
                assert operation["summary"], (path, method)
                assert operation["responses"][
                    "200" if "200" in operation["responses"] else next(iter(operation["responses"]))
                ]


# Sizes, load and time


def test_a_body_beyond_the_limit_is_refused(tmp_path: Path, numbers: Path) -> None:
    with application(tmp_path / "state", numbers, limits={"body": 2000, "upload": 4000}) as client:
        body = json.dumps({"vectors": ROWS, "where": {"x": "y" * 2000}}).encode()
        headers = {"Content-Type": "application/json"}
        url = "/v1/indexes/numbers/search"
        assert "2,000 bytes" in expect_error(client.post(url, content=body, headers=headers), 413, "too_large")
        chunks = [body[start : start + 100] for start in range(0, len(body), 100)]
        expect_error(client.post(url, content=iter(chunks), headers=headers), 413, "too_large")
        assert post_search(client, "numbers", vectors=ROWS).status_code == 200
        upload = client.post("/v1/indexes/numbers/files", files={"files": ("a.txt", b"x" * 5000)})
        expect_error(upload, 413, "too_large")


def test_requests_beyond_the_queue_are_refused(tmp_path: Path, wiki: Path, encoder: GatedEncoder) -> None:
    limits = {"threads": 2, "queue": 3}
    with application(tmp_path / "state", wiki, limits=limits) as client, ThreadPoolExecutor(8) as pool:
        encoder.gate.clear()
        waiting = [pool.submit(post_search, client, query=f"bats {i}") for i in range(5)]
        assert encoder.started.wait(10)
        wait_until(lambda: client.app.state.services.searches.pending == 5)  # type: ignore[attr-defined]
        refused = post_search(client)
        expect_error(refused, 429, "overloaded")
        assert int(refused.headers["Retry-After"]) >= 1
        expect_error(client.get("/readyz"), 429, "overloaded")
        assert client.get("/healthz").status_code == 200
        encoder.gate.set()
        assert [future.result().status_code for future in waiting] == [200] * 5
        assert post_search(client).status_code == 200
        assert "serotine_refused_total 2.0" in client.get("/metrics").text


def test_timeouts_are_504(tmp_path: Path, wiki: Path, encoder: GatedEncoder) -> None:
    with application(tmp_path / "state", wiki, limits={"seconds": 0.2, "threads": 1}) as client:
        encoder.gate.clear()
        assert "0.2 seconds" in expect_error(post_search(client), 504, "timeout")
        # A request that timed out in the queue never runs.
        expect_error(post_search(client, query="given up"), 504, "timeout")
        encoder.gate.set()
        wait_until(lambda: client.app.state.services.searches.pending == 0)  # type: ignore[attr-defined]
        assert post_search(client).status_code == 200
        assert ["given up"] not in encoder.batches


def test_a_timed_out_change_may_still_be_committed(tmp_path: Path, wiki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = WordEncoder.encode_documents

    def slow(self: WordEncoder, texts: Sequence[str]) -> list[np.ndarray]:
        time.sleep(0.5)
        return encode(self, texts)

    monkeypatch.setattr(WordEncoder, "encode_documents", slow)
    with application(tmp_path / "state", wiki, limits={"write_seconds": 0.1}) as client:
        body = {"documents": [{"id": "new", "text": "owls"}]}
        assert "may be committed" in expect_error(client.post("/v1/indexes/wiki/documents", json=body), 504, "timeout")
        wait_until(lambda: client.get("/v1/indexes/wiki/documents/new").status_code == 200)


def test_a_change_waits_for_the_writer_lock(tmp_path: Path, numbers: Path) -> None:
    body = {"documents": [{"id": "new", "vectors": ROWS}]}
    url = "/v1/indexes/numbers/documents"
    with application(tmp_path / "state", numbers, limits={"lock_seconds": 0.3}) as client:
        with Index.open(numbers):
            refused = client.post(url, json=body)
            assert "another process has held the writer lock" in expect_error(refused, 503, "unavailable")
            assert int(refused.headers["Retry-After"]) >= 1
            assert post_search(client, "numbers", vectors=ROWS).status_code == 200
        assert client.post(url, json=body).status_code == 201


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# Batching


def batching(encoder: GatedEncoder, cache_size: int = 0) -> tuple[BatchingEncoder, list[int]]:
    sizes: list[int] = []
    return BatchingEncoder(encoder, cache_size=cache_size, observe=sizes.append), sizes


def test_queries_are_encoded_together_while_the_encoder_is_busy(encoder: GatedEncoder) -> None:
    shared, sizes = batching(encoder)
    texts = [f"query {i}" for i in range(6)]
    with ThreadPoolExecutor(8) as pool:
        encoder.gate.clear()
        first = pool.submit(shared.encode_queries, ["alone"])
        assert encoder.started.wait(10)
        waiting = [pool.submit(shared.encode_queries, [text]) for text in texts]
        wait_until(lambda: len(shared._queue) == 6)
        encoder.gate.set()
        np.testing.assert_array_equal(first.result()[0], WordEncoder(DIM).encode_queries(["alone"])[0])
        for text, future in zip(texts, waiting, strict=True):
            np.testing.assert_array_equal(future.result()[0], WordEncoder(DIM).encode_queries([text])[0])
    assert sizes == [1, 6]
    assert [len(batch) for batch in encoder.batches] == sizes


def test_one_bad_query_fails_alone(encoder: GatedEncoder) -> None:
    shared, _ = batching(encoder)
    with ThreadPoolExecutor(8) as pool:
        encoder.gate.clear()
        pool.submit(shared.encode_queries, ["alone"])
        assert encoder.started.wait(10)
        futures = {text: pool.submit(shared.encode_queries, [text]) for text in ("good", "poison", "fine")}
        wait_until(lambda: len(shared._queue) == 3)
        encoder.gate.set()
        with pytest.raises(ValueError, match="poison"):
            futures["poison"].result()
        assert len(futures["good"].result()) == len(futures["fine"].result()) == 1


def test_queries_are_cached(encoder: GatedEncoder) -> None:
    shared, _ = batching(encoder, cache_size=2)
    encoded = shared.encode_queries(["a", "b", "a"])
    np.testing.assert_array_equal(encoded[0], encoded[2])
    assert encoder.batches == [["a", "b"]]
    shared.encode_queries(["a"])
    shared.encode_queries(["c"])
    shared.encode_queries(["a", "c", "b"])
    assert encoder.batches == [["a", "b"], ["c"], ["b"]]
    assert not encoded[0].flags.writeable
    many = shared.encode_queries([f"q{i}" for i in range(100)])
    assert len(many) == 100


# Logs and metrics


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonLines().format(record)))

    logger = logging.getLogger("serotine.serving")
    handler, level = Collector(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_the_log_has_one_line_per_request_and_no_query(tmp_path: Path, wiki: Path, log: list[dict[str, Any]]) -> None:
    with application(tmp_path / "state", wiki) as client:
        response = client.post("/v1/indexes/wiki/search", json={"query": "secret"}, headers={"X-Request-ID": "abc-1"})
        assert response.headers["X-Request-ID"] == "abc-1"
        unnamed = client.get("/v1/indexes", headers={"X-Request-ID": "bad id\t"})
        assert re.fullmatch(r"[0-9a-f]{32}", unnamed.headers["X-Request-ID"])
        client.get("/healthz")
    assert [(line["path"], line["status"]) for line in log] == [("/v1/indexes/wiki/search", 200), ("/v1/indexes", 200)]
    assert log[0]["request"] == "abc-1"
    assert log[0]["milliseconds"] > 0
    assert "secret" not in json.dumps(log)


def test_queries_are_logged_on_request(tmp_path: Path, wiki: Path, log: list[dict[str, Any]]) -> None:
    with application(tmp_path / "state", wiki, log_queries=True) as client:
        post_search(client, query="not secret")
    assert log[0]["queries"] == ["not secret"]


def test_metrics_count_routes_not_paths(tmp_path: Path, wiki: Path) -> None:
    with application(tmp_path / "state", wiki) as client:
        for id_ in ("d1", "d2", "nope"):
            client.get(f"/v1/indexes/wiki/documents/{id_}")
        post_search(client)
        client.post("/v1/indexes/wiki/documents", json={"documents": [{"id": "new", "text": "owls"}]})
        client.get("/some/random/path")
        client.request("BREW", "/coffee")
        text = client.get("/metrics").text
    route = "/v1/indexes/{name}/documents/{id:path}"
    assert f'serotine_requests_total{{method="GET",route="{route}",status="200"}} 2.0' in text
    assert f'serotine_requests_total{{method="GET",route="{route}",status="404"}} 1.0' in text
    assert 'method="GET",route="other",status="404"' in text
    assert 'method="other",route="other"' in text
    assert 'serotine_documents_added_total{index="wiki"} 1.0' in text
    assert 'serotine_search_seconds_count{index="wiki",plan="flat"} 1.0' in text
    assert "serotine_encoded_together_count 1.0" in text


def test_internal_errors_are_detailed_in_the_log_only(
    tmp_path: Path, wiki: Path, log: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("inner secret")

    monkeypatch.setattr(Index, "search_batch", fail)
    with application(tmp_path / "state", wiki) as client:
        response = post_search(client)
        message = expect_error(response, 500, "internal")
        metrics = client.get("/metrics").text
    assert "secret" not in message
    (line,) = log
    assert (line["status"], line["bytes"], line["request"]) == (
        500,
        len(response.content),
        response.headers["X-Request-ID"],
    )
    assert response.headers["x-content-type-options"] == "nosniff"
    assert 'route="/v1/indexes/{name}/search",status="500"} 1.0' in metrics
    assert 'status="0"' not in metrics
