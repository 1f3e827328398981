"""The benchmarks page is what its script writes from the committed results, and shows every file of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.scripts import load_script

ROOT = Path(__file__).parents[1]
SCRIPT = load_script(ROOT / "benchmarks/page.py", "benchmarks_page")


def test_the_committed_page_is_the_output_of_its_script() -> None:
    committed = (ROOT / "docs/benchmarks.md").read_text("utf-8")
    assert committed == SCRIPT.page(), "run: python benchmarks/page.py"


def test_every_file_of_results_has_a_section() -> None:
    files = [section.file for section in SCRIPT.SECTIONS]
    assert sorted(files) == sorted(path.name for path in (ROOT / "benchmarks/results").glob("*.json"))


def test_the_page_opens_with_caveats() -> None:
    before = SCRIPT.page().split("## ")[0]
    assert before.count("\n- **") >= 3


def test_the_figures_of_the_readme_are_committed_results() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    peers = {peer["engine"]: peer for peer in json.loads((ROOT / "benchmarks/results/index.json").read_text())["peers"]}
    plaid, lance = peers["fast-plaid"], peers["lancedb"]
    default, refined = plaid["searched"][0], lance["searched"][1]
    assert (
        f"{default['p50_ms']:.0f} ms per query at {plaid['documents']:,} passages, "
        f"recall@10 {default['recall_at_10']:.2f}"
    ) in readme
    assert (
        f"{refined['p50_ms']:.0f} ms at {lance['documents']:,} passages for recall@10 {refined['recall_at_10']:.2f}"
    ) in readme


def test_calibrated_promises_are_kept_in_the_committed_results() -> None:
    tables = load_script(ROOT / "benchmarks/recall_tables.py", "recall_tables")
    results = json.loads((ROOT / "benchmarks/results/recall.json").read_text())["collections"]
    measured = [index for index in results if not tables.scores_everything(index)]
    # The pages about the promise have these numbers.
    assert len(measured) == 22
    assert len({index["collection"] for index in measured}) == 7
    assert len({index["vectors"] for index in measured}) == 8
    missed = [
        (index["vectors"], index["collection"], origin, row["k"], row["promised"], row["measured"])
        for index in measured
        for origin, rows in index["calibrated"].items()
        for row in rows
        if origin != "none" and row["measured"] < row["promised"] - 0.002
    ]
    assert missed == []


def test_figures_of_two_processors_are_not_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script(ROOT / "benchmarks/newer_processor.py", "newer_processor")
    monkeypatch.setattr(script, "RESULT", tmp_path / "result.json")
    row = {"engine": "4 bits", "setting": "exact=True, k=10"}
    searched = [row, {"engine": "4 bits", "setting": "24 candidates, k=10"}]
    encoding = dict.fromkeys(("passages", "query_of_12_tokens", "lengths", "vnni"), 1)
    for processor, status in (("a", 0), ("b", 2)):
        index = {"machine": {"processor": "a"}, "collection": {}, "searched": searched}
        (tmp_path / "index.json").write_text(json.dumps(index))
        (tmp_path / "encoding.json").write_text(json.dumps({"machine": {"processor": processor}, **encoding}))
        million = {"machine": {"processor": "a"}, **dict.fromkeys(("documents", "tokens", "segments", "searched"), 1)}
        (tmp_path / "million.json").write_text(json.dumps(million))
        files = [str(tmp_path / f"{name}.json") for name in ("encoding", "million", "index")]
        monkeypatch.setattr("sys.argv", ["", *files])
        if status:
            with pytest.raises(SystemExit):
                script.main()
        else:
            assert script.main() == 0
            assert json.loads((tmp_path / "result.json").read_text())["indexes"][0]["searched"] == [row]
