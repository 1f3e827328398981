"""The systems to evaluate: against their definitions, in blocks, from the cache, and on nearly empty collections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from numpy.typing import NDArray
from safetensors import SafetensorError

from serotine.errors import InputFileError, SerotineError
from serotine.evaluation import (
    BM25,
    BM25Baseline,
    Collection,
    IndexSearch,
    LateInteraction,
    Run,
    Source,
    evaluate,
    evaluate_systems,
    vector_cache,
)
from serotine.evaluation.runner import EvaluationOptions, evaluate_system, folder_name, system_folders
from serotine.evaluation.systems.languages import words
from serotine.index import Index
from serotine.languages import main_language
from serotine.maxsim import reference

WORDS = (
    "the",
    "wing",
    "of",
    "a",
    "bat",
    "late",
    "evening",
    "flight",
    "moth",
    "roost",
    "summer",
    "wind",
    "echo",
    "tree",
)


class CountingEncoder(WordEncoder):
    """An encoder that counts encoded documents, and can fail after a number of calls."""

    def __init__(self, fail_after: int | None = None) -> None:
        super().__init__()
        self.encoded = 0
        self.calls = 0
        self._fail_after = fail_after

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        if self.calls == self._fail_after:
            raise KeyboardInterrupt
        self.calls += 1
        self.encoded += len(texts)
        return super().encode_documents(texts)


def collection(documents: int = 50, queries: int = 9) -> Collection:
    rng = np.random.default_rng(5)
    texts = {f"d{i}": " ".join(rng.choice(WORDS, rng.integers(1, 12))) for i in range(documents)}
    query_texts = {f"q{i}": " ".join(rng.choice(WORDS, rng.integers(1, 6))) for i in range(queries)}
    return Collection("c", texts, query_texts, {query: {"d1": 1} for query in query_texts})


def brute_force(encoder: WordEncoder, toy: Collection, depth: int) -> dict[str, list[str]]:
    ids = list(toy.documents)
    documents = [vectors.astype(np.float16) for vectors in encoder.encode_documents(list(toy.documents.values()))]
    rankings = {}
    for query, text in toy.queries.items():
        (vectors,) = encoder.encode_queries([text])
        scores = [float(reference.score(vectors, document)) for document in documents]
        rankings[query] = [ids[i] for i in sorted(range(len(ids)), key=lambda i: (-np.float32(scores[i]), i))[:depth]]
    return rankings


@pytest.mark.parametrize("block", [1, 7, 50, 1024])
def test_late_interaction_equals_brute_force_for_any_block_size(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_cache, "BLOCK_SIZE", block)
    toy = collection()
    answer = LateInteraction(WordEncoder()).answer(toy, 20)
    single_block = LateInteraction(WordEncoder())
    monkeypatch.setattr(vector_cache, "BLOCK_SIZE", 1024)
    # Bit for bit the same, in several blocks or one.
    assert answer.run == single_block.answer(toy, 20).run
    for query, ranking in brute_force(WordEncoder(), toy, 20).items():
        scores = list(answer.run[query].values())
        assert scores == sorted(scores, reverse=True)
        assert len(set(ranking) & set(answer.run[query])) >= 19
    assert answer.record["exact"] is True
    assert answer.record["dtype"] == "float16"


def test_encodings_are_stored_and_resumed_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_cache, "BLOCK_SIZE", 10)
    toy = collection()
    killed = CountingEncoder(fail_after=3)
    with pytest.raises(KeyboardInterrupt):
        LateInteraction(killed, tmp_path).answer(toy, 10)
    assert killed.encoded == 30
    second = CountingEncoder()
    answer = LateInteraction(second, tmp_path).answer(toy, 10)
    assert (second.encoded, answer.record["documents_encoded"]) == (20, 20)
    assert answer.run == LateInteraction(CountingEncoder()).answer(toy, 10).run
    third = CountingEncoder()
    # Another depth encodes nothing; a changed document encodes one block.
    LateInteraction(third, tmp_path).answer(toy, 20)
    assert third.encoded == 0
    toy.documents["d25"] = "another"
    LateInteraction(third, tmp_path).answer(toy, 20)
    assert third.encoded == 10
    # Another encoder uses none of the blocks.
    third.fingerprint = "other"
    LateInteraction(third, tmp_path).answer(toy, 20)
    assert third.encoded == 60
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_block_is_named(tmp_path: Path) -> None:
    toy = collection()
    LateInteraction(WordEncoder(), tmp_path).answer(toy, 5)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputFileError, match=rf"{re.escape(str(file))}: damaged .*; delete it"):
        LateInteraction(WordEncoder(), tmp_path).answer(toy, 5)


def test_blank_texts_and_queries_have_no_hits() -> None:
    toy = Collection("c", {"a": "", "b": " ", "c": "bat"}, {"q": "bat", "r": "  "}, {"q": {"c": 1}, "r": {"c": 1}})
    answer = LateInteraction(WordEncoder()).answer(toy, 10)
    assert [list(scores) for scores in answer.run.values()] == [["c"], []]
    blank = Collection("c", {"a": ""}, {"q": ""}, {"q": {"a": 1}})
    for system in (LateInteraction(WordEncoder()), BM25Baseline()):
        assert system.answer(blank, 10).run == {"q": {}}


def test_an_index_is_evaluated_by_its_search(tmp_path: Path) -> None:
    toy, encoder = collection(), WordEncoder()
    toy.queries["blank"] = " "
    with Index.create(tmp_path / "i", encoder=encoder) as index:
        index.add(ids=list(toy.documents)[:-1], texts=list(toy.documents.values())[:-1])
        index.add(ids=["other"], texts=["bat"])
        answer = IndexSearch(index, encoder).answer(toy, 10)
        assert answer.notes == [
            "the index lacks 1 of the collection's 50 documents",
            "the index contains 1 documents that are not in the collection",
        ]
        exact = IndexSearch(index, encoder, exact=True)
        proved = exact.answer(toy, 10)
        assert proved.record["exact"] is True
        assert proved.record["nbits"] == 4
        assert proved.run["blank"] == {}
        key = exact.key
        assert exact.key == key != IndexSearch(index, encoder).key
        xtr = IndexSearch(index, encoder, mode="xtr", k_token=10)
        assert xtr.key != IndexSearch(index, encoder, mode="xtr", k_token=20).key
        with pytest.raises(ValueError, match=r"^k_token: must be at least the depth \(12\), got 10; raise it"):
            xtr.answer(toy, 12)
        # One document more is retrieved where the query's own is dropped.
        assert len(xtr.answer(toy, 11).run) == len(toy.queries)
        index.delete(ids=["other"])
        index.add(ids=["d49"], texts=[toy.documents["d49"]])
        assert exact.key != key
        late = LateInteraction(encoder).answer(toy, 10).run
        answer = exact.answer(toy, 10)
        assert answer.notes == []
        for query, row in late.items():
            assert list(answer.run[query].values()) == pytest.approx(list(row.values()), abs=1e-5)
    with Index.create(tmp_path / "empty", encoder=encoder) as index, pytest.raises(SerotineError, match="no document"):
        IndexSearch(index, encoder).answer(toy, 10)


def test_results_are_stored_and_loaded_again(tmp_path: Path) -> None:
    toy = collection()
    sources = [Source("c", lambda: toy, lambda: "1")]
    encoder = CountingEncoder()
    (first,) = evaluate_systems([LateInteraction(encoder)], sources, EvaluationOptions(output=tmp_path))

    def unread() -> Collection:
        raise AssertionError("was read again")

    unread_source = [Source("c", unread, lambda: "1")]
    (second,) = evaluate_systems([LateInteraction(encoder)], unread_source, EvaluationOptions(output=tmp_path))
    assert (second, encoder.encoded) == (first, 50)
    # Every setting that affects the figures is part of the key.
    for options, fingerprint in (
        (EvaluationOptions(output=tmp_path, depth=200), "1"),
        (EvaluationOptions(["nDCG@5"], output=tmp_path), "1"),
        (EvaluationOptions(output=tmp_path, identical_ids="beir"), "1"),
        (EvaluationOptions(output=tmp_path), "2"),
    ):
        with pytest.raises(AssertionError, match="read again"):
            list(evaluate_systems([LateInteraction(encoder)], [Source("c", unread, lambda f=fingerprint: f)], options))
    encoder.fingerprint = "other"
    with pytest.raises(AssertionError, match="read again"):
        list(evaluate_systems([LateInteraction(encoder)], unread_source, EvaluationOptions(output=tmp_path)))


def test_an_older_json_file_never_remains_beside_a_newer_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = collection()
    source, encoder = [Source("c", lambda: toy, lambda: "1")], WordEncoder()
    (first,) = evaluate_systems([LateInteraction(encoder)], source, EvaluationOptions(output=tmp_path))

    def killed(run: Run, file: Path, tag: str) -> None:
        file.write_text("q1 Q0 d")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("serotine.evaluation.result.write_run", killed)
        with pytest.raises(KeyboardInterrupt):
            list(evaluate_systems([LateInteraction(encoder)], source, EvaluationOptions(output=tmp_path, depth=200)))
    assert not list(tmp_path.rglob("c.json"))
    (again,) = evaluate_systems([LateInteraction(encoder)], source, EvaluationOptions(output=tmp_path))
    assert (again.run, again.metrics) == (first.run, first.metrics)


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Mock(side_effect=SafetensorError("No space left on device"))
    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(SerotineError, match=r"cannot be written \(No space left on device\); free disk space"):
        LateInteraction(WordEncoder(), tmp_path).answer(collection(), 5)


def test_results_of_two_systems_do_not_mix(tmp_path: Path) -> None:
    toy = collection()
    source = [Source("c", lambda: toy, lambda: "1")]
    first, second = WordEncoder(name=str(tmp_path / "a" / "model")), WordEncoder(name=str(tmp_path / "b" / "model"))
    with pytest.raises(SerotineError, match="two systems have the name 'model'"):
        list(
            evaluate_systems(
                [LateInteraction(first), LateInteraction(second)], source, EvaluationOptions(output=tmp_path)
            )
        )
    list(evaluate_systems([LateInteraction(first)], source, EvaluationOptions(output=tmp_path / "out")))
    with pytest.raises(SerotineError, match=r"contains results of .*a/model, not of .*b/model; choose another"):
        list(evaluate_systems([LateInteraction(second)], source, EvaluationOptions(output=tmp_path / "out")))
    assert folder_name("owner/model@abcdef") == "owner--model"
    assert folder_name("mpnet (pooled)") == "mpnet-pooled"
    assert system_folders([LateInteraction(first)], None) == [None]


def test_metrics_are_validated_before_the_search() -> None:
    with pytest.raises(ValueError, match=r"metrics: nDCG@10 needs 10 documents, got depth 5"):
        EvaluationOptions(depth=5)
    with pytest.raises(ValueError, match=r"metrics: .*nDGC"):
        EvaluationOptions(["nDGC@10"])
    with pytest.raises(ValueError, match="depth: must be at least 1"):
        EvaluationOptions(depth=0)
    assert evaluate_system(BM25Baseline("en"), collection(), EvaluationOptions(["RR", "P@5"]))[0].metrics.keys() == {
        "RR",
        "P@5",
    }


@pytest.mark.parametrize(
    ("language", "texts", "query", "whole_word"),
    [
        ("fr", ["les chauves-souris chassaient la nuit", "il mange une pomme"], "chauve-souris chassant", "chassant"),
        ("ar", ["الخفافيش تطير في الليل", "أكل الولد التفاحة"], "خفافيش", "خفافيش"),
        ("zh", ["蝙蝠在夜间捕食昆虫", "北京和上海之间有铁路"], "蝙蝠吃什么", "蝙蝠吃什么"),
        ("ja", ["コウモリは夜に飛びます", "東京は日本の首都です"], "コウモリの食べ物", "コウモリの食べ物"),
        ("th", ["ค้างคาวบินตอนกลางคืน", "กรุงเทพเป็นเมืองหลวงของประเทศไทย"], "ค้างคาวกินอะไร", "ค้างคาวกินอะไร"),
        ("hi", ["चमगादड़ रात में उड़ते हैं", "दिल्ली भारत की राजधानी है"], "चमगादड़ों", "चमगादड़ों"),
    ],
)
def test_bm25_follows_the_language(language: str, texts: list[str], query: str, whole_word: str) -> None:
    documents = dict(zip(["yes", "no"], texts, strict=True))
    index = BM25(documents, language)
    hits = index.search({"q": query}, 1)["q"]
    assert list(hits) == ["yes"]
    assert index.scores(query).tolist() == [hits["yes"], 0]
    # Split at spaces only, no word of the query is in the text.
    assert whole_word not in texts[0].split()
    assert main_language(texts) == language


def test_languages_are_detected() -> None:
    assert main_language(["the cat is on the mat and it was not there"]) == "en"
    assert main_language(["le chat est sur la table et il ne veut pas de la soupe"]) == "fr"
    assert main_language(["die Katze ist nicht auf dem Tisch und sie will auch nicht"]) == "de"
    assert main_language(["кошка сидит на столе"]) == "ru"
    assert main_language(["گربه روی میز است و چرا پژمرده"]) == "fa"
    assert main_language(["서울은 대한민국의 수도이다"]) == "ko"
    assert main_language(["বাদুড় রাতে ওড়ে"]) == "bn"
    assert main_language(["గబ్బిలం రాత్రి ఎగురుతుంది"]) == "te"
    # Swahili has neither stop word list nor stemmer.
    assert main_language(["popo ni mnyama anayeruka usiku na kula wadudu wengi sana"]) == "sw"
    assert main_language(["x = y[3:4]; q(z)"]) is None
    assert main_language(["1234", ""]) is None


def test_words_include_vowel_signs_and_single_characters() -> None:
    assert words("चमगादड़ a x1 don't 東 東京都") == ["चमगादड़", "x1", "don", "東", "東京", "京都"]


def test_bm25_without_matching_terms() -> None:
    empty = BM25({"a": "", "b": "the"}, "en")
    assert empty.search({"q": "the"}) == {"q": {}}
    assert empty.scores("the").tolist() == [0, 0]
    index = BM25({"a": "wings flutter", "b": "roots"}, "en")
    run = index.search({"q": "unknown", "r": "", "s": "fluttering"})
    assert {query: list(scores) for query, scores in run.items()} == {"q": [], "r": [], "s": ["a"]}


class Late(WordEncoder):
    """A late-interaction encoder with a query length."""

    def __init__(self, length: int = 39, origin: str = "pylate", **options: Any) -> None:
        super().__init__()
        from serotine.encoders.spec import EncoderSpec, Side

        self.options = options
        self.spec = EncoderSpec("late", Path(), origin, 16, Side(length, marker="[Q] "), Side(180), markers=("[Q] ",))
        self.origin = origin

    def with_query_length(self, length: int) -> Late:
        return Late(length, self.origin, query_length=length)


@pytest.mark.parametrize(
    ("name", "benchmark", "encoder", "length"),
    [
        ("scifact", "beir", Late(), 48),
        ("arguana", "beir", Late(), 64),
        ("nfcorpus", "beir", Late(), 32),
        ("mine", None, Late(), 39),
        ("miracl-sw", "miracl", Late(), 39),
        ("scifact", "beir", Late(origin="dense"), 39),
        ("scifact", "beir", Late(50, query_length=50), 50),
    ],
)
def test_query_lengths_of_published_figures(name: str, benchmark: str | None, encoder: Late, length: int) -> None:
    toy = Collection(name, {"d": "bat"}, {"q": "bat"}, {"q": {"d": 1}}, benchmark=benchmark)
    result, _ = evaluate_system(LateInteraction(encoder), toy, EvaluationOptions())
    assert result.record["query_length"] == length
    assert result.record["marker_position"] == "after_first"
    assert {"depth", "exact", "dtype", "identical_ids", "versions", "seconds"} <= result.record.keys()
    assert evaluate(toy.qrels, result.run)["nDCG@10"] == result.metrics["nDCG@10"] == 1.0
