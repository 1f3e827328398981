"""What the documentation says about installing is true: the extras exist, and need no second compilation."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import serotine

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
# `.[a,b]` and `serotine[a,b]` in commands; `missing_extra(purpose, "a")` in sources.
IN_COMMAND = re.compile(r"(?:'\.|serotine)\[([a-z, -]+)\]'")
IN_SOURCE = re.compile(r"missing_extra\([^)]*\"([a-z-]+)\"\)")


def test_every_extra_that_is_named_exists() -> None:
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
    named = {
        (path.relative_to(ROOT).as_posix(), extra.strip())
        for path in files
        for pattern in (IN_COMMAND, IN_SOURCE)
        for names in pattern.findall(path.read_text(encoding="utf-8"))
        for extra in names.split(",")
    }
    assert len(named) > 15
    assert {(path, extra) for path, extra in named if extra not in EXTRAS} == set()


def test_every_extra_is_explained() -> None:
    table = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert [extra for extra in EXTRAS if f"`{extra}`" not in table] == []


def test_documentation_installs_from_a_clone_first() -> None:
    """The first command of a page works in a clone; `serotine[x]` alone would look for a release."""
    for path in (ROOT / "docs").rglob("*.md"):
        first = next((line for line in path.read_text(encoding="utf-8").splitlines() if "$ pip install" in line), None)
        assert first is None or re.search(r"install '?\.", first) or "serotine" not in first, path.name


def test_pages_say_how_an_extra_is_added_to_what_is_installed() -> None:
    """Installing a clone again would compile for minutes."""
    for path in (ROOT / "docs").glob("*.md"):
        if path.name not in ("README.md", "install.md", "first-search.md", "nginx.md"):
            text = path.read_text(encoding="utf-8")
            for following in re.findall(r"^\$ pip install '\..*\n(.*)", text, re.MULTILINE):
                assert re.match(
                    r"\$ pip install ('serotine\[|\./).* # or, where Serotine is installed already$", following
                ), path.name


def test_the_smallest_installation_reads_what_the_page_says() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    without = page.partition("without an extra:")[2].partition(".\n")[0]
    rows = re.findall(r"^\| (.*) \| .* \| (.*) \|$", _section("ingest.md", "## File types"), re.MULTILINE)
    needed = {suffix for suffixes, extra in rows if extra == "`[ingest]`" for suffix in re.findall(r"\.\w+", suffixes)}
    assert {".pdf", ".epub", ".html", ".xlsx", ".parquet"} <= needed
    for suffix, name in {".epub": "EPUB", ".html": "HTML", ".pdf": "PDF", ".xlsx": "Excel", ".py": "code"}.items():
        assert suffix in needed
        assert name not in without


def _section(page: str, heading: str) -> str:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return text.partition(heading)[2].partition("\n## ")[0]


def test_an_extra_is_added_without_compiling_again() -> None:
    pytest.importorskip("pip")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--disable-pip-version-check"]
    result = subprocess.run([*command, "serotine[eval]"], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert re.search("^Requirement already satisfied: bm25s", result.stdout, re.MULTILINE)
    assert not re.search("^(Would install|Collecting|Processing|  Preparing)", result.stdout, re.MULTILINE)


def test_the_version_is_written_once() -> None:
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    source = ROOT / PYPROJECT["tool"]["dynamic-metadata"][0]["input"]
    assert f'__version__ = "{serotine.__version__}"' in source.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.cff"), *(ROOT / ".github").rglob("*.yml"), *(ROOT / "src").rglob("*.py")):
        if path != source:
            assert f'"{serotine.__version__}"' not in path.read_text(encoding="utf-8"), path


def test_the_extra_all_names_every_extra() -> None:
    (requirement,) = EXTRAS["all"]
    names = requirement.removeprefix("serotine[").removesuffix("]").split(",")
    assert names == sorted(set(EXTRAS) - {"all", "bench"})
