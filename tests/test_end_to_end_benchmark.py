"""The benchmark from files to answers runs an engine in an environment of its own, and judges what it found."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest
from helpers.scripts import load_script

pytest.importorskip("ir_measures")
pytest.importorskip("serotine_mini")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_one_engine_from_files_to_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        importlib.metadata.version("serotine")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("an engine's process needs an installed serotine")
    driver = load_script(BENCHMARKS / "end_to_end.py", "end_to_end_benchmark")
    texts = {"a": "Owls hunt at night.", "b": "Bats hunt moths.", "empty": " "}
    (tmp_path / "qrels").mkdir()
    rows = [{"_id": id_, "title": "", "text": text} for id_, text in texts.items()]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "moths"}\n{"_id": "r", "text": "owls"}\n')
    (tmp_path / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tb\t1\nr\ta\t1\n")
    out = tmp_path / "result.json"
    options = ["--engine", f"serotine-default={sys.executable}", "--queries", "2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["end_to_end.py", str(tmp_path), str(tmp_path), *options])
    assert driver.main() == 0
    result = json.loads(out.read_text("utf-8"))
    (engine,) = result["engines"]
    assert result["collection"]["documents"] == 2  # the empty one is no file
    assert engine["nDCG@10"] == engine["R@100"] == 1
    # The clock of processes has steps of 10 ms.
    assert 0 < engine["seconds_to_index"] <= engine["seconds_to_first_answer"]
    assert engine["index_bytes"] > 0
