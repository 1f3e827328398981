"""Metrics against hand-computed cases, and malformed collection files."""

from __future__ import annotations

import gzip
import math
import sys
from pathlib import Path

import pytest

from serotine.errors import InputFileError, SerotineError
from serotine.evaluation import BM25, evaluate, load_beir
from serotine.evaluation.metrics import evaluate_queries, validate_metrics

CRANFIELD = Path(__file__).parent.parent / "examples" / "cranfield"


def test_ndcg_has_linear_gain_and_the_ideal_of_all_judgements() -> None:
    qrels = {"q": {"a": 2, "b": 1, "c": 1, "d": 0}}
    run = {"q": {"d": 9.0, "a": 8.0, "b": 7.0}}
    dcg = 2 / math.log2(3) + 1 / math.log2(4)
    ideal = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert evaluate(qrels, run)["nDCG@10"] == pytest.approx(dcg / ideal, abs=1e-12)


def test_a_query_without_hits_counts_zero() -> None:
    qrels = {"q": {"a": 1}, "r": {"b": 1}, "s": {"c": 1}}
    run = {"q": {"a": 1.0}, "s": dict[str, float]()}
    assert evaluate(qrels, run)["nDCG@10"] == pytest.approx(1 / 3)
    assert evaluate_queries(qrels, run)["r"] == {"nDCG@10": 0.0}


def test_a_tie_goes_to_the_higher_document_id() -> None:
    qrels = {"q": {"a": 1}}
    assert evaluate(qrels, {"q": {"a": 1.0, "b": 1.0}})["nDCG@10"] == pytest.approx(1 / math.log2(3))


def test_a_query_without_judgements_is_excluded() -> None:
    assert evaluate({"q": {"a": 1}}, {"q": {"a": 1.0}, "x": {"b": 1.0}})["nDCG@10"] == 1.0


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(ValueError, match=r"metrics: .*nDGC"):
        evaluate({"q": {"a": 1}}, {}, ["nDGC@10"])


def test_every_metric_orders_ties_alike() -> None:
    """Some libraries behind ir-measures order ties differently from trec_eval."""
    qrels, tie = {"q": {"d1": 1}}, {"q": {"d1": 1.0, "d2": 1.0}}
    values = evaluate(qrels, tie, ["RR", "RR@10", "P@1", "Judged@1"])
    assert values == {"RR": 0.5, "RR@10": 0.5, "P@1": 0.0, "Judged@1": 0.0}


def test_a_metric_with_two_names() -> None:
    values = evaluate({"q": {"a": 1}}, {"q": {"a": 1.0}}, ["RR@10", "MRR@10", "P@1", "Precision@1"])
    assert set(values.values()) == {1.0}
    assert len(values) == 4


def test_every_metric_accepts_a_query_without_hits() -> None:
    values = evaluate({"q": {"a": 1}, "r": {"a": 1}}, {"q": {"a": 1.0}, "r": {}}, ["Judged@10", "AP", "nDCG@10"])
    assert values["Judged@10"] == values["nDCG@10"] == 0.5


@pytest.mark.parametrize("name", ["P", "nDCG@10.5", "nDCG(foo=1)@10"])
def test_an_invalid_metric_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="metrics: "):
        validate_metrics([name])


def test_bm25_reproduces_cranfield() -> None:
    collection = load_beir(CRANFIELD)
    assert (len(collection.documents), len(collection.queries)) == (1400, 225)
    run = BM25(collection.documents).search(collection.queries)
    assert evaluate(collection.qrels, run)["nDCG@10"] == pytest.approx(0.382, abs=0.005)


def folder(tmp_path: Path, corpus: str, queries: str, qrels: str) -> Path:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text(corpus)
    (tmp_path / "queries.jsonl.gz").write_bytes(gzip.compress(queries.encode()))
    (tmp_path / "qrels" / "test.tsv").write_text(qrels)
    return tmp_path


CORPUS = '{"_id": "d1", "title": "T", "text": "one"}\n{"_id": "d2", "title": "", "text": "two"}\n'
QUERIES = '{"_id": "q1", "text": "first"}\n{"_id": "q2", "text": "unjudged"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\n"


def test_titles_are_joined_and_only_judged_queries_are_loaded(tmp_path: Path) -> None:
    collection = load_beir(folder(tmp_path, CORPUS, QUERIES, QRELS))
    assert collection.documents == {"d1": "T one", "d2": "two"}
    assert collection.queries == {"q1": "first"}
    assert collection.qrels == {"q1": {"d1": 1}}


def test_ids_are_those_that_an_index_of_the_same_files_has(tmp_path: Path) -> None:
    corpus = '{"_id": 1, "text": "one"}\n{"id": 2, "text": "two"}\n'
    collection = load_beir(folder(tmp_path, corpus, '{"id": 7, "text": "first"}\n', "7\t1\t1\n7\t2\t0\n"))
    assert collection.documents == {"1": "one", "2": "two"}
    assert (collection.queries, collection.qrels) == ({"7": "first"}, {"7": {"1": 1, "2": 0}})


@pytest.mark.parametrize(
    ("corpus", "queries", "qrels", "words"),
    [
        (CORPUS + "{oops\n", QUERIES, QRELS, r"corpus.jsonl:3: not valid JSON"),
        (CORPUS + "[]\n", QUERIES, QRELS, r"corpus.jsonl:3: must be a JSON object, got list"),
        (CORPUS + '{"text": "x"}\n', QUERIES, QRELS, r"corpus.jsonl:3: '_id' must be a string, got None"),
        (CORPUS + CORPUS, QUERIES, QRELS, r"corpus.jsonl:3: duplicate document 'd1'"),
        (CORPUS, '{"_id": "q1"}', QRELS, r"queries.jsonl.gz:1: 'text' must be a string"),
        (CORPUS, QUERIES, QRELS + "q1 d1 1\n", r"test.tsv:3: must be query-id, corpus-id and score, separated by tabs"),
        (CORPUS, QUERIES, QRELS + "q1\td2\tx\n", r"test.tsv:3: the score must be a whole number, got 'x'"),
        (
            CORPUS + '{"_id": "d3", "text": "\\udc00"}\n',
            QUERIES,
            QRELS,
            r"corpus.jsonl:3: 'text' contains a lone surrogate",
        ),
        (
            CORPUS + '{"_id": "d3", "title": 3, "text": ""}\n',
            QUERIES,
            QRELS,
            r"corpus.jsonl:3: 'title' must be a string",
        ),
        (CORPUS, QUERIES + QUERIES, QRELS, r"queries.jsonl.gz:3: duplicate query 'q1'"),
        (
            CORPUS,
            QUERIES,
            QRELS + "q1\td1\t0\n",
            r"test.tsv:3: query 'q1' and document 'd1' have two different judgements",
        ),
        (CORPUS, QUERIES, "q9\td1\t1\n", r"judgements of query 'q9', which queries.jsonl.gz lacks"),
        (CORPUS, QUERIES, "query-id\tcorpus-id\tscore\n", "contains no judgements"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, corpus: str, queries: str, qrels: str, words: str) -> None:
    with pytest.raises(InputFileError, match=words):
        load_beir(folder(tmp_path, corpus, queries, qrels))


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"contains neither corpus.jsonl nor corpus.jsonl.gz"):
        load_beir(tmp_path)
    root = folder(tmp_path, CORPUS, QUERIES, QRELS)
    (root / "corpus.jsonl").write_bytes(b'{"_id": "d1", "text": "caf\xe9"}\n')
    with pytest.raises(InputFileError, match=r"corpus.jsonl:1: not UTF-8"):
        load_beir(root)
    (root / "corpus.jsonl").write_text(CORPUS)
    compressed = gzip.compress(QUERIES.encode())
    for damaged in (compressed[:-9], compressed[:12] + b"\xff" * 8 + compressed[20:], b"plain"):
        (root / "queries.jsonl.gz").write_bytes(damaged)
        with pytest.raises(InputFileError, match=r"queries.jsonl.gz: damaged"):
            load_beir(root)


@pytest.mark.parametrize(("module", "words"), [("ir_measures", "evaluation needs"), ("bm25s", "BM25 needs")])
def test_a_missing_extra_is_named_with_its_install_command(
    module: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SerotineError, match=words + r".*pip install 'serotine\[eval\]'"):
        BM25({"a": "b"}) if module == "bm25s" else evaluate({"q": {"a": 1}}, {})
