"""Words that docs/development/style.md excludes are rejected, and files above 500 lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The style guide quotes them; a vocabulary contains every word.
EXCEPTIONS = {"docs/development/style.md", "tests/test_words.py"}
SUFFIXES = {".py", ".md", ".cpp", ".hpp", ".js", ".html", ".css", ".yaml", ".toml"}
EXCLUDED = re.compile(
    r"\b(told|tells of|anew|stands|stand twice|stands twice|bury|buried|dearer)\b|\bis no \w+ here\b|: want \w+.*, got"
)
MAX_LINES = 500


def texts() -> list[Path]:
    folders = ("src", "docs", "tests", "benchmarks", "examples", "models/serotine-mini", "native")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    files += [
        ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml")
    ]
    return sorted(path for path in files if path.relative_to(ROOT).as_posix() not in EXCEPTIONS)


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_excluded_words_are_absent(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [f"{number}: {line.strip()}" for number, line in enumerate(lines, 1) if EXCLUDED.search(line)] == []


def test_python_files_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in texts() if path.suffix == ".py"}
    assert {path.name: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_the_changelog_of_the_first_release_speaks_of_nothing_earlier() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == 1, "there is an earlier release now: remove this test"
    earlier = re.compile(r"\b(no longer|any more|used to|not yet before)\b|[;:,] before,|as before\b|seemed lost")
    assert [line for line in text.splitlines() if earlier.search(line)] == []


def test_pages_open_with_whom_they_are_for() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"), *(ROOT / "models").glob("*/README.md")]
    for page in (*pages, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"):
        if page.name != "style.md":
            assert re.match(r"# .*\n+(For [a-z]|This page is for )", page.read_text("utf-8")), page
