"""A client warns of what the server's encoder does not read, and splits long texts, as an index on disk does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.serving_cases import serving

from serotine import Client, Index
from serotine.errors import EmptyTextWarning, TruncatedTextWarning, WeakMatchWarning

LONG = "The serotine is a large bat that leaves its roost late. " * 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    Index.create(folder / "bats.serotine").close()
    with serving(folder / "bats.serotine") as server, server.client("bats") as client:
        yield client


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "local.serotine") as index:
        yield index


def test_long_and_empty_texts_warn_with_the_words_of_the_index(client: Client, index: Index) -> None:
    for texts, kind in (([LONG], TruncatedTextWarning), ([""], EmptyTextWarning)):
        ids = [kind.__name__]
        with pytest.warns(kind) as local:
            index.add(ids, texts)
        with pytest.warns(kind) as served:
            client.add(ids, texts)
        assert [str(warning.message) for warning in served] == [str(warning.message) for warning in local]
    with pytest.warns(TruncatedTextWarning):
        assert client.add_batches([{"ids": ["batch"], "texts": [LONG]}]) == 1


def test_long_texts_are_split_refused_or_truncated(client: Client, index: Index) -> None:
    for target in (client, index):
        target.add(["long"], [LONG], long_texts="split")
    assert client.ids(where={"document": "long"}) == index.ids(where={"document": "long"})
    assert len(client.ids(where={"document": "long"})) > 1
    client.add(["cut"], [LONG], long_texts="truncate")
    assert "cut" in client
    with pytest.raises(ValueError, match="nothing was added"):
        client.add(["refused"], [LONG], long_texts="error")
    assert "refused" not in client


def test_searches_warn_with_the_words_of_the_index(client: Client, index: Index) -> None:
    for target in (client, index):
        target.add(["searched"], ["A late bat."])
    with pytest.warns(TruncatedTextWarning) as local:
        expected = index.search(LONG)
    with pytest.warns(TruncatedTextWarning) as served:
        hits = client.search(LONG)
    assert served[0].filename == __file__
    assert [str(warning.message) for warning in served] == [str(warning.message) for warning in local]
    # The index has nothing else, so its matches are weak, which is an answer and not issued.
    assert hits.warnings == expected.warnings[:1]
    assert [type(warning) for warning in expected.warnings[1:]] == [WeakMatchWarning]
    assert hits.to_dict()["warnings"] == [
        {"kind": "TruncatedTextWarning", "message": str(served[0].message)},
    ]
    with pytest.warns(TruncatedTextWarning, match=r"\(and 1 more queries\)$") as served:
        results = client.search_batch([LONG, "bats", LONG])
    assert (len(served), [len(found.warnings) for found in results]) == (1, [1, 0, 1])
