"""The engine on a few documents: codebooks, codes, merges and compaction, compared with a model of the documents."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.small_engine import THRESHOLDS, shrink
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from numpy.typing import NDArray

from serotine import Index, maxsim
from serotine.errors import SerotineError
from serotine.index import Mode
from serotine.index.files import SegmentRecord
from serotine.index.growth import kmeans, maintenance, policy, rewrite
from serotine.index.store import filters

DIM = 8
IDS = st.lists(st.integers(0, 40), min_size=1, max_size=8, unique=True)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)


def unit(rng: np.random.Generator, tokens: int, dim: int = DIM) -> NDArray[np.float16]:
    vectors = rng.standard_normal((tokens, dim)).astype(np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


class EngineMachine(RuleBasedStateMachine):
    """A writer and a reader, compared with the documents they must hold; vectors are stored, so nothing is lost."""

    nbits = 4

    @initialize(seed=st.integers(0, 3))
    def start(self, seed: int) -> None:
        self.patched = [(module, name, getattr(module, name)) for module, name, _ in THRESHOLDS]
        shrink()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "x"
        self.writer = Index.create(path, dim=DIM, nbits=self.nbits, filterable={"n": int})
        self.reader = Index.open(path, read_only=True)
        self.documents: dict[str, tuple[NDArray[np.float16], int]] = {}
        self.rng = np.random.default_rng(seed)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.writer.close()
            self.reader.close()
            self.folder.cleanup()
            for module, name, value in self.patched:
                setattr(module, name, value)

    @rule(numbers=IDS, lengths=st.lists(st.integers(0, 6), min_size=8, max_size=8))
    def add(self, numbers: list[int], lengths: list[int]) -> None:
        ids = [f"d{number}" for number in numbers]
        vectors = [unit(self.rng, length) for length in lengths[: len(ids)]]
        self.writer.add(ids=ids, vectors=vectors, metadata=[{"n": n} for n in numbers], upsert=True)
        for id_, number, vector in zip(ids, numbers, vectors, strict=True):
            self.documents.pop(id_, None)
            self.documents[id_] = (vector, number)

    @rule(numbers=IDS)
    def delete(self, numbers: list[int]) -> None:
        ids = [f"d{number}" for number in numbers if f"d{number}" in self.documents]
        self.writer.delete(ids)
        for id_ in ids:
            del self.documents[id_]

    @rule()
    def compact(self) -> None:
        self.writer.compact()
        stats = self.writer.stats()
        assert stats.deleted == 0
        assert stats.tokens == sum(len(vectors) for vectors, _ in self.documents.values())
        assert stats.segments <= 2

    @rule()
    def reopen(self) -> None:
        path = self.writer.path
        self.writer.close()
        self.writer = Index.open(path)
        assert self.writer.verify().stray_files == ()

    @invariant()
    def writer_and_reader_agree_with_the_model(self) -> None:
        if not hasattr(self, "documents"):
            return
        query = unit(self.rng, 3).astype(np.float32)
        ids = list(self.documents)
        scores = dict(zip(ids, maxsim.score(query, [v for v, _ in self.documents.values()]).tolist(), strict=True))
        # Documents without tokens are no hits.
        ranked = sorted((id_ for id_ in ids if scores[id_] > -np.inf), key=lambda id_: -scores[id_])
        matching = [id_ for id_ in ranked if self.documents[id_][1] < 12]
        for index in (self.writer, self.reader):
            assert index.ids() == ids
            for k in (1, 5, 100):
                hits = index.search(query, k=k, exact=True)
                assert [(hit.id, hit.score) for hit in hits] == [(id_, scores[id_]) for id_ in ranked[:k]]
                assert hits.certificate is not None
                assert hits.certificate.exact
                # A search without a proof returns as many hits, with exact scores.
                approximate = index.search(query, k=k)
                assert len(approximate) == min(k, len(ranked))
                assert all(hit.score == scores[hit.id] for hit in approximate)
                filtered = index.search(query, k=k, exact=True, where={"n": {"<": 12}})
                assert [hit.id for hit in filtered] == matching[:k]


TestEngine = EngineMachine.TestCase
TestEngine.settings = settings(max_examples=20, stateful_step_count=25, deadline=None, derandomize=True)


class TwoBits(EngineMachine):
    """The same with two-bit codes."""

    nbits = 2


TestTwoBits = TwoBits.TestCase
TestTwoBits.settings = settings(max_examples=8, stateful_step_count=20, deadline=None, derandomize=True)


def filled(path: Path, documents: int = 60, **settings_: Any) -> tuple[Index, list[NDArray[np.float16]]]:
    rng = np.random.default_rng(5)
    vectors = [unit(rng, int(rng.integers(1, 8))) for _ in range(documents)]
    index = Index.create(path, dim=DIM, **settings_)
    for start in range(0, documents, 7):
        index.add(
            ids=[f"d{i}" for i in range(start, min(start + 7, documents))],
            vectors=vectors[start : start + 7],
            metadata=[{"n": i} for i in range(start, min(start + 7, documents))],
        )
    return index, vectors


def test_a_growing_index_trains_encodes_and_merges(tmp_path: Path) -> None:
    index, vectors = filled(tmp_path / "x")
    with index:
        stats = index.stats()
        assert stats.codebooks >= 1
        assert stats.coded_tokens > stats.tokens / 2
        assert stats.segments < 9
        assert stats.tokens == sum(map(len, vectors))
        files = {path.suffix for path in (tmp_path / "x" / "segments").iterdir()}
        assert files == {".vectors", ".codes", ".codebook"}
        for i, vector in enumerate(vectors):
            np.testing.assert_array_equal(index.vectors(f"d{i}"), vector)
        assert index.verify().codebooks == stats.codebooks


@pytest.mark.parametrize("nbits", [2, 4, 8])
def test_without_stored_vectors_codes_replace_them(tmp_path: Path, nbits: int) -> None:
    index, vectors = filled(tmp_path / "x", keep_vectors=False, nbits=nbits)
    with index:
        index.compact()
        stats = index.stats()
        assert stats.coded_tokens == stats.tokens
        assert {path.suffix for path in (tmp_path / "x" / "segments").iterdir()} == {".codes", ".codebook"}
        errors = [
            np.linalg.norm(index.vectors(f"d{i}").astype(np.float32) - vector.astype(np.float32), axis=1).max()
            for i, vector in enumerate(vectors)
        ]
        assert max(errors) < {2: 0.6, 4: 0.2, 8: 0.05}[nbits]
        query = unit(np.random.default_rng(9), 4).astype(np.float32)
        hits = index.search(query, k=5, exact=True)
        certificate = hits.certificate
        assert certificate is not None
        exact_scores = maxsim.score(query, vectors)
        if certificate.exact:
            assert certificate.undecided == 0
            assert {hit.id for hit in hits} == {f"d{i}" for i in np.argsort(-exact_scores, kind="stable")[:5]}
        else:
            assert certificate.undecided > 0
            assert "keep_vectors=True" in certificate.statement
        outside = [float(exact_scores[i]) for i in range(len(vectors)) if f"d{i}" not in {hit.id for hit in hits}]
        assert certificate.bound >= max(outside)


def test_compaction_without_stored_vectors_changes_no_code(tmp_path: Path) -> None:
    index, _ = filled(tmp_path / "x", keep_vectors=False)
    with index:
        index.delete([f"d{i}" for i in range(0, 60, 3)])
        before = {id_: index.vectors(id_) for id_ in index.ids()}
        head = index.stats().tokens - index.stats().coded_tokens
        index.compact()
        assert index.stats().deleted == 0
        unchanged = sum(np.array_equal(index.vectors(id_), vectors) for id_, vectors in before.items())
        # Only the head was stored as float16 before.
        assert unchanged >= len(before) - head


def test_every_plan_reports_its_stages(tmp_path: Path) -> None:
    index, _ = filled(tmp_path / "x", documents=120)
    query = unit(np.random.default_rng(1), 3).astype(np.float32)
    with index:
        index.compact()
        probed = index.search(query, k=2, candidates=4)
        assert probed.stats.plan == "probe"
        assert 4 <= probed.stats.counts["centroids"] <= 120
        assert probed.stats.counts["codes"] == 4
        assert set(probed.stats.milliseconds) >= {"encode", "centroids", "codes", "vectors", "search", "fetch"}
        direct = index.search(query, k=2, where={"n": {"<": 3}})
        assert direct.stats.plan == "direct"
        assert direct.stats.documents == 3
        assert "centroids" not in direct.stats.counts
        scanned = index.search(query, k=2, where={"n": {"<": 20}}, candidates=4)
        assert scanned.stats.plan == "scan"
        assert scanned.stats.counts["centroids"] == 20
        assert index.search(query, exact=True).stats.plan == "bounds"
        assert len(index.search(query, k=2, where={"n": 1000})) == 0
        empty = index.search(np.empty((0, DIM), np.float32), k=3)
        assert [hit.score for hit in empty] == [0.0, 0.0, 0.0]


def test_any_k_returns_as_many_hits_as_possible(tmp_path: Path) -> None:
    index, vectors = filled(tmp_path / "x", documents=90)
    query = unit(np.random.default_rng(2), 3).astype(np.float32)
    with index:
        index.add(ids=["empty"], vectors=[np.empty((0, DIM), np.float16)])
        for k in (1, 50, 91, 500):
            for where in (None, {"n": {">=": 30}}):
                # The document without tokens is no hit.
                possible = 90 if where is None else 60
                hits = index.search(query, k=k, where=where, candidates=1)
                assert len(hits) == min(k, possible)
        assert "empty" in index
        assert "empty" not in [hit.id for hit in index.search(query, k=91)]
        assert len(vectors) == 90


@pytest.mark.parametrize("keep_vectors", [True, False])
def test_segments_whose_documents_have_no_tokens(tmp_path: Path, *, keep_vectors: bool) -> None:
    empty = np.empty((0, DIM), np.float16)
    query = np.ones((1, DIM), np.float32)
    with Index.create(tmp_path / "x", dim=DIM, keep_vectors=keep_vectors) as index:
        index.add(ids=["full", "empty"], vectors=[np.ones((2, DIM), np.float16), empty])
        index.delete(["full"])
        index.compact()
        for i in range(8):
            index.add(ids=[f"e{i}"], vectors=[empty])
    with Index.open(tmp_path / "x") as index:
        assert index.stats().tokens == 0
        # The same with codes: documents with tokens are encoded, then deleted.
        rng = np.random.default_rng(0)
        index.add(ids=[f"d{i}" for i in range(8)], vectors=[unit(rng, 6) for _ in range(8)])
        assert index.stats().coded_tokens == 48
        index.delete(["d0"])
        stats = index.stats()
        assert (stats.documents, stats.deleted) == (16, 1)
        assert (stats.tokens, stats.coded_tokens, stats.deleted_tokens) == (42, 42, 6)
        assert stats.bytes_per_token == pytest.approx(stats.bytes / 48)
        index.delete([f"d{i}" for i in range(1, 8)])
        assert (index.stats().tokens, index.stats().deleted_tokens) == (0, 48)
        index.compact()
        assert index.stats().deleted_tokens == 0
        index.add(ids=["last"], vectors=[empty])
    with Index.open(tmp_path / "x") as index:
        index.compact()
        assert index.stats().codebooks == 1
        assert index.stats().tokens == 0
        for exact in (False, True):
            assert len(index.search(query, k=20, exact=exact)) == 0
        assert index.vectors("empty").shape == (0, DIM)
        index.verify()


def test_a_segment_that_cannot_be_opened_is_not_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = rewrite.copy

    def corrupt(*arguments: Any, **options: Any) -> SegmentRecord:
        record = copy(*arguments, **options)
        return replace(record, tokens=record.tokens + 1)

    rng = np.random.default_rng(0)
    with Index.create(tmp_path / "x", dim=DIM) as index:
        index.add(ids=["a", "b"], vectors=[unit(rng, 2), unit(rng, 1)])
        index.delete(["b"])
        monkeypatch.setattr(rewrite, "copy", corrupt)
        with pytest.raises(SerotineError, match=r"a new segment cannot be read back .* the index is unchanged"):
            index.compact()
    with Index.open(tmp_path / "x") as index:
        assert index.ids() == ["a"]
        assert index.verify().stray_files == ()


def test_a_batch_equals_single_searches(tmp_path: Path) -> None:
    index, _ = filled(tmp_path / "x")
    rng = np.random.default_rng(3)
    queries = [unit(rng, int(rng.integers(1, 5))).astype(np.float32) for _ in range(9)]
    with index:
        for exact in (False, True):
            batch = index.search_batch(queries, k=4, exact=exact)
            for query, hits in zip(queries, batch, strict=True):
                assert hits.items == index.search(query, k=4, exact=exact).items
        assert index.search_batch([]) == []


def test_tokens_that_fit_the_codebook_badly_get_a_new_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    with Index.create(tmp_path / "x", dim=DIM) as index:
        flat = [np.eye(DIM, dtype=np.float16)[rng.integers(0, 2, 6)] for _ in range(10)]
        index.add(ids=[f"a{i}" for i in range(10)], vectors=flat)
        (first,) = index.search(flat[0], k=1).items
        assert first.score == pytest.approx(6)
        assert index.stats().codebooks == 1
        index.add(ids=[f"b{i}" for i in range(10)], vectors=[unit(rng, 6) for _ in range(10)])
        assert index.stats().codebooks == 2
        index.compact()
        assert index.stats().codebooks == 1
        assert index.stats().segments == 1


def test_compaction_of_two_codebooks_and_a_head_keeps_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    with Index.create(tmp_path / "x", dim=DIM) as index:
        flat = [np.eye(DIM, dtype=np.float16)[rng.integers(0, 2, 6)] for _ in range(10)]
        index.add(ids=[f"a{i}" for i in range(10)], vectors=flat)
        index.add(ids=[f"b{i}" for i in range(10)], vectors=[unit(rng, 6) for _ in range(10)])
        index.add(ids=["c"], vectors=[unit(rng, 1)])
        assert index.stats().codebooks == 2
        # Too few tokens, after deletions, for another codebook.
        monkeypatch.setattr(policy, "FIRST_TRAINING", 1 << 17)
        before = {id_: index.vectors(id_) for id_ in index.ids()}
        index.compact()
        assert index.stats().codebooks == 1
        assert index.stats().segments == 1
    with Index.open(tmp_path / "x") as index:
        assert index.ids() == list(before)
        for id_, vectors in before.items():
            np.testing.assert_array_equal(index.vectors(id_), vectors)
        index.verify()


def test_an_interrupted_stream_resumes(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    vectors = [unit(rng, 4) for _ in range(60)]
    yielded = []

    def stream(stop: int) -> Iterator[dict[str, Any]]:
        for start in range(0, 60, 10):
            if start == stop:
                raise KeyboardInterrupt
            yielded.append(start)
            yield {"ids": [f"d{i}" for i in range(start, start + 10)], "vectors": vectors[start : start + 10]}

    with Index.create(tmp_path / "x", dim=DIM) as index:
        with pytest.raises(KeyboardInterrupt):
            index.add_batches(stream(30), expected_documents=60)
        assert len(index) == 30
    with Index.open(tmp_path / "x") as index:
        assert index.add_batches(stream(99), expected_documents=60) == 30
        assert index.ids() == [f"d{i}" for i in range(60)]
        assert index.add_batches(stream(99)) == 0
        assert index.add_batches(stream(99), upsert=True) == 60
        assert len(index) == 60
        with pytest.raises(ValueError, match="batches: must be dicts with 'ids', got one with 'texts'"):
            index.add_batches([{"texts": ["a"]}])


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ({"ids": ["a", "b"], "texts": "xy"}, TypeError, "texts: must be a list of strings, got str; put it in a list"),
        ({"ids": ["a"], "texts": ["x", "more"]}, ValueError, "texts: must have one value per id, 1, got 2"),
        ({"ids": ["a", "b"], "texts": ["x"]}, ValueError, "texts: must have one value per id, 2, got 1"),
        ({"ids": ["a"], "texts": iter(["x"])}, TypeError, "texts: must be a list of strings, got list_iterator"),
    ],
)
@pytest.mark.parametrize("existing", [[], ["a"]])
def test_a_batch_is_checked_before_existing_documents_are_skipped(
    tmp_path: Path, batch: dict[str, Any], error: type[Exception], message: str, existing: list[str]
) -> None:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        index.add(existing, ["there"] * len(existing))
        with pytest.raises(error, match=re.escape(message)):
            index.add_batches([batch])
        assert index.ids() == existing


def test_one_value_and_a_dict_are_no_list(tmp_path: Path) -> None:
    one_dict = "metadata: must be a list of dicts, one per id, got dict; put it in a list"
    of_dict = "got dict; pass list(...) of its keys, or of its values"
    calls: list[tuple[Callable[[Index], object], str]] = [
        (lambda index: index.add(["a"], ["x"], metadata={"lang": "en"}), one_dict),
        # As many fields as ids: its keys must not be taken.
        (lambda index: index.update_metadata(["b", "c"], {"lang": "en", "year": 2020}), one_dict),
        (lambda index: index.update_metadata(["b"], None), "metadata: must be a list of dicts, one per id, got None"),
        (lambda index: index.add(["a"], {"a": "x"}), f"texts: must be a list of strings, {of_dict}"),
        (lambda index: index.add(["a"], vectors={"a": np.eye(DIM)}), f"vectors: must be a list of arrays, {of_dict}"),
        (lambda index: index.add({"a": "x"}, ["x"]), f"ids: must be a list of strings, {of_dict}"),
        (lambda index: index.add(["a"], 5), "texts: must be a list of strings, got int"),
        (lambda index: index.search_batch({"q": "x"}), f"queries: must be a list of strings or arrays, {of_dict}"),
        (lambda index: index.tune({"q": "x"}), f"queries: must be a list of strings or arrays, {of_dict}"),
        (
            lambda index: index.add_batches({"ids": ["a"], "texts": ["x"]}),
            "batches: must be a list of dicts, got dict; put it in a list",
        ),
    ]
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        index.add(["b", "c"], ["there", "too"])
        for call, message in calls:
            with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
                call(index)
        assert index.ids() == ["b", "c"]


def test_a_batch_may_be_one_array(tmp_path: Path) -> None:
    vectors = unit(np.random.default_rng(0), 12).reshape(3, 4, DIM)
    with Index.create(tmp_path / "x", dim=DIM) as index:
        index.add(["b"], vectors=vectors[1:2])
        assert index.add_batches([{"ids": ["a", "b", "c"], "vectors": vectors, "texts": None}]) == 2
        for id_, vector in zip("abc", vectors, strict=True):
            np.testing.assert_array_equal(index.vectors(id_), vector)


def test_a_stream_shorter_than_expected_is_compressed(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    with Index.create(tmp_path / "x", dim=DIM) as index:
        batches = [{"ids": [f"d{i}"], "vectors": [unit(rng, 8)]} for i in range(6)]
        assert index.add_batches(batches, expected_documents=10**6) == 6
        assert index.stats().coded_tokens == 48


def test_a_filter_applies_to_lexical_search(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        index.add(ids=["a", "b"], texts=["bat", "bat owl"], metadata=[{"n": 1}, {"n": 2}])
        hits = index.search("bat", mode="bm25", where={"n": 2})
        assert [hit.id for hit in hits] == ["b"]
        assert hits.stats.documents == 1


@pytest.mark.parametrize("mode", ["late", "bm25", "hybrid"])
def test_numpy_integers_are_accepted(tmp_path: Path, mode: Mode) -> None:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        index.add(ids=["a", "b"], texts=["bat", "bat owl"])
        count: Any = np.int64(1)
        # BM25 has no candidates.
        candidates = None if mode == "bm25" else count
        assert [hit.id for hit in index.search("bat owl", k=count, mode=mode, candidates=candidates)] == ["b"]


def test_a_full_disk_while_compressing_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    rng = np.random.default_rng(7)
    vectors = [unit(rng, 6) for _ in range(10)]
    with Index.create(tmp_path / "x", dim=DIM) as index:
        with monkeypatch.context() as patched:
            patched.setattr(maintenance.rewrite, "encode", full)
            with pytest.warns(UserWarning, match=r"documents are stored, but could not be compressed .*No space left"):
                index.add(ids=[f"d{i}" for i in range(10)], vectors=vectors)
        assert len(index) == 10
        assert index.stats().coded_tokens == 0
        index.add(ids=["later"], vectors=[unit(rng, 1)])
        assert index.stats().coded_tokens == 61


def test_an_explicit_number_of_centroids(tmp_path: Path) -> None:
    index, _ = filled(tmp_path / "x", centroids=5)
    with index:
        assert index.stats().centroids == 5
    for centroids in (0, 1 << 21, True, 2.5):
        with pytest.raises((TypeError, ValueError), match="centroids: must be an int from 1"):
            Index.create(tmp_path / "y", dim=DIM, centroids=centroids)
    for nbits in (3, 16, "4"):
        with pytest.raises(ValueError, match="nbits: must be one of 2, 4, 8"):
            Index.create(tmp_path / "y", dim=DIM, nbits=nbits)


def test_declared_fields_are_checked_and_indexed(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", dim=DIM, filterable={"year": int}) as index:
        with pytest.raises(TypeError, match=r"metadata\[0\]\['year'\]"):
            index.add(ids=["a"], vectors=[unit(np.random.default_rng(0), 1)], metadata=[{"year": "2020"}])
        assert len(index) == 0
        with pytest.raises(TypeError, match="year"):
            index.search(np.ones((1, DIM), np.float32), where={"year": "2020"})
        with pytest.raises(TypeError, match="where: must be a dict"):
            index.search(np.ones((1, DIM), np.float32), where="year")  # type: ignore[arg-type]
        assert index.stats().filterable == filters.check_filterable({"year": int})


def test_training_has_few_steps() -> None:
    assert kmeans.STEPS < 10
