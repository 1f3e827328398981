"""The workflows name programs, tests and targets that exist, end by themselves, and may change nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs the extra: pip install 'serotine[ingest]'")

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([\w-]+|\$\(VENV\)/\.\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
# What commands name before a job has made it.
MADE = ("examples/training/run", "examples/training/pairs.jsonl")
NAMED = re.compile(r"(?<![\w/.])((?:release|examples|tests|benchmarks|\.ci|models)/[\w./-]+)")


def jobs(workflow: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(workflow.read_text("utf-8"))["jobs"])


def commands(workflow: Path) -> list[str]:
    return [step["run"] for job in jobs(workflow).values() for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_commands_name_what_exists(workflow: Path) -> None:
    for command in commands(workflow):
        for path in NAMED.findall(command):
            assert (ROOT / path).exists() or path.startswith(MADE), command
        for target in re.findall(r"^make ([\w./-]+)", command, re.MULTILINE):
            assert target.replace(".venv/", "$(VENV)/") in TARGETS, command


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_end_and_change_nothing(workflow: Path) -> None:
    written = yaml.safe_load(workflow.read_text("utf-8"))
    assert written["permissions"] == {"contents": "read"}
    for name, job in jobs(workflow).items():
        assert 0 < job["timeout-minutes"] <= 120, name
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(jobs(workflow)), name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name
            assert "run" in step or re.search(r"@(v\d+|release/v\d+)$", step["uses"]), step


def test_the_night_tries_every_extra() -> None:
    listed = subprocess.run(
        [sys.executable, ROOT / "release/check_extra.py", "--list"], capture_output=True, text=True, check=True
    )
    assert "all" in listed.stdout
    assert jobs(ROOT / ".github/workflows/nightly.yml")["extra"]["strategy"]["matrix"]["extra"].startswith(
        "${{ fromJSON("
    )
