"""The public interface of an index: add, search, delete, reopen, and every error."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import Index
from serotine.errors import (
    DuplicateIdError,
    EmptyTextWarning,
    EncoderError,
    IndexDamagedError,
    IndexExistsError,
    IndexLockedError,
    NotAnIndexError,
    ReadOnlyError,
    SerotineError,
    UnknownIdError,
)
from serotine.maxsim import reference

IDS = ["bat", "owl", "fox"]
TEXTS = ["The serotine bat flies late.", "An owl hunts at night, silently.", "A fox runs through the night."]


def vectors_of(seed: int, lengths: list[int], dim: int = 8) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((length, dim)).astype(np.float32) for length in lengths]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    with Index.create(tmp_path / "small.serotine", encoder=WordEncoder()) as index:
        index.add(ids=IDS, texts=TEXTS, metadata=[{"legs": 2}, {"legs": 2}, {"legs": 4}])
    return tmp_path / "small.serotine"


def test_added_documents_are_searchable_after_reopening(small: Path) -> None:
    with Index.open(small, encoder=WordEncoder()) as index:
        hits = index.search("late bat", k=2)
        assert hits[0].id == "bat"
        assert hits[0].text == TEXTS[0]
        assert hits[0].metadata == {"legs": 2}
        assert hits.stats.plan == "flat"
        assert hits.stats.documents == 3
        assert len(index) == 3
        assert "owl" in index
        assert "cat" not in index
        assert "\ud800" not in index
        assert 7 not in index
        assert index.ids() == IDS
        assert [hit.text for hit in index.get(["fox", "bat"])] == [TEXTS[2], TEXTS[0]]
        assert index.verify().documents == 3


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    batches=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=4),
    query_tokens=st.integers(0, 40),
    k=st.integers(1, 30),
    deleted_share=st.floats(0, 0.9),
)
def test_search_equals_brute_force_over_the_stored_vectors(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    batches: list[list[int]],
    query_tokens: int,
    k: int,
    deleted_share: float,
) -> None:
    rng = np.random.default_rng(seed)
    with Index.create(tmp_path_factory.mktemp("i") / "x", dim=8) as index:
        stored: dict[str, NDArray[Any]] = {}
        for b, lengths in enumerate(batches):
            ids = [f"{b}-{i}" for i in range(len(lengths))]
            vectors = vectors_of(seed + b, lengths)
            index.add(ids=ids, vectors=vectors)
            stored.update(zip(ids, vectors, strict=True))
        deleted = [id_ for id_ in stored if rng.random() < deleted_share]
        index.delete(deleted)
        live = [id_ for id_ in stored if id_ not in deleted]
        query = vectors_of(seed + 99, [query_tokens])[0]
        hits = index.search(query, k=k, exact=True)
        truth = {id_: reference.score(query, stored[id_].astype(np.float16)) for id_ in live}
        # Documents without tokens are no hits.
        truth = {id_: score for id_, score in truth.items() if score > -np.inf}
        assert len(hits) == min(k, len(truth))
        best = sorted(truth.values(), reverse=True)[:k]
        np.testing.assert_allclose([hit.score for hit in hits], best, rtol=1e-5, atol=1e-4)
        for hit in hits:
            assert hit.score == pytest.approx(truth[hit.id], rel=1e-5, abs=1e-4)
        assert hits.certificate is not None
        assert hits.certificate.exact
        assert hits.certificate.kth_score >= hits.certificate.bound


def test_a_tie_goes_to_the_document_added_first(tmp_path: Path) -> None:
    same = np.ones((2, 4), dtype=np.float32)
    with Index.create(tmp_path / "x", dim=4) as index:
        index.add(ids=["c", "a"], vectors=[same, same])
        index.add(ids=["b"], vectors=[same])
        assert [hit.id for hit in index.search(same, k=3)] == ["c", "a", "b"]


def test_upsert_replaces_and_delete_hides_across_a_restart(small: Path) -> None:
    with Index.open(small, encoder=WordEncoder()) as index:
        index.add(ids=["owl"], texts=["A serotine bat, very late."], upsert=True)
        index.delete(["fox"])
        assert len(index) == 2
    with Index.open(small, read_only=True, encoder=WordEncoder()) as index:
        assert [hit.id for hit in index.search("fox night", k=10)].count("fox") == 0
        assert index.get(["owl"])[0].text == "A serotine bat, very late."
        stats = index.stats()
        assert (stats.documents, stats.deleted, stats.segments) == (2, 2, 2)
        index.verify()


def test_a_reader_sees_commits_at_its_next_search(small: Path) -> None:
    with (
        Index.open(small, encoder=WordEncoder()) as writer,
        Index.open(small, read_only=True, encoder=WordEncoder()) as reader,
    ):
        assert len(reader.search("night", k=10)) == 3
        writer.add(ids=["cat"], texts=["A cat sleeps all night."])
        assert len(reader.search("night", k=10)) == 4
        writer.delete(["cat", "owl"])
        assert {hit.id for hit in reader.search("night", k=10)} == {"bat", "fox"}


def test_many_threads_search_while_one_adds(tmp_path: Path) -> None:
    path = tmp_path / "x"
    query = vectors_of(1, [5])[0]
    problems: list[BaseException] = []
    with Index.create(path, dim=8) as writer, Index.open(path, read_only=True) as reader:
        writer.add(ids=["first"], vectors=vectors_of(2, [3]))
        done = threading.Event()

        def read() -> None:
            try:
                last_count = 1
                while not done.is_set():
                    count = len(reader.search(query, k=1000))
                    assert count >= last_count
                    last_count = count
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for i in range(30):
            writer.add(ids=[f"{i}-{j}" for j in range(5)], vectors=vectors_of(i, [2, 3, 0, 1, 4]))
        done.set()
        for thread in threads:
            thread.join()
    assert not problems


def test_explain_marks_the_matched_words(small: Path) -> None:
    with Index.open(small, read_only=True, encoder=WordEncoder()) as index:
        explanation = index.explain("late BAT!", "bat")
        text = explanation.text
        marked = {text[start:end]: weight for start, end, weight in explanation.spans()}
        assert marked["bat"] == pytest.approx(1, abs=1e-2)
        assert marked["late"] == pytest.approx(1, abs=1e-2)
        assert "The" not in marked
        total = sum(match.similarity for match in explanation.matches)
        assert explanation.score == pytest.approx(total, abs=1e-4)
        assert explanation.score == pytest.approx(index.search("late BAT!", k=1)[0].score, abs=1e-4)


def test_a_batch_equals_single_searches(small: Path) -> None:
    with Index.open(small, read_only=True, encoder=WordEncoder()) as index:
        queries = ["bat", "silent owl", WordEncoder().encode_queries(["fox"])[0]]
        batch = index.search_batch(queries, k=2)
        assert [list(hits) for hits in batch] == [list(index.search(query, k=2)) for query in queries]
        assert index.search_batch([], k=3) == []


def test_an_empty_index_and_a_large_k(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        assert len(index.search("anything")) == 0
        index.add(ids=[], texts=[])
        assert len(index) == 0
        index.add(ids=["a"], texts=["one"])
        assert len(index.search("one", k=1000)) == 1
        assert index.stats().segments == 1


def test_a_text_without_words_warns_and_is_no_hit(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        with pytest.warns(EmptyTextWarning, match=r"texts: 3 of 4 have no words, the first is 'b'"):
            # What has control and format characters only has no words either, as in files.
            index.add(ids=["a", "b", "c", "d"], texts=["word", " ", "", "\x01\x07\u200b"], metadata=[{"n": 1}] * 4)
        for options in ({}, {"exact": True}, {"mode": "hybrid"}, {"mode": "hybrid", "fusion": "sum"}, {"mode": "bm25"}):
            for more in ({}, {"group_by": "document"}, {"where": {"n": 1}}):
                assert [hit.id for hit in index.search("word", k=3, **options, **more)] == ["a"]
        assert [hit.id for hit in index.search("nowhere", k=3)] == ["a"]
        index.delete(["a"])
        exact = index.search("word", k=3, exact=True)
        assert len(exact) == 0
        assert exact.certificate is not None
        assert exact.certificate.exact
        assert index.explain("word", "b").spans() == []


INVALID_ADDS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"ids": ["a", "a"], "texts": ["x", "y"]}, DuplicateIdError, r"ids\[1\]: duplicate id 'a'"),
    ({"ids": ["a" * 60_000] * 2, "texts": ["x", "y"]}, DuplicateIdError, r"duplicate id 'a{196}\.\.\.; ids must be"),
    ({"ids": ["owl"], "texts": ["x"]}, DuplicateIdError, "'owl' is already in the index; pass upsert=True"),
    ({"ids": ["a"], "texts": ["x", "y"]}, ValueError, "texts: must have one value per id, 1, got 2"),
    ({"ids": ["a"], "texts": ["x"], "metadata": []}, ValueError, "metadata: must have one value per id, 1, got 0"),
    ({"ids": "a", "texts": ["x"]}, TypeError, "ids: must be a list of strings, got str"),
    ({"ids": [1], "texts": ["x"]}, TypeError, r"ids\[0\]: must be a string, got int"),
    ({"ids": [""], "texts": ["x"]}, ValueError, r"ids\[0\]: must not be empty"),
    ({"ids": ["a"], "texts": [None]}, TypeError, r"texts\[0\]: must be a string, got None"),
    ({"ids": ["a"], "texts": ["\ud800"]}, ValueError, r"texts\[0\]: contains a lone surrogate"),
    ({"ids": ["a"], "texts": ["x"], "metadata": [3]}, TypeError, r"metadata\[0\]: must be a dict, got int"),
    (
        {"ids": ["a"], "texts": ["x"], "metadata": [{"t": {1}}]},
        TypeError,
        r"metadata\[0\]\['t'\]: must be a string, number",
    ),
    (
        {"ids": ["a"], "texts": ["x"], "metadata": [{"t": "\ud800"}]},
        ValueError,
        r"metadata\[0\]\['t'\]: contains a lone surrogate; decode its source as UTF-8",
    ),
    ({"ids": ["a"], "texts": (t for t in "x")}, TypeError, "texts: must be a list of strings, got generator"),
    ({"ids": ["a"]}, ValueError, "texts, vectors: one of the two is needed"),
    (
        {"ids": ["a"], "vectors": [np.ones((2, 3), np.float32)]},
        ValueError,
        r"vectors\[0\]: must have shape \(tokens, 16\)",
    ),
    ({"ids": ["a"], "vectors": [np.ones((2, 16), np.int32)]}, TypeError, r"vectors\[0\]: must be floats"),
    ({"ids": ["a"], "vectors": [np.full((2, 16), np.nan)]}, ValueError, r"vectors\[0\]: must be finite, got NaN"),
    ({"ids": ["a"], "vectors": [np.full((2, 16), 1e6)]}, ValueError, r"vectors\[0\]: contains values beyond float16"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), INVALID_ADDS)
def test_an_invalid_add_changes_nothing(
    small: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with Index.open(small, encoder=WordEncoder()) as index:
        with pytest.raises(error, match=message) as raised:
            index.add(**arguments)
        assert "\n" not in str(raised.value)
        assert index.ids() == IDS
        assert index.verify().stray_files == ()


def test_a_failing_encoder_leaves_no_files(small: Path) -> None:
    class Failing(WordEncoder):
        def encode_documents(self, texts: Any) -> Any:
            raise RuntimeError("out of luck")

    with Index.open(small, encoder=Failing()) as index:
        with pytest.raises(RuntimeError, match="out of luck"):
            index.add(ids=["a"], texts=["x"])
        assert index.ids() == IDS
        assert index.verify().stray_files == ()


def test_an_encoder_that_returns_too_few_arrays_is_rejected(small: Path) -> None:
    class Short(WordEncoder):
        def encode_documents(self, texts: Any) -> Any:
            return super().encode_documents(texts)[:-1]

    with Index.open(small, encoder=Short()) as index:
        with pytest.raises(EncoderError, match="'words': must return one array per text, 2, got 1"):
            index.add(ids=["a", "b"], texts=["x", "y"])
        assert index.ids() == IDS
        assert index.verify().stray_files == ()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i: i.search(" "), ValueError, "query: must not be empty"),
        (lambda i: i.search("\x01\u200b"), ValueError, "query: must not be empty"),
        (lambda i: i.search("\ud800"), ValueError, "query: contains a lone surrogate"),
        (lambda i: i.search("x", k=0), ValueError, "k: must be at least 1, got 0"),
        (lambda i: i.search("x", k=1.5), TypeError, "k: must be an int"),
        (lambda i: i.search(None), TypeError, r"query: must be a string or an array of shape \(tokens, 16\)"),
        (
            lambda i: i.search(np.ones((3, 4), np.float32)),
            ValueError,
            r"query: must have shape \(tokens, 16\), got \(3, 4\)",
        ),
        (lambda i: i.search(np.full((3, 16), np.inf)), ValueError, "query: must be finite, got NaN or infinity"),
        (lambda i: i.search(np.full((3, 16), 1e38)), ValueError, "query: contains values beyond float16"),
        (lambda i: i.search_batch("x"), TypeError, "queries: must be a list"),
        (lambda i: i.delete(["owl", "nope"]), UnknownIdError, "'nope' is not in the index; nothing was deleted"),
        (lambda i: i.delete("owl"), TypeError, "ids: must be a list of strings"),
        (lambda i: i.get(["nope"]), UnknownIdError, "'nope' is not in the index"),
        (lambda i: i.explain("x", "nope"), UnknownIdError, "'nope' is not in the index"),
    ],
)
def test_invalid_queries(small: Path, call: Any, error: type[Exception], message: str) -> None:
    with Index.open(small, encoder=WordEncoder()) as index:
        with pytest.raises(error, match=message):
            call(index)
        assert index.ids() == IDS


def test_paths_that_are_not_an_index(tmp_path: Path) -> None:
    with pytest.raises(NotAnIndexError, match="no such folder"):
        Index.open(tmp_path / "nowhere")
    (tmp_path / "plain").mkdir()
    with pytest.raises(NotAnIndexError, match=r"not a Serotine index \(it has no catalog.sqlite\)"):
        Index.open(tmp_path / "plain")
    (tmp_path / "plain" / "catalog.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(IndexDamagedError, match="cannot be read"):
        Index.open(tmp_path / "plain")
    (tmp_path / "other").mkdir()
    sqlite3.connect(tmp_path / "other" / "catalog.sqlite").close()
    with pytest.raises(NotAnIndexError, match="not a Serotine catalog"):
        Index.open(tmp_path / "other")


def test_create_rejects_existing_folders_and_invalid_arguments(small: Path, tmp_path: Path) -> None:
    with pytest.raises(IndexExistsError, match="already exists"):
        Index.create(small, dim=4)
    with pytest.raises(ValueError, match="encoder, dim: at most one of the two"):
        Index.create(tmp_path / "y", dim=4, encoder=WordEncoder())
    with pytest.raises(ValueError, match="dim: must be at least 1, got 0"):
        Index.create(tmp_path / "y", dim=0)
    assert not (tmp_path / "y").exists()


def test_an_unknown_format_is_rejected(small: Path) -> None:
    connection = sqlite3.connect(small / "catalog.sqlite")
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'format_version'")
    connection.commit()
    connection.close()
    with pytest.raises(NotAnIndexError, match="index format must be 2 or 3, got 99"):
        Index.open(small)


def segment_file(path: Path) -> Path:
    (file,) = (path / "segments").iterdir()
    return file


def test_open_detects_a_truncated_or_missing_segment(small: Path) -> None:
    file = segment_file(small)
    data = file.read_bytes()
    file.write_bytes(data[:-10])
    with pytest.raises(IndexDamagedError, match=r"must have [\d,]+ bytes by the catalog"):
        Index.open(small, read_only=True)
    file.unlink()
    with pytest.raises(IndexDamagedError, match="is missing"):
        Index.open(small)
    file.write_bytes(data)
    with Index.open(small, encoder=WordEncoder()) as index:
        assert len(index.search("bat")) == 3


@pytest.mark.parametrize("position", [0, 8, 70, -9])
def test_verify_detects_a_flipped_byte(small: Path, position: int) -> None:
    file = segment_file(small)
    data = bytearray(file.read_bytes())
    data[position] ^= 0x11
    file.write_bytes(bytes(data))
    with pytest.raises(IndexDamagedError), Index.open(small, read_only=True) as index:
        index.verify()


def test_one_writer_any_number_of_readers(small: Path) -> None:
    with Index.open(small), Index.open(small, read_only=True), Index.open(small, read_only=True) as reader:
        with pytest.raises(IndexLockedError, match="another writer has this index open"):
            Index.open(small)
        with pytest.raises(ReadOnlyError, match="opened with read_only=True"):
            reader.delete(["owl"])
    with Index.open(small):
        pass


def test_a_closed_index_raises(small: Path) -> None:
    index = Index.open(small, encoder=WordEncoder())
    index.close()
    index.close()
    for call in (lambda: index.search("x"), lambda: index.add(ids=["a"], texts=["b"]), lambda: len(index)):
        with pytest.raises(SerotineError, match="this index is closed"):
            call()


def test_another_encoder_is_rejected(small: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="was built with encoder 'words'"):
        Index.open(small, encoder=WordEncoder(name="other"))
    with Index.create(tmp_path / "v", dim=8) as index:
        index.add(ids=["a"], vectors=vectors_of(0, [2]))
        with pytest.raises(EncoderError, match="has no encoder"):
            index.search("text")
        with pytest.raises(ValueError, match=r"vectors: needed, .* has no encoder"):
            index.add(ids=["b"], texts=["text"])


def test_a_read_only_folder_can_be_searched(small: Path) -> None:
    segments = small / "segments"
    small.chmod(0o555)
    segments.chmod(0o555)
    try:
        with Index.open(small, read_only=True, encoder=WordEncoder()) as index:
            assert len(index.search("night")) == 3
    finally:
        small.chmod(0o755)
        segments.chmod(0o755)
