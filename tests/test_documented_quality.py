"""The figures of quality on cards and pages are the committed results, and one another's."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from helpers.scripts import load_script

ROOT = Path(__file__).parents[1]
MINI_CARD, MULTI_CARD, EVALUATION, LANGUAGES, ENCODER = (
    (ROOT / name).read_text("utf-8")
    for name in (
        "models/serotine-mini/README.md", "models/serotine-multi/README.md", "docs/evaluation.md", "docs/languages.md",
        "docs/encoder.md",
    )
)  # fmt: skip
# The columns of the card of serotine-mini, by the systems of its results.
MINI = {
    "bm25": "BM25", "minilm (pooled)": "MiniLM pooled", "minilm": "MiniLM late, 256 tokens",
    "minilm-512": "MiniLM late, 512 tokens", "start": "start", "serotine-mini": "serotine-mini 0.3.0",
    "serotine-mini 0.2.0": "0.2.0, ONNX",
}  # fmt: skip
FOUR = ("cranfield", "scifact", "medline", "time")
Table = dict[str, dict[str, str]]


def results(name: str) -> Any:
    return json.loads((ROOT / "benchmarks/results" / name).read_text("utf-8"))


def table(page: str, *columns: str) -> Table:
    """Return the first table with these columns: its cells by the first word of the row, and by column."""
    lines = page.splitlines()
    for start, line in enumerate(lines):
        names = cells(line)
        if line.startswith("|") and set(columns) <= set(names):
            rows = {}
            for row in lines[start + 2 :]:
                if not row.startswith("|"):
                    return rows
                first, *rest = cells(row)
                rows[first.split(" (")[0]] = dict(zip(names[1:], rest, strict=True))
            return rows
    raise AssertionError(f"no table has the columns {columns}")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("part", ["test_sets", "english_held_back"])
def test_the_card_of_serotine_multi_has_its_results(part: str) -> None:
    merged = "vectors merged by 2" if part == "test_sets" else "merged by 2"
    shown = table(MULTI_CARD, "BM25", "base late", merged)
    names = {"BM25": "bm25", "base late": "base_late", "serotine-multi": "serotine_multi", "64 dimensions": "dim_64"}
    names |= {"96": "dim_96", merged: "merged_2", "by 3": "merged_3"}
    for collection, figures in results("serotine-multi.json")[part].items():
        row = shown[collection]
        assert {column: row[column] for column in names} == {
            column: f"{figures[name]:.1f}" for column, name in names.items()
        }, collection
        if row["p"] == "<0.001":
            assert figures["p_against_base"] < 0.001
        else:
            assert float(row["p"]) == pytest.approx(figures["p_against_base"], abs=6e-4), collection


def test_the_card_of_serotine_multi_has_its_languages() -> None:
    shown = table(MULTI_CARD, "to English passages", "English queries")
    for language, figures in results("serotine-multi.json")["languages"].items():
        row = shown[language]
        assert row["nDCG@10"] == f"{figures['ndcg_at_10']:.1f}", language
        assert row["recall@10"] == f"{figures['recall_at_10']:.1f}", language


def test_bm25_has_one_figure_for_a_collection() -> None:
    figures: dict[str, dict[str, str]] = defaultdict(dict)
    for row in results("serotine-mini.json")["results"]:
        if row["system"] == "bm25":
            figures[row["collection"]]["serotine-mini.json"] = f"{100 * row['metrics']['nDCG@10']:.1f}"
    for row in results("quality.json")["rows"]:
        figures[row["collection"]]["quality.json"] = f"{row['bm25']:.1f}"
    for collection, row in results("serotine-multi.json")["test_sets"].items():
        figures[first_thousand(collection)]["serotine-multi.json"] = f"{row['bm25']:.1f}"
    for collection, row in table(LANGUAGES, "BM25", "serotine-multi").items():
        figures[first_thousand(collection)]["languages.md"] = row["BM25"]
    for collection, row in table(ENCODER, "BM25", "late, zero-shot").items():
        if row["model"] == "MiniLM":
            figures[collection]["encoder.md"] = row["BM25"]
    (row,) = table(EVALUATION, "cmrc-zh", "cosqa-dev").values()
    for collection, figure in row.items():
        figures[collection]["evaluation.md"] = figure
    differing = {name: of_place for name, of_place in figures.items() if len(set(of_place.values())) > 1}
    assert not differing
    assert len(figures["cosqa-dev"]) == 3


def test_the_page_on_encoders_has_committed_figures() -> None:
    native, expected = mini_figures(), {}
    for collection in FOUR:
        pooled, late = native["minilm (pooled)"][collection], native["minilm"][collection]
        expected[collection] = f"MiniLM {pooled:.1f} {late:.1f}"
    for row in results("quality-e5.json")["rows"]:
        expected[row["collection"]] = f"e5-small {row['pooled']:.1f} {row['late']:.1f}"
    rows = table(ENCODER, "BM25", "late, zero-shot").items()
    assert {name: f"{row['model']} {row['pooled']} {row['late, zero-shot']}" for name, row in rows} == expected
    longer = native["minilm-512"]
    assert f"it has {longer['time']:.1f} on TIME and {longer['medline']:.1f} on Medline" in ENCODER


def first_thousand(collection: str) -> str:
    """Name piaf-fr with its first 1,000 queries as another collection: `serotine eval` has all 7,569."""
    return "piaf-fr, 1,000" if collection == "piaf-fr" else collection


def test_pages_say_which_queries_of_piaf_fr() -> None:
    for page in (MULTI_CARD, LANGUAGES, (ROOT / "docs/benchmarks.md").read_text("utf-8")):
        assert re.search(r"piaf-fr[^|]*first 1,000", page)


def mini_figures() -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = defaultdict(dict)
    for row in results("serotine-mini.json")["results"]:
        figures[row["system"]][row["collection"]] = 100 * row["metrics"]["nDCG@10"]
    return figures


def test_the_card_of_serotine_mini_has_its_results_and_what_differs() -> None:
    shown, figures = table(MINI_CARD, *MINI.values()), mini_figures()
    written = results("serotine-mini.json")["significance"]
    tested = {(test["system"], test["collection"]): test["p_corrected"] for test in written}
    assert {test["baseline"] for test in written} == {"serotine-mini"}
    for system, column in MINI.items():
        for collection, row in shown.items():
            if collection == "mean":
                expected = f"{sum(figures[system][name] for name in FOUR) / 4:.1f}"
            elif collection in figures[system]:
                star = " *" if tested.get((system, collection), 1) < 0.05 else ""
                expected = f"{figures[system][collection]:.1f}{star}"
            else:
                expected = ""
            assert row[column] == expected, (collection, column)


def test_the_release_of_serotine_mini_that_is_measured_is_the_one_that_ships() -> None:
    text = (ROOT / "models/serotine-mini/pyproject.toml").read_text("utf-8")
    version = re.search(r'^version = "([\d.]+)"', text, re.MULTILINE)
    assert version is not None
    assert MINI["serotine-mini"] == f"serotine-mini {version[1]}"
    assert f"serotine-mini is release {version[1]}" in results("serotine-mini.json")["note"]
    fingerprints = {
        row["record"]["fingerprint"]
        for row in results("serotine-mini.json")["results"]
        if row["system"] == "serotine-mini" and not row["record"]["options"]
    }
    assert len(fingerprints) == 1


def test_other_pages_quote_serotine_mini_as_it_is() -> None:
    figures = mini_figures()["serotine-mini"]
    for page in (MULTI_CARD, LANGUAGES):
        rows = table(page, "BM25", "serotine-multi", "serotine-mini")
        quoted = {name: row["serotine-mini"] for name, row in rows.items() if row["serotine-mini"] and name in figures}
        assert quoted == {name: f"{figures[name]:.1f}" for name in quoted}
        assert len(quoted) > 3


def test_the_card_has_the_cosine_that_the_command_shows() -> None:
    spec = json.loads((ROOT / "models/serotine-mini/serotine_mini/model/serotine.json").read_text("utf-8"))
    assert f"`serotine model info` shows {spec['source_cosine']:.4f}" in MINI_CARD


def test_the_page_on_evaluation_has_what_was_tried() -> None:
    script = load_script(ROOT / "benchmarks/tried.py", "tried")
    assert script.tried() in EVALUATION, "run: python benchmarks/tried.py"
