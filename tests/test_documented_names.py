"""Python names of pages exist, their indexes do not collide, and figures in prose are those of the table."""

from __future__ import annotations

import json
import pkgutil
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").glob("*/README.md")])
# A reader may follow these one after the other, in one folder.
FOLLOWED = ("README", *(f"docs/{name}" for name in ("first-search", "other-language", "rerank-bm25", "serving")))
FOLLOWED += tuple(f"docs/{name}" for name in ("evaluate-honestly", "how-it-works", "pdf-files", "snapshots"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_names_exist(page: Path) -> None:
    missing = []
    for name in set(re.findall(r"`(serotine(?:\.[A-Za-z_]\w*)+)[`(]", page.read_text("utf-8"))):
        # Not serotine.json, a file.
        if name == "serotine.json":
            continue
        try:
            pkgutil.resolve_name(name)
        except AttributeError:
            missing.append(name)
        except ImportError as error:
            # A library that is not installed.
            if (error.name or "serotine").startswith("serotine"):
                missing.append(name)
    assert missing == []


def test_pages_that_are_followed_in_turn_create_different_indexes() -> None:
    created = defaultdict(set)
    for page in FOLLOWED:
        text = (ROOT / f"{page}.md").read_text("utf-8")
        for name, options in re.findall(r'Index\.(?:open_or_)?create\("([^"]+)", (.*)\)', text):
            created[name].add(options)
        for command in re.findall(r"^\$ serotine index ([^#\n]*)", text, re.MULTILINE):
            named = re.search(r"-o (\S+)", command)
            created[named[1] if named else f"{command.split()[0]}.serotine"].add(command.strip())
    assert {name: ways for name, ways in created.items() if len(ways) > 1} == {}


def test_the_speed_on_ragged_documents_is_the_quotient_of_the_table() -> None:
    rows = json.loads((ROOT / "benchmarks/results/kernels.json").read_text())["rows"]
    speeds = {
        row["method"]: row["documents_per_second"]
        for row in rows
        if (row["dim"], row["threads"]) == (128, 1) and row["workload"].startswith("b")
    }
    fp32, fp16, bf16, int8 = (
        f"{speeds[f'serotine {dtype}'] / speeds['maxsim-cpu']:.1f}" for dtype in ("fp32", "fp16", "bf16", "int8")
    )
    page = (ROOT / "docs/kernels.md").read_text("utf-8")
    assert f"{fp32} times in fp32, {fp16} in fp16, {bf16} in bf16 and {int8} in int8" in page


def test_the_tests_that_developers_are_shown_exist() -> None:
    page = (ROOT / "docs/development/README.md").read_text("utf-8")
    commands = re.findall(r"pytest (?:-m '' )?(tests/\w+\.py)(?: -k (\w+))?", page)
    assert len(commands) >= 4
    for file, part in commands:
        tests = re.findall(r"^def (test_\w+)", (ROOT / file).read_text("utf-8"), re.MULTILINE)
        assert any(part in test for test in tests), (file, part)
