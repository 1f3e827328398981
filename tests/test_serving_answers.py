"""Responses are refused before they are larger than one may be, with what to ask for instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder
from helpers.serving_cases import DIM, application, create_index, create_vector_index, expect_error, serving, vectors

from serotine import Index
from serotine.errors import ServerError
from serotine.wire import ANSWER_TOO_LARGE

TEXTS = {f"d{i}": f"bat {i} " + "x" * 1000 for i in range(20)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An application whose responses have at most 10,000 bytes."""
    folder = tmp_path_factory.mktemp("answers")
    index = create_index(folder / "i.serotine", TEXTS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("serotine.encoders.load_recorded", lambda _name, *_: WordEncoder(DIM))
        patched.setattr("serotine.encoders.Encoder", lambda: WordEncoder(DIM))
        with application(folder / "state", index, limits={"answer": 10_000}) as client:
            yield client


IDS = list(TEXTS)


@pytest.mark.parametrize(
    ("path", "small", "large"),
    [
        ("/v1/indexes/i/search", {"query": "bat", "k": 5}, {"query": "bat", "k": 15}),
        ("/v1/indexes/i/search/batch", {"queries": ["bat"] * 5, "k": 1}, {"queries": ["bat"] * 15, "k": 1}),
        ("/v1/search", {"query": "bat", "indexes": ["i"], "k": 5}, {"query": "bat", "indexes": ["i"], "k": 15}),
        ("/v1/indexes/i/documents/fetch", {"ids": IDS[:5]}, {"ids": IDS[:1] * 2000}),
        (
            "/v1/rerank",
            {"query": "bat", "documents": ["bat" * 400] * 15},
            {"query": "bat", "documents": ["bat" * 400] * 15, "return_documents": True},
        ),
    ],
)
def test_a_larger_response_is_refused(server: Any, path: str, small: dict[str, Any], large: dict[str, Any]) -> None:
    assert server.post(path, json=small).status_code == 200
    message = expect_error(server.post(path, json=large), 422, ANSWER_TOO_LARGE)
    assert message.startswith("answer: must be at most 10,000 bytes; ")
    assert "fewer" in message
    assert message.endswith(", or let who runs the server allow more")


def test_warnings_count(server: Any) -> None:
    body = {"queries": ["bat"] * 10, "k": 1, "where": {f"field {i}" + "x" * 100: 1 for i in range(60)}}
    message = expect_error(server.post("/v1/indexes/i/search/batch", json=body), 422, ANSWER_TOO_LARGE)
    assert "bytes; send fewer queries at once, or " in message


def test_a_batch_is_not_read_to_its_end(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = server.app.state.services.index("i").reader
    searched: list[int] = []
    search_batch = reader.search_batch

    def counted(queries: list[str], *args: Any, **options: Any) -> Any:
        searched.append(len(queries))
        return search_batch(queries, *args, **options)

    monkeypatch.setattr(type(reader), "search_batch", lambda _self, *args, **options: counted(*args, **options))
    body = {"queries": ["bat"] * 1000, "k": 100}
    expect_error(server.post("/v1/indexes/i/search/batch", json=body), 422, ANSWER_TOO_LARGE)
    assert sum(searched) == 10, "hits of 10 queries with k=100 are as many as those of one may be"


def test_vectors_of_many_texts_are_refused(server: Any) -> None:
    body = {"model": None, "input": ["bat owl"] * 100}
    for path in ("/v1/multi-vector", "/pooling"):
        answered = server.post(path, json=body)
        assert "send fewer texts at once" in expect_error(answered, 422, ANSWER_TOO_LARGE)


def test_a_document_with_its_vectors_is_refused(tmp_path: Path) -> None:
    index = create_vector_index(tmp_path / "i.serotine", 1)
    with application(tmp_path / "state", index, limits={"answer": 200}) as client:
        assert client.get("/v1/indexes/i/documents/v0").status_code == 200
        message = expect_error(client.get("/v1/indexes/i/documents/v0?vectors=true"), 422, ANSWER_TOO_LARGE)
        assert message == "answer: must be at most 200 bytes; who runs the server can allow more"


def test_the_client_asks_for_smaller_pages(tmp_path: Path) -> None:
    ids = [f"{i:02}" + "x" * 60_000 for i in range(20)]
    path = tmp_path / "i.serotine"
    with Index.create(path, dim=DIM) as index:
        index.add(ids, ["x" * 200_000] * len(ids), vectors=vectors(len(ids)))
        index.add(["large"], ["x" * 1_100_000], vectors=vectors(1))
    with serving(path, "--max-answer", 1) as server:
        client = server.client("i")
        assert client.ids() == [*ids, "large"]
        assert "large" in client
        with pytest.raises(ServerError, match="bytes; who runs the server can allow more"):
            client["large"]
        client.delete(["large"])
        assert [document.id for document in client.documents()] == ids
        with pytest.raises(ServerError, match="answer: must be at most 1,048,576 bytes; ask for fewer documents"):
            client.get(ids)
        assert len(client.search(vectors(1)[0], k=3)) == 3
