from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from serotine.errors import InputFileError, TrainingError
from serotine.training.cleaning import EvaluationTexts, NearDuplicates, SourceReport, clean, words
from serotine.training.examples import Example, read_examples, read_source, write_examples
from serotine.training.recipe import Cleaning, Source

CRANFIELD = Path(__file__).parents[1] / "examples/cranfield"


def write(file: Path, *records: Any) -> Path:
    lines = "".join(json.dumps(record) + "\n" for record in records)
    if file.suffix == ".gz":
        file.write_bytes(gzip.compress(lines.encode()))
    else:
        file.write_text(lines)
    return file


RECORDS: list[dict[str, Any]] = [
    {"query": "q", "positive": "p", "lang": "en"},
    {"anchor": "q", "positive": "p", "negative": "n"},
    {"query": "q", "positive": "p", "negative_10": "c", "negative_2": "b", "negatives": ["d", "e"]},
    {"query": "q", "documents": ["p", "n"], "scores": [2, 1.5]},
    {"query": "f", "positive": "e", "negative": "d", "teacher": {"query": "q", "positive": "p", "negative": "n"}},
]
EXAMPLES = [
    Example("q", ("p",)),
    Example("q", ("p", "n")),
    Example("q", ("p", "b", "c", "d", "e")),
    Example("q", ("p", "n"), (2.0, 1.5)),
    Example("f", ("e", "d"), teacher=Example("q", ("p", "n"))),
]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_every_record_format(tmp_path: Path, name: str) -> None:
    assert list(read_examples(write(tmp_path / name, *RECORDS))) == EXAMPLES


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    for number, (record, example) in enumerate(zip(RECORDS, EXAMPLES, strict=True)):
        file = tmp_path / f"{number}.parquet"
        parquet.write_table(pyarrow.Table.from_pylist([record] * 3), file)
        assert list(read_examples(file)) == [example] * 3
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputFileError, match="cannot be read"):
        list(read_examples(broken))


def test_write_and_read(tmp_path: Path) -> None:
    write_examples(EXAMPLES[1:], tmp_path / "a.jsonl")
    assert list(read_examples(tmp_path / "a.jsonl")) == EXAMPLES[1:]


def test_the_filter_and_limit_of_a_source(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.jsonl", *({"query": f"q{i}", "positive": "p", "lang": "ende"[i % 2 :: 2]} for i in range(99))
    )
    examples = read_source(Source("s", file, filter={"lang": ("ed",)}, limit=20), seed=3)
    assert len(examples) == 20
    assert all(int(example.query[1:]) % 2 == 0 for example in examples)
    assert examples == read_source(Source("s", file, filter={"lang": ("ed",)}, limit=20), seed=3)
    assert examples != read_source(Source("s", file, filter={"lang": ("ed",)}, limit=20), seed=4)
    with pytest.raises(InputFileError, match="no examples that match the filter on lang"):
        read_source(Source("s", file, filter={"lang": ("fr",)}), seed=0)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", "a.jsonl:1: not valid JSON"),
        ("[]", "a.jsonl:1: must be a JSON object"),
        ('{"query": "q"}', "a.jsonl:1: 'positive' is missing, got 'query'; rename or add it"),
        ('{"query": 1, "positive": "p"}', "a.jsonl:1: 'query' must be a string, got 1"),
        ('{"query": "q", "positive": "\\ud800"}', "a.jsonl:1: 'positive' contains a lone surrogate"),
        ('{"query": "q", "documents": ["p"], "scores": [1, 2]}', "a.jsonl:1: 'scores' must be 1 numbers"),
        ('{"query": "q", "documents": ["p"]}', "a.jsonl:1: 'scores' must be 1 numbers"),
        ('{"query": "q", "documents": ["p"], "scores": [NaN]}', "a.jsonl:1: 'scores' must be 1 numbers"),
        ('{"query": "q", "documents": [], "scores": []}', "a.jsonl:1: 'documents' must not be empty"),
        ('{"query": "q", "positive": "p", "negatives": "n"}', "a.jsonl:1: 'negatives' must be a list"),
        ('{"query": "q", "positive": "p", "teacher": "q"}', "a.jsonl:1: 'teacher' must be an object, got 'q'"),
        (
            '{"query": "q", "positive": "p", "teacher": {"query": "q"}}',
            "a.jsonl:1: teacher: 'positive' is missing",
        ),
        (
            '{"query": "q", "positive": "p", "negative": "n", "teacher": {"query": "q", "positive": "p"}}',
            "a.jsonl:1: 'teacher' must have as many documents as the example, 2, got 1",
        ),
        ('{"query": "q", "positive": "p", "negatives": [3]}', r"a.jsonl:1: 'negatives\[0\]' must be a string"),
    ],
)
def test_record_errors_name_the_line(tmp_path: Path, record: str, message: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(record + "\n")
    with pytest.raises(InputFileError, match=re.escape(message) if "\\" not in message else message):
        list(read_examples(file))
    with pytest.raises(InputFileError, match=r"valid types: \.jsonl, \.jsonl\.gz, \.parquet"):
        list(read_examples(tmp_path / "a.csv"))


def test_words_of_several_scripts() -> None:
    assert words("Größe, ﬁne! 東京 10pm") == ["grösse", "fine", "東", "京", "10pm"]


@pytest.fixture(scope="module")
def cranfield() -> EvaluationTexts:
    return EvaluationTexts([CRANFIELD], 0.3)


def test_evaluation_texts_are_detected(cranfield: EvaluationTexts) -> None:
    from serotine.evaluation import load_beir

    collection = load_beir(CRANFIELD)
    documents = [text for text in collection.documents.values() if text]
    assert all(map(cranfield.overlaps, documents))
    assert all(map(cranfield.overlaps, collection.queries.values()))
    # In other case and punctuation, within a longer text, and cut in half.
    assert all(cranfield.overlaps(text.upper().replace(" ", " ,\n")) for text in documents[:50])
    story = "It was a dark and stormy night, and nobody in the house was asleep. " * 3
    assert all(cranfield.overlaps(story + text) for text in collection.queries.values())
    assert all(cranfield.overlaps(story + text + story) for text in documents[:50])
    assert all(cranfield.overlaps(" ".join(text.split()[: len(text.split()) // 2])) for text in documents[:50])


def test_other_texts_do_not_overlap(cranfield: EvaluationTexts) -> None:
    for text in (
        "The serotine is a large bat that emerges late in the evening and hunts over pastures.",
        "what is the boundary layer",
        "An aeroplane wing in a supersonic stream has a boundary layer which turns turbulent behind the shock.",
        "the",
    ):
        assert not cranfield.overlaps(text)


def test_near_duplicates() -> None:
    pytest.importorskip("datasketch", reason="datasketch is not installed")
    text = " ".join(f"word{i}" for i in range(60))
    near = NearDuplicates(0.8)
    assert not near.check_and_add(text)
    assert near.check_and_add(text.upper() + "!")
    assert near.check_and_add(text.replace("word30", "other"))  # 3 of 61 shingles differ: Jaccard 0.9
    assert not near.check_and_add(" ".join(f"word{i}" for i in range(30, 90)))
    # At high thresholds the index has few bands, and still finds every pair.
    for threshold in (0.95, 0.97, 0.999):
        near = NearDuplicates(threshold)
        long = [f"{number} " + " ".join(f"word{i}" for i in range(600)) for number in range(20)]
        assert not near.check_and_add(long[0])
        assert all(near.check_and_add(text) for text in long[1:]) == (threshold < 0.99)
    only_equal = NearDuplicates(1)
    assert not only_equal.check_and_add(text)
    assert not only_equal.check_and_add(text.replace("word30", "other"))
    assert only_equal.check_and_add(text)


def test_cleaning_reports_dropped_examples() -> None:
    pytest.importorskip("datasketch", reason="datasketch is not installed")
    from serotine.evaluation import load_beir

    collection = load_beir(CRANFIELD)
    judged_document, query = collection.documents["1"], next(iter(collection.queries.values()))
    clean_example = Example("how bats hunt", ("Bats hunt by echo, calling many times a second.",))
    sources = {
        "a": [
            clean_example,
            Example("How bats hunt?", clean_example.documents),
            Example("...", clean_example.documents),
            Example("short", ("Too short.",)),
            Example("what is this", (judged_document,)),
            Example(query, ("Something about aeroplanes and heat.",)),
        ],
        "b": [
            clean_example,
            Example(
                "where bats sleep",
                (
                    "In caves and under roofs they sleep.",
                    judged_document,
                    "In caves, and under roofs, they sleep!",
                    "On a tree",
                ),
                (4.0, 3.0, 2.0, 1.0),
            ),
        ],
    }
    advanced = []
    remaining, report = clean(sources, Cleaning(evaluation_folders=(CRANFIELD,)), advanced.append)
    assert remaining["a"] == [clean_example]
    assert remaining["b"] == [
        Example("where bats sleep", ("In caves and under roofs they sleep.", "On a tree"), (4.0, 1.0))
    ]
    assert report["a"].dropped == {
        "near-duplicate": 1,
        "no words in the query": 1,
        "fewer than 3 words in the positive": 1,
        "positive overlaps an evaluation collection": 1,
        "query overlaps an evaluation collection": 1,
    }
    assert (report["a"].total, report["a"].remaining) == (6, 1)
    assert report["b"].dropped == {
        "near-duplicate": 1,
        "negative only: overlaps an evaluation collection": 1,
        "negative only: equals the positive": 1,
    }
    assert ("near-duplicate", "How bats hunt?") in report["a"].samples
    assert isinstance(report["b"], SourceReport)
    assert sum(advanced) == 8
    with pytest.raises(TrainingError, match="source 'c': cleaning removed all 1 examples"):
        clean({"c": [Example(query, ("x y z",))]}, Cleaning(evaluation_folders=(CRANFIELD,)), advanced.append)
