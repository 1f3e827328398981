"""Searches of shards answer like one index, say what they left out, and prove what they claim."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from helpers.fakes import ShortEncoder, WordEncoder
from helpers.local_shards import LocalShards
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serotine.errors import PartialResultWarning, SerotineError, ShardUnavailableError, UnknownFieldWarning
from serotine.index import Hits, Index, SearchOptions, ShardedSearch

WORDS = [
    "bat", "bats", "moth", "night", "flies", "wing", "cave", "echo", "the", "of", "serotine", "roost",
    "fledermaus", "fledermäuse", "nacht", "猫", "東京都", "夜の猫",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)
QUERY = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)


@dataclass
class Explainer:
    def explain(self, query: str, id_: str) -> Any:
        raise ValueError(query, id_)


EXPLAINER = Explainer()


def split(count: int, shards: Sequence[int]) -> list[list[int]]:
    return [[i for i in range(len(shards)) if shards[i] == shard] for shard in range(count)]


class Collections:
    """Documents in one index, and in shards."""

    def __init__(
        self,
        folder: Path,
        documents: Sequence[tuple[str, dict[str, Any]]],
        placement: Sequence[int],
        count: int,
        encoder: Any,
        **options: Any,
    ) -> None:
        self.stack = ExitStack()
        owned = split(count, placement)
        # One index answers as if the shards were added one after the other.
        self.one = self.create(folder / "one", encoder, documents, [i for shard in owned for i in shard], options)
        indexes = [
            self.create(folder / f"shard{shard}", encoder, documents, numbers, options)
            for shard, numbers in enumerate(owned)
        ]
        self.shards = LocalShards(indexes)
        self.indexes = indexes
        self.sharded = ShardedSearch(self.shards, self.one._store.settings, encoder)

    def create(
        self,
        path: Path,
        encoder: Any,
        documents: Sequence[tuple[str, dict[str, Any]]],
        numbers: list[int],
        options: Any,
    ) -> Index:
        index = self.stack.enter_context(Index.create(path, encoder=encoder, filterable={"year": int}, **options))
        if numbers:
            index.add(
                ids=[f"d{i}" for i in numbers],
                texts=[documents[i][0] for i in numbers],
                metadata=[documents[i][1] for i in numbers],
            )
        # Tombstones count in BM25 until they are compacted, in one index and in shards.
        if gone := [f"d{i}" for i in numbers if documents[i][1].get("gone")]:
            index.delete(gone)
        return index

    def search(self, query: Any, **options: Any) -> Hits:
        return self.sharded.search([query], SearchOptions(**options), EXPLAINER)[0]


def facts(hits: Hits) -> list[tuple[Any, ...]]:
    return [(hit.id, hit.score, hit.score_per_token, hit.text, hit.metadata, hit.other_passages) for hit in hits]


METADATA = st.fixed_dictionaries(
    {"year": st.integers(2000, 2003), "document": st.sampled_from(["one", "two", "three"])},
    optional={"gone": st.just(True)},
)
OPTIONS = st.one_of(
    st.fixed_dictionaries({"mode": st.just("late"), "exact": st.booleans()}),
    st.fixed_dictionaries({"mode": st.just("bm25")}),
    st.fixed_dictionaries(
        {
            "mode": st.just("hybrid"),
            "fusion": st.sampled_from(["rrf", "sum"]),
            "weights": st.sampled_from([None, (0.3, 1.0), (1.0, 0.0)]),
        }
    ),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    documents=st.lists(st.tuples(TEXT, METADATA), min_size=1, max_size=24),
    count=st.integers(1, 4),
    data=st.data(),
)
def test_shards_answer_like_one_index(
    documents: list[tuple[str, dict[str, Any]]], count: int, data: st.DataObject
) -> None:
    placement = data.draw(st.lists(st.integers(0, count - 1), min_size=len(documents), max_size=len(documents)))
    with TemporaryDirectory() as folder:
        with pytest.MonkeyPatch.context() as patch:
            # Nothing here is about power cuts.
            patch.setattr("os.fsync", lambda _: None)
            collections = Collections(Path(folder), documents, placement, count, WordEncoder())
        with collections.stack:
            for query in data.draw(st.lists(QUERY, min_size=1, max_size=4)):
                options: dict[str, Any] = {
                    **data.draw(OPTIONS),
                    "k": data.draw(st.integers(1, 8)),
                    "offset": data.draw(st.integers(0, 3)),
                    "where": data.draw(st.sampled_from([None, {"year": {">": 2001}}, {"year": 2000}])),
                    "group_by": data.draw(st.sampled_from([None, "document"])),
                }
                if options["mode"] != "bm25":
                    options["min_score"] = data.draw(st.sampled_from([None, 0.2, 0.6]))
                expected = collections.one.search(query, **options)
                hits = collections.search(query, **options)
                assert facts(hits) == facts(expected)
                assert hits.partial is None
                assert hits.warnings == expected.warnings == ()
                assert hits.stats.documents == expected.stats.documents
                assert hits.stats.below_min_score == expected.stats.below_min_score
                assert hits.stats.best_score_per_token == expected.stats.best_score_per_token
                if options.get("exact"):
                    assert hits.certificate is not None
                    assert hits.certificate.exact
                    assert hits.certificate.bound <= hits.certificate.kth_score


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Collections]:
    documents = [(f"{WORDS[i % 10]} {WORDS[(i * 7) % 12]} n{i}", {"year": 2000 + i % 4}) for i in range(40)]
    collections = Collections(tmp_path, documents, [i * 5 % 4 for i in range(40)], 4, WordEncoder())
    with collections.stack:
        yield collections


MODES: list[dict[str, Any]] = [
    {"mode": "late"}, {"mode": "late", "exact": True}, {"mode": "bm25"}, {"mode": "hybrid"},
    {"mode": "late", "k": 300}, {"mode": "hybrid", "min_score": 0.1}, {"mode": "late", "group_by": "document"},
]  # fmt: skip
METHODS = {"word_statistics", "rank", "rows", "late_scores"}


@pytest.mark.parametrize("options", MODES, ids=str)
@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_shard_that_fails_at_any_request_is_left_out_of_the_whole_answer(
    four: Collections, options: dict[str, Any], method: str
) -> None:
    complete = four.search("bat cave", **options)
    four.shards.failing[2] = method
    four.shards.calls.clear()
    with pytest.warns(PartialResultWarning) if method in used(four, options) else nothing():
        hits = four.search("bat cave", **options)
    if method not in used(four, options):
        assert facts(hits) == facts(complete)
        return
    assert hits.partial is not None
    assert (hits.partial.searched, hits.partial.missing) == ((0, 1, 3), (2,))
    assert "only 3 of 4 shards were searched, not shard 2 (down)" in str(hits.warnings[0])
    lost = set(four.indexes[2])
    assert hits
    assert not lost.intersection(hit.id for hit in hits)
    assert [hit.id for hit in hits][:1] == [hit.id for hit in complete if hit.id not in lost][:1]


def used(four: Collections, options: dict[str, Any]) -> set[str]:
    """The requests that a search sends to every shard, as shard 2 has hits of it."""
    calls, four.shards.calls = four.shards.calls, []
    failing, four.shards.failing = four.shards.failing, {}
    hits = four.search("bat cave", **options)
    sent, four.shards.calls, four.shards.failing = set(four.shards.calls), calls, failing
    assert set(four.indexes[2]).intersection(hit.id for hit in hits)
    return sent


def nothing() -> ExitStack:
    return ExitStack()


def test_a_late_search_is_one_round_and_bm25_two(four: Collections) -> None:
    for options, expected in (
        ({"mode": "late"}, ["rank"]),
        ({"mode": "bm25"}, ["word_statistics", "rank"]),
        ({"mode": "late", "exact": True, "where": {"year": 2001}}, ["rank"]),
    ):
        four.shards.calls.clear()
        four.search("bat cave", **options)  # type: ignore[arg-type]
        assert four.shards.calls == expected


def test_a_certificate_covers_the_shards_that_were_searched(four: Collections) -> None:
    complete = four.search("bat cave", exact=True).certificate
    assert complete is not None
    assert complete.exact
    assert complete.exact_among_searched is None
    assert complete.statement.startswith("Exact: 40 of 40 documents of 4 shards were scored")
    four.shards.down.add(1)
    with pytest.warns(PartialResultWarning):
        hits = four.search("bat cave", k=3, exact=True)
    certificate = hits.certificate
    assert certificate is not None
    assert (certificate.exact, certificate.exact_among_searched) == (False, True)
    assert certificate.bound == math.inf
    assert certificate.statement.startswith(
        "Not proved for the whole index: only 3 of 4 shards were searched, not shard 1 (down). "
        "Of the shards searched: Exact:"
    )
    # Any other document of the shards searched scores at most as much as the last hit.
    everything = four.one.search("bat cave", k=40)
    rest = [hit.score for hit in everything if hit.id not in {*four.indexes[1], *(hit.id for hit in hits)}]
    assert max(rest) <= certificate.kth_score == hits[-1].score


def test_without_any_shard_there_is_no_answer(four: Collections) -> None:
    four.shards.down.update(range(4))
    with pytest.raises(ShardUnavailableError, match=r"local: none of its 4 shards answered, shard 0 because: down; "):
        four.search("bat cave")


def test_a_proof_needs_more_than_the_hits_of_shards(tmp_path: Path) -> None:
    """Coded segments: the certificate of every shard is composed; without vectors, scores are estimates."""
    rng = np.random.default_rng(7)
    vectors = [rng.standard_normal((40, 16)).astype(np.float32) for _ in range(7000)]
    vectors = [array / np.linalg.norm(array, axis=1, keepdims=True) for array in vectors]
    for keep_vectors in (True, False):
        stack = ExitStack()
        with stack:
            indexes = []
            for shard in range(2):
                path = tmp_path / f"{keep_vectors}{shard}"
                index = stack.enter_context(Index.create(path, dim=16, keep_vectors=keep_vectors, centroids=64))
                numbers = range(shard, 7000, 2)
                index.add_batches(
                    [{"ids": [f"d{i}" for i in numbers], "vectors": [vectors[i] for i in numbers]}],
                    expected_documents=3500,
                )
                index.compact()
                indexes.append(index)
            sharded = ShardedSearch(LocalShards(indexes), indexes[0]._store.settings)
            query = vectors[3][:6]
            hits = sharded.search([query], SearchOptions(k=5, exact=True), EXPLAINER)[0]
            certificate = hits.certificate
            assert certificate is not None
            own = [index.search(query, k=5, exact=True).certificate for index in indexes]
            assert certificate.bound >= max(one.bound for one in own if one is not None)
            if keep_vectors:
                scores = {
                    f"d{i}": float((query @ vectors[i].astype(np.float16).T).max(axis=1).sum()) for i in range(7000)
                }
                best = sorted(scores, key=scores.__getitem__, reverse=True)[:5]
                assert [hit.id for hit in hits] == best
                assert certificate.exact
                assert certificate.bound <= certificate.kth_score
                others = max(score for id_, score in scores.items() if id_ not in best)
                assert others <= certificate.bound + 1e-3
            else:
                assert not certificate.exact
                # Five hits of one shard are left out, whatever the bounds of the codes prove.
                assert certificate.undecided >= 5
                assert certificate.statement.startswith("Not proved: vectors are not stored")


def test_a_field_is_unknown_only_where_no_shard_has_it(tmp_path: Path) -> None:
    documents = [("bat", {"color": "red"}), ("bat night", {"size": 3})]
    collections = Collections(tmp_path, documents, [0, 1], 3, WordEncoder())
    with collections.stack:
        assert [hit.id for hit in collections.search("bat", where={"color": "red"})] == ["d0"]
        assert collections.search("bat", where={"color": "blue"}).warnings == ()
        with pytest.warns(UnknownFieldWarning, match=r"no document has the field 'colour'.*did you mean 'color'\?"):
            collections.search("bat", where={"colour": "red"})
        with pytest.warns(UnknownFieldWarning, match=r"no document has text in the field 'size', but values such as 3"):
            collections.search("bat", where={"size": "big"})


def both(collections: Collections, query: str) -> tuple[Hits, Hits]:
    return collections.one.search(query, k=9), collections.search(query, k=9)


def test_what_the_encoder_does_not_know_is_searched_by_words_in_shards_too(tmp_path: Path) -> None:
    documents = [(f"quq{i} qux" if i % 3 else "bat night", {}) for i in range(9)]
    with pytest.warns(UserWarning, match="outside the vocabulary"):
        collections = Collections(tmp_path, documents, [i % 2 for i in range(9)], 2, ShortEncoder())
    with collections.stack:
        for query in ("qux quq1", "night bat"):
            with pytest.warns(UserWarning, match="outside the vocabulary"):
                expected, hits = both(collections, query)
            assert facts(hits) == facts(expected)
            assert list(map(str, hits.warnings)) == list(map(str, expected.warnings))


def test_documents_replaced_during_a_search_are_searched_again(
    four: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = four.shards.call
    replaced: list[str] = []

    def replacing(method: str, arguments: Any) -> Any:
        if method == "rows" and len(replaced) < 2:
            victim = four.search("bat cave", k=1)[0]
            index = next(index for index in four.indexes if victim.id in index)
            index.add(ids=[victim.id], texts=["bat cave again"], upsert=True)
            replaced.append(victim.id)
            index.compact()
        return call(method, arguments)

    monkeypatch.setattr(four.shards, "call", replacing)
    hits = four.search("bat cave", mode="hybrid", k=3)
    assert len(replaced) == 2
    assert len({hit.id for hit in hits}) == 3
    assert hits[0].text == "bat cave again"


def test_a_shard_rewritten_at_every_request_is_an_error(four: Collections, monkeypatch: pytest.MonkeyPatch) -> None:
    call = four.shards.call

    def losing(method: str, arguments: Any) -> Any:
        replies = call(method, arguments)
        if method == "rows":
            for documents in replies.answers.values():
                documents.rows.clear()
        return replies

    monkeypatch.setattr(four.shards, "call", losing)
    with pytest.raises(SerotineError, match=re.escape("local: the index is rewritten faster than it can be read")):
        four.search("bat cave", mode="hybrid")
