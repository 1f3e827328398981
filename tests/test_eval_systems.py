"""The systems that are judged: against their definitions, in blocks, from a cache, and with little to find."""

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
from serotine.evaluation.systems.languages import guess, words
from serotine.index import Index
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


class Counting(WordEncoder):
    """Counts what it encodes, and fails after a number of calls."""

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
    asked = {f"q{i}": " ".join(rng.choice(WORDS, rng.integers(1, 6))) for i in range(queries)}
    return Collection("c", texts, asked, {query: {"d1": 1} for query in asked})


def brute_force(encoder: WordEncoder, given: Collection, depth: int) -> dict[str, list[str]]:
    ids = list(given.documents)
    documents = [vectors.astype(np.float16) for vectors in encoder.encode_documents(list(given.documents.values()))]
    found = {}
    for query, text in given.queries.items():
        (vectors,) = encoder.encode_queries([text])
        scores = [float(reference.score(vectors, document)) for document in documents]
        found[query] = [ids[i] for i in sorted(range(len(ids)), key=lambda i: (-np.float32(scores[i]), i))[:depth]]
    return found


@pytest.mark.parametrize("block", [1, 7, 50, 1024])
def test_late_interaction_is_brute_force_whatever_the_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_cache, "BLOCK_SIZE", block)
    given = collection()
    answer = LateInteraction(WordEncoder()).answer(given, 20)
    whole = LateInteraction(WordEncoder())
    monkeypatch.setattr(vector_cache, "BLOCK_SIZE", 1024)
    # Bit for bit the same, block by block or at once.
    assert answer.run == whole.answer(given, 20).run
    for query, found in brute_force(WordEncoder(), given, 20).items():
        scores = list(answer.run[query].values())
        assert scores == sorted(scores, reverse=True)
        assert len(set(found) & set(answer.run[query])) >= 19
    assert answer.record["exact"] is True
    assert answer.record["dtype"] == "float16"


def test_encodings_are_kept_and_a_killed_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_cache, "BLOCK_SIZE", 10)
    given = collection()
    killed = Counting(fail_after=3)
    with pytest.raises(KeyboardInterrupt):
        LateInteraction(killed, tmp_path).answer(given, 10)
    assert killed.encoded == 30
    second = Counting()
    answer = LateInteraction(second, tmp_path).answer(given, 10)
    assert (second.encoded, answer.record["documents_encoded"]) == (20, 20)
    assert answer.run == LateInteraction(Counting()).answer(given, 10).run
    third = Counting()
    # Another depth needs nothing new; one document changed, one block.
    LateInteraction(third, tmp_path).answer(given, 20)
    assert third.encoded == 0
    given.documents["d25"] = "another"
    LateInteraction(third, tmp_path).answer(given, 20)
    assert third.encoded == 10
    # Another encoder takes nothing of it.
    third.fingerprint = "other"
    LateInteraction(third, tmp_path).answer(given, 20)
    assert third.encoded == 60
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_block_is_named(tmp_path: Path) -> None:
    given = collection()
    LateInteraction(WordEncoder(), tmp_path).answer(given, 5)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputFileError, match=rf"{re.escape(str(file))}: damaged .*; delete it"):
        LateInteraction(WordEncoder(), tmp_path).answer(given, 5)


def test_texts_and_questions_without_words_find_nothing() -> None:
    given = Collection("c", {"a": "", "b": " ", "c": "bat"}, {"q": "bat", "r": "  "}, {"q": {"c": 1}, "r": {"c": 1}})
    answer = LateInteraction(WordEncoder()).answer(given, 10)
    assert [list(found) for found in answer.run.values()] == [["c"], []]
    nothing = Collection("c", {"a": ""}, {"q": ""}, {"q": {"a": 1}})
    for system in (LateInteraction(WordEncoder()), BM25Baseline()):
        assert system.answer(nothing, 10).run == {"q": {}}


def test_an_index_is_judged_as_it_searches(tmp_path: Path) -> None:
    given, encoder = collection(), WordEncoder()
    given.queries["blank"] = " "
    with Index.create(tmp_path / "i", encoder=encoder) as index:
        index.add(ids=list(given.documents)[:-1], texts=list(given.documents.values())[:-1])
        index.add(ids=["other"], texts=["bat"])
        answer = IndexSearch(index, encoder).answer(given, 10)
        assert answer.notes == [
            "the index lacks 1 of the collection's 50 documents",
            "the index holds 1 documents that are not of the collection",
        ]
        exact = IndexSearch(index, encoder, exact=True)
        proved = exact.answer(given, 10)
        assert proved.record["exact"] is True
        assert proved.record["nbits"] == 4
        assert proved.run["blank"] == {}
        key = exact.key
        assert exact.key == key != IndexSearch(index, encoder).key
        index.delete(ids=["other"])
        index.add(ids=["d49"], texts=[given.documents["d49"]])
        assert exact.key != key
        late = LateInteraction(encoder).answer(given, 10).run
        found = exact.answer(given, 10)
        assert found.notes == []
        for query, row in late.items():
            assert list(found.run[query].values()) == pytest.approx(list(row.values()), abs=1e-5)
    with Index.create(tmp_path / "empty", encoder=encoder) as index, pytest.raises(SerotineError, match="no document"):
        IndexSearch(index, encoder).answer(given, 10)


def test_results_are_kept_and_found_again(tmp_path: Path) -> None:
    given = collection()
    sources = [Source("c", lambda: given, lambda: "1")]
    encoder = Counting()
    (first,) = evaluate_systems([LateInteraction(encoder)], sources, EvaluationOptions(output=tmp_path))

    def unread() -> Collection:
        raise AssertionError("was read again")

    again = [Source("c", unread, lambda: "1")]
    (second,) = evaluate_systems([LateInteraction(encoder)], again, EvaluationOptions(output=tmp_path))
    assert (second, encoder.encoded) == (first, 50)
    # What decides the number makes it another one.
    for judging, fingerprint in (
        (EvaluationOptions(output=tmp_path, depth=200), "1"),
        (EvaluationOptions(["nDCG@5"], output=tmp_path), "1"),
        (EvaluationOptions(output=tmp_path, identical_ids="beir"), "1"),
        (EvaluationOptions(output=tmp_path), "2"),
    ):
        with pytest.raises(AssertionError, match="read again"):
            list(evaluate_systems([LateInteraction(encoder)], [Source("c", unread, lambda f=fingerprint: f)], judging))
    encoder.fingerprint = "other"
    with pytest.raises(AssertionError, match="read again"):
        list(evaluate_systems([LateInteraction(encoder)], again, EvaluationOptions(output=tmp_path)))


def test_an_older_results_figures_never_stand_beside_a_newer_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = collection()
    source, encoder = [Source("c", lambda: given, lambda: "1")], WordEncoder()
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


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Mock(side_effect=SafetensorError("No space left on device"))
    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(SerotineError, match=r"cannot be written \(No space left on device\); free disk space"):
        LateInteraction(WordEncoder(), tmp_path).answer(collection(), 5)


def test_results_of_two_systems_do_not_mix(tmp_path: Path) -> None:
    given = collection()
    source = [Source("c", lambda: given, lambda: "1")]
    one, other = WordEncoder(name=str(tmp_path / "a" / "model")), WordEncoder(name=str(tmp_path / "b" / "model"))
    with pytest.raises(SerotineError, match="two systems are called 'model'"):
        list(
            evaluate_systems([LateInteraction(one), LateInteraction(other)], source, EvaluationOptions(output=tmp_path))
        )
    list(evaluate_systems([LateInteraction(one)], source, EvaluationOptions(output=tmp_path / "out")))
    with pytest.raises(SerotineError, match=r"holds results of .*a/model, not of .*b/model; choose another --output"):
        list(evaluate_systems([LateInteraction(other)], source, EvaluationOptions(output=tmp_path / "out")))
    assert folder_name("owner/model@abcdef") == "owner--model"
    assert folder_name("mpnet (pooled)") == "mpnet-pooled"
    assert system_folders([LateInteraction(one)], None) == [None]


def test_measures_are_checked_before_the_work() -> None:
    with pytest.raises(ValueError, match=r"metrics: nDCG@10 looks at 10 documents; --depth is 5"):
        EvaluationOptions(depth=5)
    with pytest.raises(ValueError, match=r"metrics: .*nDGC"):
        EvaluationOptions(["nDGC@10"])
    with pytest.raises(ValueError, match="depth: want at least 1"):
        EvaluationOptions(depth=0)
    assert evaluate_system(BM25Baseline("en"), collection(), EvaluationOptions(["RR", "P@5"]))[0].metrics.keys() == {
        "RR",
        "P@5",
    }


@pytest.mark.parametrize(
    ("language", "texts", "question", "naive"),
    [
        ("fr", ["les chauves-souris chassaient la nuit", "il mange une pomme"], "chauve-souris chassant", "chassant"),
        ("ar", ["الخفافيش تطير في الليل", "أكل الولد التفاحة"], "خفافيش", "خفافيش"),
        ("zh", ["蝙蝠在夜间捕食昆虫", "北京和上海之间有铁路"], "蝙蝠吃什么", "蝙蝠吃什么"),
        ("ja", ["コウモリは夜に飛びます", "東京は日本の首都です"], "コウモリの食べ物", "コウモリの食べ物"),
        ("th", ["ค้างคาวบินตอนกลางคืน", "กรุงเทพเป็นเมืองหลวงของประเทศไทย"], "ค้างคาวกินอะไร", "ค้างคาวกินอะไร"),
        ("hi", ["चमगादड़ रात में उड़ते हैं", "दिल्ली भारत की राजधानी है"], "चमगादड़ों", "चमगादड़ों"),
    ],
)
def test_bm25_follows_the_language(language: str, texts: list[str], question: str, naive: str) -> None:
    documents = dict(zip(["yes", "no"], texts, strict=True))
    index = BM25(documents, language)
    found = index.search({"q": question}, 1)["q"]
    assert list(found) == ["yes"]
    assert index.scores(question).tolist() == [found["yes"], 0]
    # Cut at spaces alone, no word of the question is in the text.
    assert naive not in texts[0].split()
    assert guess(texts) == language


def test_languages_are_told_apart() -> None:
    assert guess(["the cat is on the mat and it was not there"]) == "en"
    assert guess(["le chat est sur la table et il ne veut pas de la soupe"]) == "fr"
    assert guess(["die Katze ist nicht auf dem Tisch und sie will auch nicht"]) == "de"
    assert guess(["кошка сидит на столе"]) == "ru"
    assert guess(["گربه روی میز است و چرا پژمرده"]) == "fa"
    assert guess(["서울은 대한민국의 수도이다"]) == "ko"
    assert guess(["বাদুড় রাতে ওড়ে"]) == "bn"
    assert guess(["గబ్బిలం రాత్రి ఎగురుతుంది"]) == "te"
    # Swahili has no list of stop words here, and is not taken for one of the others.
    assert guess(["popo ni mnyama anayeruka usiku na kula wadudu wengi sana"]) is None
    assert guess(["x = y[3:4]; q(z)"]) is None
    assert guess(["1234", ""]) is None


def test_words_keep_their_vowel_signs_and_lone_characters() -> None:
    assert words("चमगादड़ a x1 don't 東 東京都") == ["चमगादड़", "x1", "don", "東", "東京", "京都"]


def test_bm25_without_anything_to_find() -> None:
    nothing = BM25({"a": "", "b": "the"}, "en")
    assert nothing.search({"q": "the"}) == {"q": {}}
    assert nothing.scores("the").tolist() == [0, 0]
    index = BM25({"a": "wings flutter", "b": "roots"}, "en")
    found = index.search({"q": "unknown", "r": "", "s": "fluttering"})
    assert {query: list(row) for query, row in found.items()} == {"q": [], "r": [], "s": ["a"]}


class Late(WordEncoder):
    """A late-interaction encoder whose queries have a length."""

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
    given = Collection(name, {"d": "bat"}, {"q": "bat"}, {"q": {"d": 1}}, benchmark=benchmark)
    judged, _ = evaluate_system(LateInteraction(encoder), given, EvaluationOptions())
    assert judged.record["query_length"] == length
    assert judged.record["marker_position"] == "after_first"
    assert {"depth", "exact", "dtype", "identical_ids", "versions", "seconds"} <= judged.record.keys()
    assert evaluate(given.qrels, judged.run)["nDCG@10"] == judged.metrics["nDCG@10"] == 1.0
