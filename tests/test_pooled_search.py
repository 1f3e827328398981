"""Mode "pooled" against NumPy: MaxSim per query token plus the weighted similarity of the pooled vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import DenseEncoder, WordEncoder
from helpers.local_shards import LocalShards
from helpers.small_engine import THRESHOLDS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import Index
from serotine.errors import EmptyTextWarning
from serotine.index import SearchOptions, ShardedSearch, search_several
from serotine.index.search import pooled as pooled_search

ENCODER = DenseEncoder()
QUERY = "bat 12 of the barn"
TEXTS = {f"d{i}": f"bat {i} of the {('barn', 'cave', 'loft')[i % 3]} w{i % 7} {i * i}" for i in range(60)}
METADATA = {id_: {"place": text.split()[4], "even": int(id_[1:]) % 2 == 0} for id_, text in TEXTS.items()}


def reference(texts: Mapping[str, str], weights: tuple[float, float], query: str = QUERY) -> dict[str, float]:
    """Return the score of every document, best first."""
    (tokens,), pooled = ENCODER.encode_queries([query]), ENCODER.encode_pooled([query], query=True)[0]
    documents = [rows.astype(np.float16).astype(np.float32) for rows in ENCODER.encode_documents(list(texts.values()))]
    vectors = ENCODER.encode_pooled(list(texts.values()), query=False).astype(np.float16).astype(np.float32)
    late = np.array([(tokens @ rows.T).max(axis=1).sum() / len(tokens) for rows in documents])
    scores = weights[0] * late + weights[1] * (vectors @ pooled)
    return {id_: float(score) for score, id_ in sorted(zip(scores, texts, strict=True), key=lambda pair: -pair[0])}


def check(hits: Any, expected: Mapping[str, float], start: int = 0, end: int | None = None) -> None:
    """Compare hits with the reference; equal scores may be in any order."""
    scores = list(expected.values())[start:end]
    assert [hit.score for hit in hits] == pytest.approx(scores, abs=2e-5)
    assert {hit.id: hit.score for hit in hits} == pytest.approx({hit.id: expected[hit.id] for hit in hits}, abs=2e-5)


def build(path: Path, **options: Any) -> Index:
    """Return an index of several segments with codes and a head, and tombstones; "d3" and "d4" are deleted."""
    index = Index.create(path, encoder=ENCODER, pooled=True, filterable={"even": bool}, **options)
    ids = list(TEXTS)
    for start in range(0, 60, 7):
        part = ids[start : start + 7]
        index.add(part, [TEXTS[id_] for id_ in part], metadata=[METADATA[id_] for id_ in part])
    index.delete(["d3", "d4"])
    return index


LIVE = {id_: text for id_, text in TEXTS.items() if id_ not in ("d3", "d4")}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    patch = pytest.MonkeyPatch()
    for module, attribute, value in THRESHOLDS:
        patch.setattr(module, attribute, value)
    with build(tmp_path_factory.mktemp("pooled") / "x") as index:
        stats = index.stats()
        assert stats.segments > 1
        assert stats.coded_tokens > 0
        yield index
    patch.undo()


@pytest.mark.parametrize("weights", [(1, 0), (1, 0.1), (0.3, 2), (0, 1), (0, 0.5)])
@pytest.mark.parametrize("first_stage", [None, "tokens", "pooled"])
def test_scores_equal_numpy_where_candidates_cover_everything(
    index: Index, weights: tuple[float, float], first_stage: Any
) -> None:
    options: dict[str, Any] = {"mode": "pooled", "weights": weights, "first_stage": first_stage}
    hits = index.search(QUERY, k=60, candidates=60, **options)
    check(hits, reference(LIVE, weights))
    late = reference(LIVE, (1, 0))
    assert {hit.id: hit.score_per_token for hit in hits} == pytest.approx(late, abs=2e-5)
    check(index.search(QUERY, k=3, candidates=60, offset=2, **options), reference(LIVE, weights), 2, 5)
    cave = {id_: text for id_, text in LIVE.items() if "cave" in text}
    check(index.search(QUERY, k=60, candidates=60, where={"place": "cave"}, **options), reference(cave, weights))
    batch = index.search_batch([QUERY, "owl w3", QUERY], k=60, candidates=60, **options)
    check(batch[1], reference(LIVE, weights, "owl w3"))
    assert list(batch[0]) == list(batch[2]) == list(hits)


@given(
    weights=st.tuples(st.floats(0, 4), st.floats(0, 4)).filter(any),
    k=st.integers(1, 12),
    words=st.lists(st.sampled_from(["bat", "12", "barn", "cave", "w3", "owl", "25", "of"]), min_size=1, max_size=6),
    even=st.sampled_from([None, True]),
)
@settings(max_examples=60, deadline=None)
def test_exact_searches_find_the_best(
    index: Index, weights: tuple[float, float], k: int, words: list[str], even: bool | None
) -> None:
    pooled_search._MIN_BOUNDED, before = 2, pooled_search._MIN_BOUNDED
    try:
        query = " ".join(words)
        where = None if even is None else {"even": even}
        documents = {id_: text for id_, text in LIVE.items() if even is None or METADATA[id_]["even"]}
        hits = index.search(query, k, mode="pooled", weights=weights, exact=True, where=where)
    finally:
        pooled_search._MIN_BOUNDED = before
    check(hits, reference(documents, weights, query), end=k)
    assert hits.certificate is not None
    assert hits.certificate.exact
    assert hits.certificate.kth_score == pytest.approx(hits[-1].score)
    assert hits.certificate.bound <= hits[-1].score + 1e-6


def test_the_late_ranking_is_deepened_until_the_hits_are_proved(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooled_search, "_MIN_BOUNDED", 2)
    monkeypatch.setattr(pooled_search, "_CANDIDATES_PER_HIT", 1)
    monkeypatch.setattr(pooled_search, "_SCORED_AT_ONCE", 1)
    weights = (1.0, 0.5)
    hits = index.search(QUERY, k=8, mode="pooled", weights=weights, exact=True)
    check(hits, reference(LIVE, weights), end=8)
    assert 0 < hits.stats.counts["maxsim"] < len(LIVE)
    # Without its similarities, none beyond the late ranking is needed.
    assert "maxsim" not in index.search(QUERY, k=8, mode="pooled", weights=(1, 0)).stats.counts


def test_first_stages_take_their_candidates(index: Index) -> None:
    by_late, by_vectors = list(reference(LIVE, (1, 0))), list(reference(LIVE, (0, 1)))
    hits = {
        first_stage: index.search(
            QUERY, k=60, mode="pooled", weights=(1, 1), first_stage=first_stage, candidates=6, where={"even": True}
        )
        for first_stage in ("tokens", "pooled", None)
    }
    even = [id_ for id_ in by_late if METADATA[id_]["even"]], [id_ for id_ in by_vectors if METADATA[id_]["even"]]
    ids = {first_stage: {hit.id for hit in found} for first_stage, found in hits.items()}
    # As many candidates as hits at least.
    assert len(ids["pooled"]) == len(even[1])
    hits = {
        first_stage: index.search(QUERY, k=2, mode="pooled", weights=(1, 1), first_stage=first_stage, candidates=6)
        for first_stage in ("tokens", "pooled", None)
    }
    assert hits["pooled"].stats.plan == "pooled + maxsim"
    assert hits["pooled"].stats.counts["maxsim"] == 6
    assert hits["pooled"].stats.counts["pooled"] == len(LIVE)
    assert {hit.id for hit in hits["pooled"]} <= set(by_vectors[:6])
    assert {hit.id for hit in hits["tokens"]} <= set(by_late[:6])
    assert "maxsim" not in hits["tokens"].stats.counts
    assert hits["tokens"].stats.plan.endswith(" + pooled")
    assert {hit.id for hit in hits[None]} <= {*by_late[:6], *by_vectors[:12]}
    alone = index.search(QUERY, k=2, mode="pooled", weights=(0, 1))
    assert (alone.stats.plan, alone.stats.tokens) == ("pooled", 0)
    assert [hit.id for hit in alone] == by_vectors[:2]


def test_weights_of_the_index(tmp_path: Path) -> None:
    with build(tmp_path / "x") as index, Index.open(tmp_path / "x", read_only=True, encoder=ENCODER) as reader:
        check(reader.search(QUERY, k=5, mode="pooled", exact=True), reference(LIVE, (1, 0.1)), end=5)
        index.set_pooled_weights(0.5, 2)
        check(reader.search(QUERY, k=5, mode="pooled", exact=True), reference(LIVE, (0.5, 2)), end=5)
        given_weights = reader.search(QUERY, k=5, mode="pooled", exact=True, weights=(0, 1))
        check(given_weights, reference(LIVE, (0, 1)), end=5)
        index.compact()
        check(reader.search(QUERY, k=60, mode="pooled"), reference(LIVE, (0.5, 2)))


def test_groups_and_lowest_scores(index: Index) -> None:
    late = reference(LIVE, (1, 0))
    lowest = list(late.values())[10]
    hits = index.search(QUERY, k=60, mode="pooled", weights=(1, 1), min_score=lowest - 1e-6)
    assert {hit.id for hit in hits} == set(list(late)[:11])
    hits = index.search(QUERY, k=60, mode="pooled", weights=(0, 1), min_score=lowest - 1e-6)
    assert {hit.id for hit in hits} == set(list(late)[:11])
    grouped = index.search(QUERY, k=5, mode="pooled", weights=(1, 1), group_by="document")
    check(grouped, reference(LIVE, (1, 1)), end=5)


def test_groups_are_the_best_passages(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", encoder=ENCODER, pooled=True) as index:
        ids = [f"{'abc'[i % 3]}#{i // 3 + 1}" for i in range(30)]
        texts = {id_: f"bat {i} w{i % 5}" for i, id_ in enumerate(ids)}
        metadata = [{"document": id_[0], "start": 0, "end": 5} for id_ in ids]
        index.add(ids, list(texts.values()), metadata=metadata)
        for first_stage in ("tokens", "pooled", None):
            hits = index.search(
                "bat w3", k=3, mode="pooled", group_by="document", first_stage=first_stage, candidates=3
            )
            assert sorted(hit.document for hit in hits) == ["a", "b", "c"]


@pytest.mark.parametrize("keep_vectors", [True, False])
def test_vectors_of_the_caller_and_documents_without_tokens(tmp_path: Path, keep_vectors: bool) -> None:
    rows = np.array([[1, 0], [0, 1], [0.5, 0.5], [0, 0], [-1, 0]], dtype=np.float32)
    tokens: list[NDArray[np.float32]] = [np.eye(3, dtype=np.float32)[:n] for n in (1, 2, 0, 3, 1)]
    query = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
    with Index.create(tmp_path / "x", dim=3, pooled=2, keep_vectors=keep_vectors) as index:
        index.add(list("abcde"), vectors=tokens, pooled=rows)
        one = {"mode": "pooled", "pooled": np.array([2.0, 1.0])}
        # Neither the document without a pooled vector, nor, where MaxSim counts, the one without tokens.
        alone = [(hit.id, hit.score) for hit in index.search(query, weights=(0, 1), **one)]
        assert alone == [("a", 2), ("c", 1.5), ("b", 1), ("e", -2)]
        summed = index.search(query, weights=(1, 0.5), exact=True, **one)
        assert [(hit.id, hit.score) for hit in summed] == [("a", 1.5), ("b", 1.5), ("d", 1), ("e", -0.5)]
        assert summed.certificate is not None
        assert summed.certificate.exact
        for message, options in {
            "needed in the mode 'pooled', because this index has no model": {"mode": "pooled"},
            r"pooled: must have shape \(2,\), got \(3,\)": {"mode": "pooled", "pooled": np.ones(3)},
            "pooled: must be finite": {"mode": "pooled", "pooled": np.array([np.nan, 1])},
            "pooled: contains values beyond float16": {"mode": "pooled", "pooled": np.array([1e36, 1])},
            "pooled: needs the mode 'pooled', got 'late'": {"pooled": np.ones(2)},
        }.items():
            with pytest.raises(ValueError, match=message):
                index.search(query, **options)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="pooled: must be floats"):
            index.search(query, mode="pooled", pooled=np.ones(2, dtype=int))
        with pytest.raises(ValueError, match="pooled: must have one vector per query, 1, got 2"):
            index.search_batch([query], mode="pooled", pooled=np.ones((2, 2)))
        assert index.search_batch([], mode="pooled", pooled=[]) == []
        summed = index.search(query, mode="pooled", pooled=np.ones(2), weights=(1, 0.5))
        weights: Any = np.array([1, 0.5])
        assert list(index.search(query, mode="pooled", pooled=np.ones(2), weights=weights)) == list(summed)


def test_words_and_vectors_as_queries(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", encoder=WordEncoder(16, "w"), pooled=DenseEncoder(8)) as index:
        with pytest.warns(EmptyTextWarning):
            index.add(["a", "b", "c"], ["an owl", "a bat", ""])
        (tokens,) = WordEncoder(16, "w").encode_queries(["a bat"])
        pooled = DenseEncoder(8).encode_pooled(["a bat"], query=True)
        given_vectors = index.search(tokens, mode="pooled", pooled=pooled[0] * 7)
        by_text = index.search("a bat", mode="pooled")
        assert [hit.id for hit in by_text] == ["b", "a"]
        assert [hit.score for hit in given_vectors] == pytest.approx([hit.score for hit in by_text])
        with pytest.raises(ValueError, match="because a query is given as vectors"):
            index.search(tokens, mode="pooled")
        assert len(index.search("a bat", mode="pooled", weights=(0, 1))) == 2


def test_codes_without_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, attribute, value in THRESHOLDS:
        monkeypatch.setattr(module, attribute, value)
    with build(tmp_path / "x", keep_vectors=False, nbits=8) as index:
        index.compact()
        hits = index.search(QUERY, k=60, mode="pooled", weights=(1, 0.5), exact=True)
        expected = reference(LIVE, (1, 0.5))
        assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=0.05)
        assert hits.certificate is not None
        assert not hits.certificate.exact
        assert "vectors are not stored" in hits.certificate.statement


def test_several_indexes_are_merged_by_rank(index: Index, tmp_path: Path) -> None:
    with Index.create(tmp_path / "y", encoder=ENCODER, pooled=True) as other:
        other.add(["x"], ["bat 12"])
        merged = search_several([index, other], QUERY, SearchOptions(3, mode="pooled", weights=(1, 3))).merged
        assert {hit.score for hit in merged[:2]} == {1 / 61}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"first_stage": "tokens"}, ValueError, "first_stage: needs mode=\"pooled\", got mode='late'"),
        ({"mode": "pooled", "first_stage": "late"}, ValueError, "first_stage: must be one of"),
        ({"mode": "pooled", "weights": (-1, 1)}, ValueError, "weights: must be two numbers of at least 0"),
        ({"mode": "pooled", "weights": (0, 0)}, ValueError, "weights: must be two numbers"),
        ({"mode": "pooled", "weights": (1, np.nan)}, ValueError, "weights"),
        ({"mode": "pooled", "weights": "ab"}, ValueError, "weights"),
        (
            {"mode": "pooled", "exact": True, "first_stage": "pooled"},
            ValueError,
            "first_stage: cannot be used with",
        ),
        ({"mode": "pooled", "exact": True, "candidates": 5}, ValueError, "candidates: cannot be used with exact"),
        ({"mode": "pooled", "recall": 0.9, "first_stage": "pooled"}, ValueError, "recall: is of the late search"),
        ({"mode": "pooled", "weights": (1, 1e300)}, ValueError, "weights: must be at most 1,000,000,000"),
        ({"mode": "pooled", "fusion": "sum"}, ValueError, "fusion: needs"),
        ({"mode": "pooled", "k_token": 100}, ValueError, "k_token: needs"),
        ({"mode": "late", "weights": (1, 1)}, ValueError, 'weights: needs mode="hybrid" or "pooled"'),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SearchOptions(**options)


class Explainer:
    def explain(self, query: str, id_: str) -> Any:
        raise ValueError(query, id_)


def test_shards_refuse_the_mode(index: Index) -> None:
    shards = ShardedSearch(LocalShards([index]), index._store.settings, None)
    (tokens,) = ENCODER.encode_queries([QUERY])
    with pytest.raises(ValueError, match=r'^mode: pooled searches one index, got one in shards; use mode="late"$'):
        shards.search([tokens], SearchOptions(mode="pooled"), Explainer())


def test_an_index_without_pooled_vectors(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", encoder=ENCODER) as index:
        index.add(["a"], ["a bat"])
        with pytest.raises(ValueError, match=r"mode: pooled needs pooled vectors, and .*x stores none; create it with"):
            index.search("bat", mode="pooled")
