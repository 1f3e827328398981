"""The rules of BEIR, MIRACL and trec_eval, each with a case in which breaking it changes the number."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from helpers.eval_cases import FixedSystem, write_beir, write_miracl

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
    """Return a collection whose query is also a document."""
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
    result, _ = evaluate_system(FixedSystem(ITSELF_FIRST), beir(name), EvaluationOptions(identical_ids=rule))  # type: ignore[arg-type]
    assert result.metrics["nDCG@10"] == pytest.approx(figure, abs=1e-12)
    dropped = figure == SECOND
    assert result.record["identical_ids"] == {"rule": rule or "beir", "dropped": int(dropped), "matching": 1}
    assert ("q" in result.run["q"]) != dropped


def test_identical_ids_outside_beir_are_kept() -> None:
    collection = Collection("mine", {"1": "a"}, {"1": "b"}, {"1": {"1": 1}})
    result, _ = evaluate_system(FixedSystem({"1": {"1": 1.0}}), collection, EvaluationOptions())
    assert (result.metrics["nDCG@10"], result.record["identical_ids"]["rule"]) == (1.0, "keep")


def test_one_more_document_is_retrieved_before_one_is_dropped() -> None:
    system = FixedSystem(ITSELF_FIRST)
    result, _ = evaluate_system(system, beir("scidocs"), EvaluationOptions(["nDCG@2"], depth=2))
    # With two retrieved and one dropped, only x would remain, and nDCG would be 0.
    assert system.calls[0][2] == 3
    assert result.metrics["nDCG@2"] == pytest.approx(SECOND)
    assert list(result.run["q"]) == ["x", "y"]
    assert result.record["depth"] == 2


def test_a_query_without_hits_counts_zero() -> None:
    collection = Collection("c", {"a": "", "b": ""}, {"q": "", "r": ""}, {"q": {"a": 1}, "r": {"b": 1}})
    result, _ = evaluate_system(FixedSystem({"q": {"a": 1.0}}), collection, EvaluationOptions())
    # Averaged over the queries of the run only, it would be 1.
    assert result.metrics["nDCG@10"] == 0.5
    assert result.per_query["r"] == {"nDCG@10": 0.0, "R@100": 0.0}


def test_ties_go_to_the_higher_id_also_after_the_run_file(tmp_path: Path) -> None:
    collection = Collection("c", {"d1": "", "d2": "", "d3": ""}, {"q": ""}, {"q": {"d1": 1}})
    # In order of retrieval or ascending ids, d1 would be first.
    result, _ = evaluate_system(FixedSystem({"q": {"d1": 1.0, "d2": 1.0, "d3": 0.5}}), collection, EvaluationOptions())
    assert result.metrics["nDCG@10"] == pytest.approx(SECOND)
    result.save(tmp_path)
    assert (tmp_path / "c.trec").read_text().splitlines()[0].split()[:4] == ["q", "Q0", "d2", "1"]
    assert Result.load(tmp_path / "c.json") == result


def test_cqadupstack_is_the_unweighted_mean_of_its_forums(tmp_path: Path) -> None:
    root = tmp_path / "cqadupstack"
    run: Run = {}
    for forum in FORUMS:
        # One forum has three queries with relevant hits; the others have one query without.
        queries = [f"{forum}-{i}" for i in range(3 if forum == "tex" else 1)]
        qrels = {query: {f"{forum}-d": 1} for query in queries}
        write_beir(root / forum, {f"{forum}-d": "x", f"{forum}-e": "y"}, dict.fromkeys(queries, "?"), {"test": qrels})
        run |= {query: {f"{forum}-{'d' if forum == 'tex' else 'e'}": 1.0} for query in queries}
    sources = find_sources(str(root))
    assert [source.name for source in sources] == [f"cqadupstack-{forum}" for forum in FORUMS]
    results = list(evaluate_systems([FixedSystem(run)], sources, EvaluationOptions()))
    (row,) = summarize(results, sources)
    # The mean over queries would be 3/14.
    assert (row.name, row.mean_of, row.values["fixed", "nDCG@10"]) == ("cqadupstack", 12, pytest.approx(1 / 12))
    assert {result.record["benchmark"] for result in results} == {"beir"}


def test_miracl_is_the_mean_over_languages(tmp_path: Path) -> None:
    write_miracl(tmp_path, "sw", {"1#0": ("", "x")}, {"1": "?"}, "1 Q0 1#0 1\n")
    qrels = "".join(f"{i} Q0 1#0 1\n" for i in range(3))
    write_miracl(tmp_path, "yo", {"1#0": ("", "x")}, {str(i): "?" for i in range(3)}, qrels)
    sources, skipped = find_suite(str(tmp_path))
    assert ([source.name for source in sources], skipped) == (["miracl-sw", "miracl-yo"], [])
    results = [
        evaluate_system(
            FixedSystem({"1": {"1#0": 1.0}} if source.name == "miracl-sw" else {}), source.load(), EvaluationOptions()
        )[0]
        for source in sources
    ]
    # The mean over queries would be 1/4.
    assert summarize(results, sources)[-1].values["fixed", "nDCG@10"] == 0.5


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
    # Without the zeros, query 2 would have no judgements, and the mean would be 1.
    result, _ = evaluate_system(FixedSystem({"1": {"1#0": 1.0}, "2": {"1#1": 1.0}}), collection, EvaluationOptions())
    assert result.metrics["nDCG@10"] == 0.5


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

    # Without the title, no document contains the word.
    result, _ = evaluate_system(BM25Baseline("en"), collection, EvaluationOptions())
    assert result.metrics["nDCG@10"] == 1.0


@pytest.mark.parametrize(
    ("name", "splits", "split", "loaded_split"),
    [
        ("msmarco", ["dev", "test", "train"], None, "dev"),
        ("scifact", ["dev", "test", "train"], None, "test"),
        ("scifact", ["test", "train"], "train", "train"),
        ("mine", ["validation"], None, "validation"),
    ],
)
def test_splits(tmp_path: Path, name: str, splits: list[str], split: str | None, loaded_split: str) -> None:
    qrels = {split_name: {f"q-{split_name}": {"d": 1}} for split_name in splits}
    folder = write_beir(tmp_path / name, {"d": "x"}, {f"q-{split_name}": "?" for split_name in splits}, qrels)
    collection = load_beir(folder, split)
    # Only queries of the split are searched.
    assert (collection.split, list(collection.queries)) == (loaded_split, [f"q-{loaded_split}"])
    system = FixedSystem({f"q-{split_name}": {"d": 1.0} for split_name in splits})
    result, _ = evaluate_system(system, collection, EvaluationOptions())
    assert list(result.run) == [f"q-{loaded_split}"]
    assert system.calls[0][1] == [f"q-{loaded_split}"]
    assert default_split(name, None) == ("dev" if name == "msmarco" else "test")


def test_query_lengths_are_pylates() -> None:
    lengths = {name: query_length(name, "beir") for name in ("arguana", "climate-fever", "scifact", "trec-covid")}
    assert lengths == {"arguana": 64, "climate-fever": 64, "scifact": 48, "trec-covid": 48}
    assert (query_length("scidocs", "beir"), query_length("nq", "beir"), query_length("mine", None)) == (48, 32, None)
    assert query_length("cqadupstack-tex", "beir") == 32


def test_missing_relevant_documents_are_noted(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "c", {"d": "x"}, {"q": "x"}, {"test": {"q": {"d": 1, "missing": 1, "zero": 0}}})
    notes: list[str] = []
    (result,) = evaluate_systems(
        [FixedSystem({"q": {"d": 1.0}})], find_sources(str(folder)), EvaluationOptions(), on_note=notes.append
    )
    assert notes == ["c: the collection lacks 1 of its relevant documents"]
    assert result.record["missing_relevant"] == 1
    assert result.metrics["nDCG@10"] == pytest.approx(1 / (1 + SECOND))
