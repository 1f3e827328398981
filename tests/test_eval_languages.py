"""Evaluation by language: the suite "multilingual", the table and chart of the report, published figures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("bm25s")
pytest.importorskip("jinja2")

from serotine.cli import main
from serotine.errors import InputFileError
from serotine.evaluation import Comparison, Result, compare, find_multilingual, write_report
from serotine.evaluation.comparison.by_language import by_language
from serotine.evaluation.data.benchmarks import MIRACL18
from serotine.evaluation.data.published_miracl import PUBLISHED
from serotine.evaluation.report.language_chart import language_chart


def write(folder: Path, answer: str, other: str, query: str, *, language: str | None = None) -> None:
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": "yes", "text": answer}, {"_id": "no", "text": other}]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": query}), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tyes\t1\n", encoding="utf-8")
    if language is not None:
        (folder / "meta.json").write_text(json.dumps({"language": language}), encoding="utf-8")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    root = tmp_path / "suite"
    write(root / "one-fr", "Les chauves-souris chassaient.", "Il mange une pomme.", "chasser")
    # No word in common: a miss.
    write(root / "two-fr", "Il pleut sur la ville.", "Elle mange une pomme.", "bibliothèque")
    write(root / "texts", "Die Fledermäuse jagten in der Nacht.", "Er isst einen Apfel und ein Brot.", "Fledermaus")
    write(root / "named", "popo huruka usiku", "samaki huogelea", "popo", language="sw")
    return root


def test_languages_are_named_by_file_by_folder_or_by_the_texts(suite: Path) -> None:
    sources, skipped = find_multilingual(str(suite))
    assert skipped == []
    groups = {source.name: source.group for source in sources}
    assert groups == {
        "named": "Swahili (sw)",
        "one-fr": "French (fr)",
        "texts": "German (de)",
        "two-fr": "French (fr)",
    }
    assert {source.name: source.load().language for source in sources}["texts"] == "de"
    write(suite / "numbers", "12 34", "56 78", "12")
    with pytest.raises(InputFileError, match='numbers: its language is not known; name the folder "numbers-xx"'):
        find_multilingual(str(suite))


def test_every_language_has_the_same_weight(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = suite.parent / "out"
    command = ["eval", "--bm25", "--suite", "multilingual", str(suite), "-o", str(output), "--metrics", "nDCG@10"]
    assert main(command) == 0
    words = capsys.readouterr().out.split()
    # French is the mean of a hit and a miss, and counts once: (50 + 100 + 100) / 3.
    figures = [word for word in words if re.fullmatch(r"\d+\.\d\d", word)]
    assert sorted(figures) == ["100.00", "100.00", "50.00", "83.33"]
    stems = json.loads((output / "bm25" / "texts.json").read_text(encoding="utf-8"))["record"]
    assert (stems["language"], stems["stemmer"]) == ("de", "german")


def test_the_suite_needs_one_folder(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--bm25", "--suite", "multilingual"]) == 2
    assert "--suite multilingual: needs one FOLDER whose subfolders are collections, got 0" in capsys.readouterr().err


def comparison(languages: dict[str, str | None], metric: str = "nDCG@10") -> Comparison:
    results = [
        Result(system, name, "dev", {metric: value}, {"q": {metric: value}}, {"q": {"d": 1.0}}, {"language": language})
        for system, value in (("old", 0.25), ("new", 0.75))
        for name, language in languages.items()
    ]
    return compare(results, metric=metric)


def test_published_figures_stand_beside_whole_miracl_collections() -> None:
    assert all(sorted(figures) == sorted(MIRACL18) for figures in PUBLISHED.values())
    assert PUBLISHED["BM25, published"]["yo"] == 0.4059
    compared = comparison({"miracl-yo": "yo", "miracl-zh": "zh", "cmrc-zh": "zh", "piaf-fr": "fr", "code": None})
    table = by_language(compared)
    assert table is not None
    assert list(table.languages.values()) == ["Chinese", "French", "Yoruba"]
    # Chinese is a mean of two collections, which no published figure is of.
    assert table.references == {"BM25, published": {"yo": 0.4059}, "mDPR, published": {"yo": 0.4439}}
    assert table.averages == {"old": 0.25, "new": 0.75}
    assert table.others == ("code",)
    chart = language_chart(table)
    ElementTree.fromstring(chart)  # noqa: S314 - our own
    assert "BM25, published, Yoruba: 40.6" in chart


def test_other_metrics_and_single_languages_have_no_published_figures() -> None:
    assert by_language(comparison({"a-fr": "fr", "b-fr": "fr"})) is None
    table = by_language(comparison({"miracl-yo": "yo", "miracl-sw": "sw"}, metric="RR"))
    assert table is not None
    assert table.references == {}


def test_the_report_has_the_table(tmp_path: Path) -> None:
    write_report(comparison({"miracl-sw": "sw", "piaf-fr": "fr"}), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<h2 id="languages">Languages</h2>' in page
    assert "Mean of 2 languages" in page
    assert "38.3" in page
    write_report(comparison({"a": None, "b": None}), tmp_path / "report.html")
    assert 'id="languages"' not in (tmp_path / "report.html").read_text(encoding="utf-8")
