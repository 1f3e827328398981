"""Reranking and encoding over HTTP: the vectors and scores of the library."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.serving_cases import DIM, TEXTS, application, create_index

from serotine import maxsim

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

QUERY = "what do bats eat"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr("serotine.encoders.load_recorded", lambda _name, *_: WordEncoder(DIM))
    with application(tmp_path / "state", create_index(tmp_path / "wiki.serotine")) as client:
        yield client


def test_reranking_scores_are_maxsim_per_query_token(client: TestClient) -> None:
    encoder = WordEncoder(DIM)
    texts = [*TEXTS.values(), " "]
    (query,) = encoder.encode_queries([QUERY])
    scores = [*maxsim.score(query, encoder.encode_documents(texts[:-1])) / len(query), 0.0]
    body = {"model": "wiki", "query": QUERY, "documents": [*texts[:2], {"text": texts[2]}, *texts[3:]]}
    response = client.post("/v1/rerank", json={**body, "return_documents": True, "other": 1}).json()
    assert response["model"] == "words"
    assert {result["index"]: result["relevance_score"] for result in response["results"]} == pytest.approx(
        dict(enumerate(map(float, scores)))
    )
    ranked = [result["relevance_score"] for result in response["results"]]
    assert ranked == sorted(ranked, reverse=True)
    assert all(result["document"]["text"] == texts[result["index"]] for result in response["results"])
    assert response["usage"]["total_tokens"] == len(query) + sum(len(text.split()) + 1 for text in texts[:-1])
    assert len(client.post("/v1/rerank", json={**body, "top_n": 2}).json()["results"]) == 2


@pytest.mark.parametrize("side", ["query", "document"])
def test_texts_are_encoded(client: TestClient, side: str) -> None:
    encoder = WordEncoder(DIM)
    texts = ["bats eat", "owls"]
    expected = encoder.encode_queries(texts) if side == "query" else encoder.encode_documents(texts)
    packed = [base64.b64encode(row.astype("<f2").tobytes()).decode() for row in expected]
    for path, key, format_key in (
        ("/v1/multi-vector", "embeddings", "embedding_type"),
        ("/pooling", "data", "encoding_format"),
    ):
        body = {"input": texts, "input_type": side}
        rows = client.post(path, json=body).json()["data"]
        assert [row["index"] for row in rows] == [0, 1]
        for row, array in zip(rows, expected, strict=True):
            np.testing.assert_array_equal(np.float32(row[key]), array)
            assert row["shape"] == list(array.shape)
        assert [row[key] for row in client.post(path, json={**body, format_key: "base64"}).json()["data"]] == packed
    assert len(client.post("/pooling", json={"input": "one text"}).json()["data"]) == 1
