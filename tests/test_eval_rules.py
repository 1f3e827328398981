"""The rules of BEIR, MIRACL and trec_eval, each with a case in which breaking it changes the number."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from helpers.eval_cases import Known, write_beir, write_miracl

from serotine.evaluation import (
    Collection,
    EvaluationOptions,
    Result,
    Run,
    evaluate_system,
    evaluate_systems,
    find_sources,
    find_suite,
    load_beir,
    load_miracl,
    summarize,
)
from serotine.evaluation.data.benchmarks import FORUMS, default_split, query_length

SECOND = 1 / math.log2(3)
THIRD = 1 / math.log2(4)


def beir(name: str) -> Collection:
    """A query that is a document too, and ranks itself first."""
    return Collection(name, {"q": "a", "x": "b", "y": "c"}, {"q": "a"}, {"q": {"y": 1}}, benchmark="beir")


ITSELF_FIRST: Run = {"q": {"q": 9.0, "x": 8.0, "y": 7.0}}


@pytest.mark.parametrize(
    ("name", "rule", "figure"),
    [
        ("scidocs", "beir", SECOND),
        ("scidocs", "mteb", THIRD),
        ("scidocs", "keep", THIRD),
        ("scidocs", None, SECOND),
        ("arguana", "mteb", SECOND),
        ("fiqa", "mteb", SECOND),
        ("fever", "mteb", SECOND),
        ("msmarco", "mteb", SECOND),
        ("quora", "mteb", SECOND),
        ("trec-dl-2019", "mteb", SECOND),
        ("climate-fever", "mteb", THIRD),
        ("nfcorpus", "mteb", THIRD),
        ("arguana", "keep", THIRD),
    ],
)
def test_identical_ids(name: str, rule: str | None, figure: float) -> None:
    judged, _ = evaluate_system(Known(ITSELF_FIRST), beir(name), EvaluationOptions(identical_ids=rule))  # type: ignore[arg-type]
    assert judged.metrics["nDCG@10"] == pytest.approx(figure, abs=1e-12)
    dropped = figure == SECOND
    assert judged.record["identical_ids"] == {"rule": rule or "beir", "dropped": int(dropped), "matching": 1}
    assert ("q" in judged.run["q"]) != dropped


def test_an_id_that_merely_meets_is_kept_outside_beir() -> None:
    collection = Collection("mine", {"1": "a"}, {"1": "b"}, {"1": {"1": 1}})
    judged, _ = evaluate_system(Known({"1": {"1": 1.0}}), collection, EvaluationOptions())
    assert (judged.metrics["nDCG@10"], judged.record["identical_ids"]["rule"]) == (1.0, "keep")


def test_one_more_is_retrieved_before_one_is_dropped() -> None:
    system = Known(ITSELF_FIRST)
    judged, _ = evaluate_system(system, beir("scidocs"), EvaluationOptions(["nDCG@2"], depth=2))
    # Two retrieved and one dropped would leave x alone, and nDCG 0.
    assert system.asked[0][2] == 3
    assert judged.metrics["nDCG@2"] == pytest.approx(SECOND)
    assert list(judged.run["q"]) == ["x", "y"]
    assert judged.record["depth"] == 2


def test_a_query_without_an_answer_counts_zero() -> None:
    collection = Collection("c", {"a": "", "b": ""}, {"q": "", "r": ""}, {"q": {"a": 1}, "r": {"b": 1}})
    judged, _ = evaluate_system(Known({"q": {"a": 1.0}}), collection, EvaluationOptions())
    # Averaged over the queries of the run alone it would be 1.
    assert judged.metrics["nDCG@10"] == 0.5
    assert judged.per_query["r"] == {"nDCG@10": 0.0, "R@100": 0.0}


def test_ties_go_to_the_higher_id_also_after_the_run_file(tmp_path: Path) -> None:
    collection = Collection("c", {"d1": "", "d2": "", "d3": ""}, {"q": ""}, {"q": {"d1": 1}})
    # By first come or by lowest id, d1 would be first.
    judged, _ = evaluate_system(Known({"q": {"d1": 1.0, "d2": 1.0, "d3": 0.5}}), collection, EvaluationOptions())
    assert judged.metrics["nDCG@10"] == pytest.approx(SECOND)
    judged.save(tmp_path)
    assert (tmp_path / "c.trec").read_text().splitlines()[0].split()[:4] == ["q", "Q0", "d2", "1"]
    assert Result.load(tmp_path / "c.json") == judged


def test_cqadupstack_is_the_unweighted_mean_of_its_forums(tmp_path: Path) -> None:
    root = tmp_path / "cqadupstack"
    run: Run = {}
    for forum in FORUMS:
        # One forum has three queries, all answered; the others one, not answered.
        asked = [f"{forum}-{i}" for i in range(3 if forum == "tex" else 1)]
        qrels = {query: {f"{forum}-d": 1} for query in asked}
        write_beir(root / forum, {f"{forum}-d": "x", f"{forum}-e": "y"}, dict.fromkeys(asked, "?"), {"test": qrels})
        run |= {query: {f"{forum}-{'d' if forum == 'tex' else 'e'}": 1.0} for query in asked}
    sources = find_sources(str(root))
    assert [source.name for source in sources] == [f"cqadupstack-{forum}" for forum in FORUMS]
    judged = list(evaluate_systems([Known(run)], sources, EvaluationOptions()))
    (row,) = summarize(judged, sources)
    # Over queries it would be 3/14.
    assert (row.name, row.parts, row.values["known", "nDCG@10"]) == ("cqadupstack", 12, pytest.approx(1 / 12))
    assert {one.record["benchmark"] for one in judged} == {"beir"}


def test_miracl_is_the_mean_over_languages(tmp_path: Path) -> None:
    write_miracl(tmp_path, "sw", {"1#0": ("", "x")}, {"1": "?"}, "1 Q0 1#0 1\n")
    many = "".join(f"{i} Q0 1#0 1\n" for i in range(3))
    write_miracl(tmp_path, "yo", {"1#0": ("", "x")}, {str(i): "?" for i in range(3)}, many)
    sources, passed_over = find_suite(str(tmp_path))
    assert ([source.name for source in sources], passed_over) == (["miracl-sw", "miracl-yo"], [])
    judged = [
        evaluate_system(
            Known({"1": {"1#0": 1.0}} if source.name == "miracl-sw" else {}), source.load(), EvaluationOptions()
        )[0]
        for source in sources
    ]
    # Over queries it would be 1/4.
    assert summarize(judged, sources)[-1].values["known", "nDCG@10"] == 0.5


def test_explicit_zeros_are_judgements(tmp_path: Path) -> None:
    folder = write_miracl(
        tmp_path,
        "sw",
        {"1#0": ("Popo", "ni mnyama"), "1#1": ("", "nyingine")},
        {"1": "popo ni nini", "2": "swali", "3": "bila hukumu"},
        "1 Q0 1#0 1\n1\tQ0\t1#1\t0\n2 Q0 1#1 0\n",
    )
    collection = load_miracl(folder)
    assert collection.qrels == {"1": {"1#0": 1, "1#1": 0}, "2": {"1#1": 0}}
    assert collection.documents == {"1#0": "Popo ni mnyama", "1#1": "nyingine"}
    assert (collection.split, collection.language, collection.benchmark) == ("dev", "sw", "miracl")
    # With the zeros left out, query 2 would be judged by nobody, and the mean 1.
    judged, _ = evaluate_system(Known({"1": {"1#0": 1.0}, "2": {"1#1": 1.0}}), collection, EvaluationOptions())
    assert judged.metrics["nDCG@10"] == 0.5


def test_titles_are_joined_as_beir_joins_them(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "c", {}, {"q": "wing"}, {"test": {"q": {"d1": 1}}})
    (folder / "corpus.jsonl").write_text(
        '{"_id": "d1", "title": "A wing ", "text": "in the wind"}\n'
        '{"_id": "d2", "title": "", "text": " no title "}\n'
        '{"_id": "d3", "title": null, "text": "null"}\n'
        '{"_id": "d4", "text": "none"}\n'
        '{"_id": "d5", "title": "only", "text": ""}\n'
    )
    collection = load_beir(folder)
    assert list(collection.documents.values()) == ["A wing  in the wind", "no title", "null", "none", "only"]
    from serotine.evaluation import BM25Baseline

    # Without the title, nothing holds the word.
    judged, _ = evaluate_system(BM25Baseline("en"), collection, EvaluationOptions())
    assert judged.metrics["nDCG@10"] == 1.0


@pytest.mark.parametrize(
    ("name", "there", "asked", "taken"),
    [
        ("msmarco", ["dev", "test", "train"], None, "dev"),
        ("scifact", ["dev", "test", "train"], None, "test"),
        ("scifact", ["test", "train"], "train", "train"),
        ("mine", ["validation"], None, "validation"),
    ],
)
def test_splits(tmp_path: Path, name: str, there: list[str], asked: str | None, taken: str) -> None:
    qrels = {split: {f"q-{split}": {"d": 1}} for split in there}
    folder = write_beir(tmp_path / name, {"d": "x"}, {f"q-{split}": "?" for split in there}, qrels)
    collection = load_beir(folder, asked)
    # Only the split's own questions are asked.
    assert (collection.split, list(collection.queries)) == (taken, [f"q-{taken}"])
    system = Known({f"q-{split}": {"d": 1.0} for split in there})
    judged, _ = evaluate_system(system, collection, EvaluationOptions())
    assert list(judged.run) == [f"q-{taken}"]
    assert system.asked[0][1] == [f"q-{taken}"]
    assert default_split(name, None) == ("dev" if name == "msmarco" else "test")


def test_query_lengths_are_pylates() -> None:
    lengths = {name: query_length(name, "beir") for name in ("arguana", "climate-fever", "scifact", "trec-covid")}
    assert lengths == {"arguana": 64, "climate-fever": 64, "scifact": 48, "trec-covid": 48}
    assert (query_length("scidocs", "beir"), query_length("nq", "beir"), query_length("mine", None)) == (48, 32, None)
    assert query_length("cqadupstack-tex", "beir") == 32


def test_relevant_documents_that_are_not_there_are_told(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "c", {"d": "x"}, {"q": "x"}, {"test": {"q": {"d": 1, "gone": 1, "zero": 0}}})
    told: list[str] = []
    (judged,) = evaluate_systems(
        [Known({"q": {"d": 1.0}})], find_sources(str(folder)), EvaluationOptions(), tell=told.append
    )
    assert told == ["c: relevant documents that the collection lacks: 1"]
    assert judged.record["missing_relevant"] == 1
    assert judged.metrics["nDCG@10"] == pytest.approx(1 / (1 + SECOND))
