"""Mode "xtr" of an index: hits against the reference, filters, deletions, statistics, and one clear error each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.local_shards import LocalShards
from helpers.small_engine import THRESHOLDS

# Importing the fixture makes it available to this module's tests.
from test_cli import Shell, shell

from serotine import Index
from serotine.errors import UnknownFieldWarning
from serotine.index import SearchOptions, ShardedSearch, search_several
from serotine.maxsim import reference

__all__ = ["shell"]

DIM, DOCUMENTS = 16, 60


def collection(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    vectors = [rng.standard_normal((int(n), DIM)) for n in rng.integers(1, 9, DOCUMENTS)]
    return {
        "ids": [f"d{i}" for i in range(DOCUMENTS)],
        "vectors": [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors],
        "metadata": [{"even": i % 2 == 0} for i in range(DOCUMENTS)],
    }


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An index without codes: all documents are scored over their vectors."""
    with Index.create(tmp_path / "i.serotine", dim=DIM) as index:
        index.add(**collection())
        yield index


@pytest.fixture
def coded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)
    with Index.create(tmp_path / "coded.serotine", dim=DIM) as index:
        index.add(**collection())
        index.add(["late"], vectors=[np.eye(2, DIM)], metadata=[{"even": True}])
        yield index


def query(seed: int = 1) -> Any:
    vectors = np.random.default_rng(seed).standard_normal((5, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def expected(index: Index, vectors: Any, ids: list[str], k_token: int) -> dict[str, float]:
    scores = reference.xtr(vectors, [index.vectors(id_) for id_ in ids], k_token, impute=True)
    return dict(zip(ids, scores * len(vectors), strict=True))


@pytest.mark.parametrize("k_token", [10, 60, 1000])
def test_hits_equal_the_reference(index: Index, k_token: int) -> None:
    ids = [f"d{i}" for i in range(DOCUMENTS)]
    hits = index.search(query(), mode="xtr", k_token=k_token)
    scores = expected(index, query(), ids, k_token)
    assert [hit.id for hit in hits] == sorted(ids, key=lambda id_: -scores[id_])[:10]
    np.testing.assert_allclose([hit.score for hit in hits], [scores[hit.id] for hit in hits], atol=1e-5)
    assert hits[0].score_per_token == pytest.approx(hits[0].score / 5)
    stats = hits.stats
    assert (stats.plan, stats.documents, stats.counts["vectors"]) == ("xtr", DOCUMENTS, DOCUMENTS)
    assert (hits.certificate, stats.candidates, stats.expected_recall) == (None, None, None)
    assert [len(one) for one in index.search_batch([query(), query(2)], 3, mode="xtr")] == [3, 3]


def test_every_token_retrieved_ranks_as_maxsim(index: Index, coded: Index) -> None:
    for seed in range(5):
        exact = index.search(query(seed), 5, exact=True)
        found = index.search(query(seed), 5, mode="xtr", k_token=10_000)
        assert [hit.id for hit in found] == [hit.id for hit in exact]
        np.testing.assert_allclose([hit.score for hit in found], [hit.score for hit in exact], rtol=1e-6)
        # Codes of a codebook of so few tokens are rough.
        found, exact = coded.search(query(seed), 10, mode="xtr"), coded.search(query(seed), 10, exact=True)
        assert len({hit.id for hit in found} & {hit.id for hit in exact}) >= 7
    assert coded.search(query(), mode="xtr").stats.counts["centroids"] > 0
    assert coded.search(np.eye(2, DIM), 1, mode="xtr")[0].id == "late"


@pytest.mark.parametrize("name", ["index", "coded"])
def test_filters_and_deletions_are_respected(name: str, request: pytest.FixtureRequest) -> None:
    index = request.getfixturevalue(name)
    best = index.search(query(), 1, mode="xtr")[0].id
    index.delete([best])
    assert best not in {hit.id for hit in index.search(query(), 100, mode="xtr")}
    hits = index.search(query(), 100, mode="xtr", where={"even": True})
    assert hits
    assert all(hit.metadata["even"] for hit in hits)
    assert hits.stats.documents == sum(hit.metadata["even"] for hit in index.search(query(), 100))
    # What the filter leaves out retrieves nothing: with few tokens allowed, all of them count.
    if name == "index":
        ids = [hit.id for hit in hits]
        scores = expected(index, query(), ids, 1000)
        np.testing.assert_allclose([hit.score for hit in hits], [scores[id_] for id_ in ids], atol=1e-5)
    with pytest.warns(UnknownFieldWarning):
        assert not index.search(query(), mode="xtr", where={"odd": True})


def test_pages_thresholds_and_groups(tmp_path: Path) -> None:
    with Index.create(tmp_path / "i.serotine", dim=DIM) as index:
        vectors = collection()["vectors"]
        index.add(
            [f"{'ab'[i % 2]}#{i}" for i in range(40)],
            vectors=vectors[:40],
            metadata=[{"document": "ab"[i % 2], "start": i, "end": i + 1} for i in range(40)],
        )
        together = index.search(query(), 20, mode="xtr")
        pages = [index.search(query(), 10, mode="xtr", offset=offset) for offset in (0, 10)]
        assert [hit.id for page in pages for hit in page] == [hit.id for hit in together]
        floor = together[4].score_per_token
        assert floor is not None
        assert len(index.search(query(), 20, mode="xtr", min_score=floor)) == 5
        grouped = index.search(query(), 2, mode="xtr", group_by="document")
        assert sorted(hit.id[0] for hit in grouped) == ["a", "b"]


def test_texts_and_several_indexes(tmp_path: Path) -> None:
    indexes = []
    for name, texts in (("one", ["the bat flies late", "a fox runs"]), ("two", ["an owl hunts", "the bat sleeps"])):
        index = Index.create(tmp_path / f"{name}.serotine", encoder=WordEncoder(64))
        index.add([f"{name}{i}" for i in range(2)], texts=texts)
        indexes.append(index)
    try:
        assert indexes[0].search("bat flies", 1, mode="xtr")[0].id == "one0"
        both = search_several(indexes, "bat flies", SearchOptions(4, mode="xtr"))
        # Scores of different indexes are imputed differently: ranks decide.
        assert [hit.score for hit in both.merged] == pytest.approx([1 / 61, 1 / 61, 1 / 62, 1 / 62])
    finally:
        for index in indexes:
            index.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 10, "k_token": 9}, "k_token: must be at least k (10), got 9; raise it"),
        ({"k": 10, "offset": 5, "k_token": 14}, "k_token: must be at least k + offset (15), got 14; raise it"),
        ({"k_token": 0}, "k_token: must be at least 1, got 0"),
        ({"k_token": 2.5}, "k_token: must be an int of at least 1, got float"),
        ({"k_token": True}, "k_token: must be an int of at least 1, got bool"),
        (
            {"k_token": 50, "mode": "late"},
            "k_token: needs mode=\"xtr\", got mode='late', and an index without shards; drop it",
        ),
        ({"exact": True}, 'exact: needs mode="late" or "pooled", got mode=\'xtr\'; drop one of the two'),
        ({"recall": 0.9}, 'recall: needs mode="late" or "hybrid" or "pooled", got mode=\'xtr\'; drop one of the two'),
        (
            {"candidates": 50},
            'candidates: needs mode="late" or "hybrid" or "pooled", got mode=\'xtr\'; drop one of the two',
        ),
    ],
)
def test_bad_options_are_one_line(index: Index, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)) as caught:
        index.search(query(), **{"mode": "xtr", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": (1, 2)}, 'weights: needs mode="hybrid" or "pooled", got mode=\'late\'; drop it'),
        ({"weights": (1, 2), "mode": "xtr"}, 'weights: needs mode="hybrid" or "pooled", got mode=\'xtr\'; drop it'),
        (
            {"fusion": "sum", "mode": "bm25"},
            'fusion: needs mode="late" or "hybrid", got mode=\'bm25\'; drop one of the two',
        ),
        (
            {"fusion": "sum", "mode": "xtr"},
            'fusion: needs mode="late" or "hybrid", got mode=\'xtr\'; drop one of the two',
        ),
        (
            {"candidates": 50, "mode": "bm25"},
            'candidates: needs mode="late" or "hybrid" or "pooled", got mode=\'bm25\'; drop one of',
        ),
        (
            {"candidates": 50, "exact": True},
            "candidates: cannot be used with exact, got exact=True; drop one of the two",
        ),
        ({"weights": 3, "mode": "hybrid"}, "weights: must be two numbers of at least 0, not both 0, got 3"),
        ({"weights": ("a", 1), "mode": "hybrid"}, "weights: must be a number, got str"),
        ({"weights": (float("nan"), 1), "mode": "hybrid"}, "weights: must be finite, got nan"),
        ({"weights": (10**400, 1), "mode": "hybrid"}, "weights: must be finite, got 1000"),
        ({"weights": (0, 0), "mode": "hybrid"}, "weights: must be two numbers of at least 0, not both 0, got (0, 0)"),
    ],
)
def test_no_option_is_ignored_in_silence(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}"):
        SearchOptions(**options)


class Explainer:
    def explain(self, query: str, id_: str) -> Any:
        raise ValueError(query, id_)


def test_shards_refuse_the_mode(index: Index) -> None:
    shards = ShardedSearch(LocalShards([index]), index._store.settings, None)
    with pytest.raises(ValueError, match=r'^mode: xtr searches one index, got one in shards; use mode="late"$'):
        shards.search([query()], SearchOptions(mode="xtr"), Explainer())


def test_the_command_line(shell: Shell) -> None:
    shell("index", "corpus.jsonl", "--output", "i.serotine")
    result = shell.json("search", "i.serotine", "late evening", "-k", 2, "--mode", "xtr", "--k-token", 20)
    late = shell.json("search", "i.serotine", "late evening", "-k", 2)
    assert [hit["id"] for hit in result["hits"]] == [hit["id"] for hit in late["hits"]]
    assert (result["mode"], result["k_token"], result["stats"]["plan"]) == ("xtr", 20, "xtr")
    assert "by their vectors" in shell("search", "i.serotine", "late", "--mode", "xtr", "--verbose")
    shell("index", "corpus.jsonl", "--output", "j.serotine")
    both = shell.json("search", "i.serotine", "j.serotine", "late evening", "-k", 3, "--mode", "xtr")
    assert [hit["score"] for hit in both["hits"]] == pytest.approx([1 / 61, 1 / 61, 1 / 62]), "by ranks"
    for options, message in (
        (["--mode", "xtr", "--k-token", 5], "--k-token: must be at least -k (10), got 5; raise it"),
        (["--mode", "xtr", "--exact"], "--exact: needs --mode late or pooled, got --mode xtr"),
        (["--mode", "xtr", "--recall", 0.9], "--recall: needs --mode late or hybrid or pooled, got --mode xtr"),
        (["--k-token", 50], "--k-token: needs --mode xtr, got --mode late"),
    ):
        assert message in shell.fails("search", "i.serotine", "late", *options, status=2)
