"""The client gives the results and errors of the index on disk, and reports the server's own errors."""

from __future__ import annotations

import datetime
import inspect
import math
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from helpers.cli_fake import FakeEncoder
from helpers.serving_cases import Server, serving
from helpers.small_engine import THRESHOLDS

import serotine
from serotine import Client, Index
from serotine.errors import (
    DuplicateIdError,
    EncoderError,
    IndexExistsError,
    NotAnIndexError,
    ReadOnlyError,
    ServerError,
    UnknownFieldWarning,
    UnknownIdError,
)
from serotine.index import SearchKeywords, SearchOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAKE = (sys.executable, str(Path(__file__).parent / "helpers" / "cli_fake.py"))
TEXTS = {
    "d1": "bats eat moths at night",
    "d/2": "cats sleep all day",
    "é 3": "how bats find their way: echolocation",
    "empty": "",
}
QUERY = "what do bats eat"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("served")
    metadata = [{"lang": "en", "n": i} for i in range(len(TEXTS))]
    index = Index.create(root / "wiki.serotine", encoder=FakeEncoder(), filterable={"lang": str})
    with index, pytest.warns(UserWarning, match="have no words"):
        index.add(list(TEXTS), list(TEXTS.values()), metadata=metadata)
    with Index.create(root / "plain.serotine", dim=16) as plain:
        plain.add(["v"], vectors=[np.ones((2, 16), dtype=np.float32)])
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch, Index.create(root / "coded.serotine", dim=16) as coded:
        for module, attribute, value in THRESHOLDS:
            patch.setattr(module, attribute, value)
        coded.add([str(i) for i in range(60)], vectors=[rng.standard_normal((8, 16)) for _ in range(60)])
        coded.compact()
    with serving("--root", root, program=FAKE) as server:
        server.root = root
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client("wiki") as client:
        yield client


@pytest.fixture
def index(server: Server) -> Iterator[Index]:
    with Index.open(server.root / "wiki.serotine", read_only=True, encoder=FakeEncoder()) as index:
        yield index


def assert_same_results(served: Any, local: Any) -> None:
    """Assert that two results are equal except for their times."""
    assert served.items == local.items
    assert served.certificate == local.certificate
    assert (served.stats.plan, served.stats.documents, served.stats.tokens, served.stats.counts) == (
        local.stats.plan,
        local.stats.documents,
        local.stats.tokens,
        local.stats.counts,
    )
    assert served.stats.milliseconds.keys() == local.stats.milliseconds.keys()


def test_importing_serotine_imports_no_client() -> None:
    code = "import sys, serotine; print([n for n in sys.modules if n.startswith(('serotine.c', 'http', 'ssl'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert serotine.Client is Client


def test_the_client_imports_no_server_libraries() -> None:
    code = (
        "import sys, serotine; serotine.Client;"
        "print([n for n in ('fastapi', 'pydantic', 'uvicorn', 'torch', 'onnxruntime') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def parameters(method: Callable[..., object]) -> list[tuple[str, object, object]]:
    """Return the name, kind and default of every parameter, with `**options` expanded to the search options."""
    expanded: list[tuple[str, object, object]] = []
    for parameter in inspect.signature(method).parameters.values():
        if parameter.name == "pooled":
            # Vectors of the caller, which only an index on disk takes.
            continue
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            assert parameter.annotation == "Unpack[SearchKeywords]"
            options = [field for field in fields(SearchOptions) if field.name in SearchKeywords.__annotations__]
            expanded += [(field.name, inspect.Parameter.KEYWORD_ONLY, field.default) for field in options]
        else:
            expanded.append((parameter.name, parameter.kind, parameter.default))
    return expanded


def test_the_client_has_every_public_method_of_the_index() -> None:
    on_disk = {
        *("create", "open", "open_or_create", "path", "encoder", "sources", "update_sources", "updating"),
        *("snapshot", "snapshots", "prune_snapshots", "restore", "salvage", "pooled_encoder", "set_pooled_weights"),
    }
    members = {name for name in dir(Index) if not name.startswith("_")}
    assert members - on_disk <= {name for name in dir(Client) if not name.startswith("_")}
    assert all(
        hasattr(Client, name)
        for name in ("__len__", "__contains__", "__iter__", "__getitem__", "__enter__", "__exit__")
    )
    for name in members - on_disk - {"dim"}:
        assert parameters(getattr(Client, name)) == parameters(getattr(Index, name)), name


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 1},
        {"k": np.int64(2)},
        {"exact": True},
        {"k": 4, "exact": True},
        {"recall": 0.999},
        {"mode": "bm25"},
        {"mode": "hybrid", "weights": (1.0, 2.0)},
        {"where": {"lang": "en", "n": {"<": 2}}},
        {"where": {"lang": "nowhere"}, "exact": True},
        {"candidates": 3},
        {"k": 2, "offset": 1},
        {"min_score": 0.5},
        {"min_score": np.float32(2.0), "mode": "hybrid"},
        {"k": 2, "group_by": "document", "exact": True},
        {"k": 1, "offset": 2, "mode": "hybrid"},
    ],
)
def test_searches_equal_those_of_the_index(client: Client, index: Index, options: dict[str, Any]) -> None:
    assert_same_results(client.search(QUERY, **options), index.search(QUERY, **options))
    if options.get("mode", "late") == "late":
        (vectors,) = FakeEncoder().encode_queries([QUERY])
        assert_same_results(client.search(vectors, **options), index.search(vectors, **options))
        half = vectors.astype(np.float16)
        assert_same_results(client.search(half, **options), index.search(half, **options))


def test_a_document_without_tokens_is_no_hit(client: Client, index: Index) -> None:
    hits = client.search(QUERY, 4)
    assert_same_results(hits, index.search(QUERY, 4))
    assert "empty" in index
    assert "empty" not in [hit.id for hit in hits]


def test_other_methods_equal_those_of_the_index(client: Client, index: Index) -> None:
    (vectors,) = FakeEncoder().encode_queries(["cats"])
    queries = [QUERY, vectors, "sleep"]
    for served, local in zip(client.search_batch(queries, 2), index.search_batch(queries, 2), strict=True):
        assert_same_results(served, local)
    assert client.search_batch([]) == []
    for id_ in TEXTS:
        assert client.explain(QUERY, id_) == index.explain(QUERY, id_)
        assert client.explain(QUERY, id_).spans() == index.explain(QUERY, id_).spans()
        np.testing.assert_array_equal(client.vectors(id_), index.vectors(id_))
        assert client.vectors(id_).dtype == np.float16
    served_hits, local_hits = client.get(list(TEXTS)), index.get(list(TEXTS))
    assert [(hit.id, hit.text, hit.metadata) for hit in served_hits] == [
        (hit.id, hit.text, hit.metadata) for hit in local_hits
    ]
    assert all(math.isnan(hit.score) for hit in served_hits)
    assert client.stats() == index.stats()
    assert client.verify() == index.verify()
    assert (client.ids(), len(client), client.dim) == (index.ids(), len(index), index.dim)
    assert list(client) == list(index)
    for where in ({"lang": "en"}, {"n": {">": 0}}, {"lang": "nowhere"}):
        assert client.ids(where=where) == index.ids(where=where)
        assert client.count(where=where) == index.count(where=where)
        assert [hit.id for hit in client.documents(where=where)] == [hit.id for hit in index.documents(where=where)]
    assert (client.count(), client["d/2"].text) == (index.count(), index["d/2"].text)
    assert client.get("no", missing="none") is None
    assert [hit and hit.id for hit in client.get(["no", "d1"], missing="none")] == [None, "d1"]
    assert "d/2" in client
    assert "no" not in client
    assert 3 not in client
    assert "\ud800" not in client


def test_documents_are_added_replaced_and_deleted(server: Server) -> None:
    with server.client("plain") as client:
        rows = [np.full((n + 1, 16), 0.25, dtype=np.float32) for n in range(3)]
        client.add(["a", "b"], vectors=rows[:2], metadata=[{"x": 1}, {}])
        np.testing.assert_array_equal(client.vectors("b"), rows[1].astype(np.float16))
        client.add(["a"], texts=["bats"], vectors=rows[2:], upsert=True)
        assert client.get(["a"])[0].text == "bats"
        batches = [{"ids": ["a", "c"], "vectors": rows[:2]}, {"ids": ["d"], "vectors": rows[2:]}]
        assert client.add_batches(batches) == 2
        client.add([], vectors=[])
        client.delete([])
        client.delete(["a", "b", "c", "d"])
        client.compact()
        assert (client.ids(), client.stats().deleted) == (["v"], 0)
        client.add(["e"], vectors=rows[:1], show_progress=True)
        client.delete(["e"])
        client.compact(show_progress=True)


def test_a_server_measures_recall(server: Server) -> None:
    rng = np.random.default_rng(1)
    queries = [rng.standard_normal((8, 16)).astype(np.float32) for _ in range(20)]
    with server.client("coded") as client:
        tuned = client.tune(queries, show_progress=True)
        assert tuned.calibration is not None
        assert (tuned.calibration.queries, tuned.calibration.origin) == (20, "given")
        assert "Measured with 20 queries (the queries given): recall 0.99 takes" in tuned.statement
        assert client.stats().calibration == tuned.calibration
        with Index.open(server.root / "coded.serotine", read_only=True) as index:
            assert index.stats() == client.stats()
        assert client.search(queries[0]).stats.expected_recall is not None
        made = client.tune().calibration
        assert made is not None
        assert made.origin == "tokens"
        with pytest.raises(ValueError, match=r"^queries: must be a list of at least one query, got \[\]"):
            client.tune([])
        with pytest.raises(TypeError, match=r"^queries: must be a list of strings or arrays, got "):
            client.tune("bats")
        with pytest.raises(EncoderError, match="this index has no encoder"):
            client.tune(["words"])
    with server.client("wiki") as client:
        assert client.tune().statement.startswith("No calibration is needed: all of the ")


def test_metadata_and_filters_are_as_plain_as_in_an_index(server: Server) -> None:
    day = datetime.date(2024, 1, 31)
    with server.client("plain") as client:
        metadata = [{"day": day, "n": np.int64(1), "x": math.nan, "meta": {"source": "s"}}, {"day": "2024-02-01"}]
        client.add(["a", "b"], vectors=[np.eye(16, dtype=np.float32)] * 2, metadata=metadata)
        assert client["a"].metadata == {"day": "2024-01-31", "n": 1, "x": None, "meta": {"source": "s"}}
        assert client.ids(where={"day": {"<=": day}}) == ["a"]
        assert client.ids(where={"meta.source": "s", "n": np.int8(1)}) == ["a"]
        hits = client.search(np.eye(16, dtype=np.float32), where={"day": {">": day}})
        assert [hit.id for hit in hits] == ["b"]
        client.update_metadata(["a"], [{"day": None, "n": np.float32(2)}])
        assert client["a"].metadata == {"n": 2.0, "x": None, "meta": {"source": "s"}}
        client.update_metadata(["a"], [{"day": day, "gone": None}], replace=True)
        assert client["a"].metadata == {"day": "2024-01-31", "gone": None}
        client.update_metadata([], [])
        assert client.delete(where={"day": {">=": day}}) == 2
        with pytest.warns(UnknownFieldWarning, match="'n'"):
            assert client.delete(where={"n": 1}) == 0
        assert client.ids() == ["v"]


def deep_filter(depth: int) -> dict[str, Any]:
    where: dict[str, Any] = {"n": 1}
    for _ in range(depth):
        where = {"not": where}
    return where


ERRORS: list[tuple[str, type[Exception], Callable[[Any], object]]] = [
    ("wiki", UnknownIdError, lambda index: index.get(["no"])),
    ("wiki", UnknownIdError, lambda index: index.vectors("no")),
    ("wiki", UnknownIdError, lambda index: index.explain("x", "no")),
    ("wiki", UnknownIdError, lambda index: index.delete(["d1", "no"])),
    ("wiki", UnknownIdError, lambda index: index.update_metadata(["d1", "no"], [{}, {}])),
    ("wiki", DuplicateIdError, lambda index: index.update_metadata(["d1", "d1"], [{}, {}])),
    ("wiki", ValueError, lambda index: index.update_metadata(["d1"], [{}, {}])),
    ("wiki", TypeError, lambda index: index.update_metadata(["d1"], [{"lang": 3}])),
    ("wiki", TypeError, lambda index: index.update_metadata(["d1"], [{"x": b""}])),
    ("wiki", ValueError, lambda index: index.delete()),
    ("wiki", ValueError, lambda index: index.delete(["d1"], where={"lang": "en"})),
    ("wiki", ValueError, lambda index: index.delete(where={})),
    ("wiki", ValueError, lambda index: index.count(where=deep_filter(100))),
    ("wiki", ValueError, lambda index: index.count(where=deep_filter(10_000))),
    ("wiki", ValueError, lambda index: index.delete(where={"n": math.nan})),
    ("wiki", DuplicateIdError, lambda index: index.add(["d1"], ["x"])),
    ("wiki", DuplicateIdError, lambda index: index.add(["x", "x"], ["x", "x"])),
    ("wiki", ValueError, lambda index: index.search("")),
    ("wiki", ValueError, lambda index: index.search("x", 0)),
    ("wiki", ValueError, lambda index: index.search("x", mode="other")),
    ("wiki", ValueError, lambda index: index.search("x", mode="bm25", exact=True)),
    ("wiki", ValueError, lambda index: index.search("x", recall=0)),
    ("wiki", ValueError, lambda index: index.search("x", recall=0.9, candidates=50)),
    ("wiki", ValueError, lambda index: index.search("\ud800")),
    ("wiki", TypeError, lambda index: index.search(3)),
    ("wiki", TypeError, lambda index: index.search(np.ones((2, 16), dtype=np.int64))),
    ("wiki", TypeError, lambda index: index.search_batch("x")),
    ("wiki", TypeError, lambda index: index.search("x", where={"lang": 3})),
    ("wiki", TypeError, lambda index: index.add(["x"], ["x"], metadata=[{"lang": 3}])),
    ("wiki", TypeError, lambda index: index.get(3)),
    ("wiki", UnknownIdError, lambda index: index["no"]),
    ("wiki", TypeError, lambda index: index[3]),
    ("wiki", TypeError, lambda index: index.ids(where={"lang": 3})),
    ("wiki", ValueError, lambda index: index.count(where={})),
    ("wiki", ValueError, lambda index: index.get(["d1"], missing="skip")),
    ("wiki", ValueError, lambda index: index.add(["x"], ["x", "y"])),
    ("wiki", ValueError, lambda index: index.add(["x"])),
    ("wiki", ValueError, lambda index: index.add([""], ["x"])),
    ("wiki", ValueError, lambda index: index.add(["x"], ["x"], metadata=[{"n": math.inf}])),
    ("plain", ValueError, lambda index: index.search(np.ones((2, 3), dtype=np.float32))),
    # The number of values fits the index's dimension, but the shape does not.
    ("plain", ValueError, lambda index: index.search(np.ones((2, 8), dtype=np.float32))),
    ("plain", ValueError, lambda index: index.search_batch([np.ones((1, 32), dtype=np.float32)])),
    ("plain", ValueError, lambda index: index.add(["x"], vectors=[np.ones((4, 8), dtype=np.float32)])),
    ("plain", ValueError, lambda index: index.search(np.full((2, 16), np.nan, dtype=np.float32))),
    ("plain", ValueError, lambda index: index.add(["x"], vectors=[np.full((2, 16), 1e9, dtype=np.float32)])),
    ("plain", ValueError, lambda index: index.add(["x"], ["x"])),
    ("plain", EncoderError, lambda index: index.search("x")),
    ("plain", ValueError, lambda index: index.explain("x", "v")),
]


@pytest.mark.parametrize(("name", "error_type", "call"), ERRORS)
def test_errors_have_the_same_type(
    server: Server, name: str, error_type: type[Exception], call: Callable[[Any], object]
) -> None:
    encoder = FakeEncoder() if name == "wiki" else None
    with Index.open(server.root / f"{name}.serotine", encoder=encoder) as index, pytest.raises(error_type) as local:
        call(index)
    with server.client(name) as client, pytest.raises(error_type) as served:
        call(client)
    assert type(served.value) is type(local.value)
    assert "\n" not in str(served.value)


def test_a_string_is_not_a_list_of_texts(client: Client) -> None:
    before = len(client)
    with pytest.raises(TypeError, match="texts: must be a list of strings, got str; put it in a list"):
        client.add(["x", "y"], "xy")
    with pytest.raises(TypeError, match="metadata: must be a list of dicts, one per id, got str; put it in a list"):
        client.add(["x", "y"], ["a", "b"], metadata="xy")  # type: ignore[arg-type]
    assert len(client) == before


def test_errors_of_the_server_itself(server: Server) -> None:
    with server.client("nope") as client, pytest.raises(NotAnIndexError, match="'nope'"):
        client.stats()
    with pytest.raises(ServerError, match=r"3 indexes \(coded, plain, wiki\); choose one"):
        Client(server.url)
    with server.client("wiki") as client, pytest.raises(ValueError, match="at most 1,000"):
        client.search("bats", 5000)
    assert issubclass(IndexExistsError, serotine.SerotineError)
    assert issubclass(ReadOnlyError, serotine.SerotineError)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("ftp://host", {}, "url: "),
        ("host:8000", {}, "url: "),
        ("http://me:secret@host", {}, "url: "),
        ("http://host?x=1", {}, "url: "),
        ("http://host", {"timeout": 0}, "timeout: "),
        ("http://host", {"timeout": math.nan}, "timeout: "),
        ("http://host", {"token": "a\nb"}, "token: "),
    ],
)
def test_invalid_arguments(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Client(url, "i", **options)


def test_threads_share_a_client(client: Client, index: Index) -> None:
    expected = index.search(QUERY).items
    with ThreadPoolExecutor(8) as pool:
        assert all(hits == expected for hits in pool.map(lambda _: client.search(QUERY).items, range(64)))


class Stub(BaseHTTPRequestHandler):
    """A server that sends prepared responses and records the paths of requests."""

    protocol_version = "HTTP/1.1"
    prepared_responses: ClassVar[list[tuple[int, dict[str, str], bytes]]] = []
    request_paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.request_paths.append(self.path)
        status, headers, body = self.prepared_responses.pop(0)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[str]:
    Stub.prepared_responses, Stub.request_paths = [], []
    server = HTTPServer(("127.0.0.1", 0), Stub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


BUSY = (429, {"Retry-After": "0"}, b'{"error": {"code": "overloaded", "message": "busy"}}')
EMPTY_LIST = (200, {}, b'{"indexes": []}')


def test_requests_to_a_busy_server_are_retried(stub: str) -> None:
    Stub.prepared_responses = [BUSY, BUSY, EMPTY_LIST]
    with Client(stub, "i") as client:
        assert client.indexes() == []
    assert len(Stub.request_paths) == 3


def test_no_retry_beyond_the_timeout(stub: str) -> None:
    Stub.prepared_responses = [(503, {"Retry-After": "30"}, BUSY[2])]
    with Client(stub, "i", timeout=1.0) as client, pytest.raises(ServerError, match="busy") as raised:
        client.indexes()
    assert (raised.value.status, raised.value.code) == (503, "overloaded")


@pytest.mark.parametrize("response", [(200, {}, b"<html>"), (502, {}, b"Bad Gateway"), (500, {}, b'{"error": 1}')])
def test_other_servers_are_reported(stub: str, response: tuple[int, dict[str, str], bytes]) -> None:
    Stub.prepared_responses = [response]
    with Client(stub, "i") as client, pytest.raises(ServerError, match="is it a Serotine server"):
        client.indexes()


def test_an_unreachable_server() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(ServerError, match="cannot be reached") as raised:
            Client(f"http://127.0.0.1:{port}")
    assert raised.value.status is None


def test_a_silent_server() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ServerError, match="no response within"):
            Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)


def test_a_closed_connection_is_reopened(stub: str) -> None:
    Stub.prepared_responses = [EMPTY_LIST, EMPTY_LIST]
    with Client(stub, "i") as client:
        client.indexes()
        (connection,) = client._connection._idle
        assert connection.sock is not None
        connection.sock.shutdown(socket.SHUT_RDWR)
        assert client.indexes() == []


def test_a_client_closed_during_a_request_leaves_no_connection(stub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Stub.prepared_responses = [EMPTY_LIST, EMPTY_LIST, EMPTY_LIST]
    client = Client(stub, "i")
    answer = Stub.do_GET

    def close_then_answer(handler: Stub) -> None:
        client.close()
        answer(handler)

    monkeypatch.setattr(Stub, "do_GET", close_then_answer)
    assert client.indexes() == []
    assert not client._connection._idle
    monkeypatch.undo()
    assert client.indexes() == []
    assert len(client._connection._idle) == 1
    client.close()
    assert not client._connection._idle
