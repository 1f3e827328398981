"""A search of several indexes over HTTP is that of the library; every mistake has its status and message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from helpers.fakes import WordEncoder
from helpers.serving_cases import DIM, application, create_index, create_vector_index

from serotine import Index
from serotine.index import SearchOptions, search_several

if TYPE_CHECKING:
    from pathlib import Path

QUERY = "what do bats eat"


@pytest.fixture(autouse=True)
def word_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the word encoder for every index."""
    monkeypatch.setattr("serotine.encoders.load_recorded", lambda _name, *_: WordEncoder(DIM))


@pytest.mark.parametrize("options", [{"k": 3}, {"mode": "bm25"}, {"mode": "hybrid", "offset": 1}, {"exact": True}])
def test_several_indexes_are_searched_as_one(tmp_path: Path, options: dict[str, Any]) -> None:
    wiki = create_index(tmp_path / "wiki.serotine")
    create_index(tmp_path / "birds.serotine", {"owl": "owls eat bats at night", "late": "what bats eat"})
    with (
        application(tmp_path / "state", wiki, tmp_path / "birds.serotine") as client,
        Index.open(wiki, read_only=True, encoder=WordEncoder(DIM)) as index,
        Index.open(tmp_path / "birds.serotine", read_only=True, encoder=WordEncoder(DIM)) as birds,
    ):
        body = {"query": QUERY, "indexes": ["birds", "wiki"], "explain": True, **options}
        response = client.post("/v1/search", json=body)
        expected = search_several([birds, index], QUERY, SearchOptions(**options))
        hits = [(hit, expected.results[hit.result][hit.position]) for hit in expected.merged]
        assert response.status_code == 200, response.text
        result = response.json()
        assert [(hit["index"], hit["id"], hit["score"], hit["text"]) for hit in result["hits"]] == [
            (["birds", "wiki"][merged.result], hit.id, merged.score, hit.text) for merged, hit in hits
        ]
        assert {hit["index"] for hit in result["hits"]} == {"birds", "wiki"}
        assert [hit["explanation"]["id"] for hit in result["hits"]] == [hit["id"] for hit in result["hits"]]
        assert [one["index"] for one in result["indexes"]] == ["birds", "wiki"]
        assert [one["stats"]["counts"] for one in result["indexes"]] == [hits.stats.counts for hits in expected.results]
        assert [one["certificate"] is not None for one in result["indexes"]] == [bool(options.get("exact"))] * 2
        assert result["warnings"] == []
        # One index is searched as by its own route.
        alone = client.post("/v1/search", json={**body, "indexes": ["wiki"]}).json()
        assert [hit.pop("index") for hit in alone["hits"]] == ["wiki"] * len(alone["hits"])
        own = client.post("/v1/indexes/wiki/search", json={"query": QUERY, "explain": True, **options})
        assert alone["hits"] == own.json()["hits"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"indexes": ["wiki", "wiki"]}, 422, "indexes[1]: duplicate name 'wiki'; names must be unique"),
        ({"indexes": []}, 422, "indexes: must not be empty"),
        ({}, 422, "indexes: is required"),
        ({"indexes": ["wiki", "wikis"]}, 404, "index: unknown 'wikis'; available: 'numbers', 'wiki'"),
        ({"indexes": ["wiki"], "k": 10_001}, 422, "k: must be at most 1,000 in one request, got 10,001"),
    ],
)
def test_mistakes_in_a_search_of_several_indexes(
    tmp_path: Path, body: dict[str, Any], status: int, message: str
) -> None:
    indexes = create_index(tmp_path / "wiki.serotine"), create_vector_index(tmp_path / "numbers.serotine")
    with application(tmp_path / "state", *indexes) as client:
        response = client.post("/v1/search", json={"query": QUERY, **body})
    assert (response.status_code, response.json()["error"]["message"][: len(message)]) == (status, message)
