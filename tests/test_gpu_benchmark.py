"""The program that measures a GPU, rehearsed on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

SCRIPT = Path(__file__).parents[1] / "benchmarks/gpu/measure.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_it_measures_every_shape_once_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    first = run("--rehearse", "--out", str(out))
    assert first.returncode == 0, first.stderr
    stored = json.loads(out.read_text())
    assert len(stored["rows"]) == 15
    for key, row in stored["rows"].items():
        tolerance = 1e-5 if "float32" in key else 2e-2
        assert row["largest_error"] < tolerance, key
    removed = stored["rows"].popitem()[0]
    out.write_text(json.dumps(stored))
    second = run("--rehearse", "--out", str(out))
    assert second.stdout.count("\n") == 1
    assert removed in second.stdout


def test_figures_of_another_machine_are_not_mixed(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    out.write_text(json.dumps({"machine": {"gpu": "another"}, "rows": {}}))
    refused = run("--rehearse", "--out", str(out))
    assert refused.returncode == 2
    assert "another machine" in refused.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(tmp_path: Path) -> None:
    refused = run("--out", str(tmp_path / "gpu.json"))
    assert refused.returncode == 2
    assert "no CUDA device" in refused.stderr
    assert not (tmp_path / "gpu.json").exists()
