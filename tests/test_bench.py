"""Benchmarks: errors against the reference, ratios within a round, optional peers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from serotine import maxsim
from serotine.bench import draw_kernels, machine, measure_kernels, recall, recall_error
from serotine.bench.contenders import Contender, serotine_contenders
from serotine.bench.timing import median_ratio, time_interleaved
from serotine.bench.workloads import workloads
from serotine.cli import main
from serotine.maxsim import reference


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        # One name, several processors.
        (["cpu family\t: 26", "model\t\t: 2", "model name\t: AMD EPYC"], "AMD EPYC (family 26, model 2)"),
        (["model name\t: Cortex"], "Cortex"),
    ],
)
def test_results_say_which_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], shown: str
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("\n".join(["processor\t: 0", *lines, "", "processor\t: 1", "model name\t: another", ""]))
    monkeypatch.setattr(machine, "_CPUINFO", file)
    assert machine.describe_machine(["numpy"])["processor"] == shown


def test_interleaved_timing_runs_round_by_round_and_discards_the_warm_up() -> None:
    calls: list[str] = []
    seconds = time_interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 3.0, 2.0]) == 2.0


def test_reference_scores_equal_those_of_the_reference() -> None:
    work = workloads(dim=8, query_tokens=3)[-1]
    assert work.queries.shape == (32, 3, 8)
    for q in (0, 31):
        expected = [reference.score(work.queries[q], vectors) for vectors in work.document_vectors[:5]]
        np.testing.assert_allclose(work.reference_scores[q, :5], expected, rtol=1e-12)


def test_max_error_reveals_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def contenders(work: object) -> list[Contender]:
        kernels = serotine_contenders(work)  # type: ignore[arg-type]
        exact = kernels[0].run
        return [Contender("peer", True, 4, exact), Contender("wrong", True, 4, lambda: exact() + 0.5), *kernels]

    monkeypatch.setattr("serotine.bench.kernels.contenders", contenders)
    (rows,) = measure_kernels([16], [1], 1, ["hot"])
    by_name = {row.method: row for row in rows}
    assert by_name["wrong"].max_error == pytest.approx(0.5, abs=1e-4)
    assert by_name["serotine fp32"].max_error < 4e-6
    assert by_name["serotine fp16"].max_error < 2e-3 * 32
    assert by_name["peer"].speedup == pytest.approx(1, rel=0.9)
    assert all(row.gigaflops > 0 and row.of_gemm > 0 for row in rows)
    assert draw_kernels(rows).count("<rect") == len(rows) + 1


def test_bench_kernels_writes_json_and_a_chart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--shape", "hot", "--dim", "16", "--rounds", "1"]
    outputs = ["--json", str(tmp_path / "k.json"), "--chart", str(tmp_path / "k.svg")]
    assert main(["bench", "kernels", *options, *outputs]) == 0
    assert "serotine int8" in capsys.readouterr().out
    result = json.loads((tmp_path / "k.json").read_text())
    assert result["machine"]["instruction_set"] == maxsim.capabilities().current
    assert {row["method"] for row in result["rows"]} >= {"numpy loop", "serotine fp32"}
    assert (tmp_path / "k.svg").read_text().startswith("<svg")


def test_bench_kernels_rejects_an_unknown_shape(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "kernels", "--shape", "zebra"]) == 2
    assert "must be a prefix of hot, a, b, c or d, got 'zebra'" in capsys.readouterr().err


def test_the_interval_of_a_recall_is_that_of_its_mean() -> None:
    truth = [[1, 2], [3, 4], [5, 6], []]
    rankings = [[1, 2], [3, 9], [8, 9], [7]]
    assert recall(rankings, truth, 2) == 0.5
    # The shares are 1, 0.5 and 0: their deviation is 0.5.
    assert recall_error(rankings, truth, 2) == pytest.approx(1.96 * 0.5 / 3**0.5)
    assert recall_error(rankings[:1], truth[:1], 2) == 0.0
