"""The figures of Cranfield on several pages are one another's, and what serotine-mini gives."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from helpers.printed import check_printed
from markdown_it import MarkdownIt

from serotine.cli import main

ROOT = Path(__file__).parents[1]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def test_pages_agree() -> None:
    reports = page("reports.md")
    row = re.search(r"serotine-mini  cranfield +\+([\d.]+) +(\d+) +\d+ +(\d+)  ([\d.]+)", reports)
    assert row is not None
    difference, wins, losses, p = row.groups()
    assert f"The difference of {difference} is unlikely to be chance: {wins} queries improved, {losses} got" in reports
    assert f"a difference of {float(difference):.1f} points has p = {p}" in page("evaluate-honestly.md")
    means = re.findall(r"^ (?:bm25|serotine-mini) +([\d.]+)$", reports, re.MULTILINE)
    assert means == re.findall(r"^ (?:BM25|Serotine)[^\d\n]*([\d.]+)$", page("first-search.md"), re.MULTILINE)
    assert float(means[1]) - float(means[0]) == pytest.approx(float(difference), abs=0.01)


@pytest.mark.slow
def test_the_commands_print_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ir_measures", reason="needs the extra: pip install 'serotine[eval]'")
    monkeypatch.chdir(tmp_path)
    Path("examples").symlink_to(ROOT / "examples")
    console = next(token for token in MarkdownIt().parse(page("reports.md")) if token.info == "console")
    for block in console.content.removeprefix("$ ").split("\n$ "):
        command, *shown = block.rstrip("\n").splitlines()
        assert main(shlex.split(command.removeprefix("serotine "))) == 0
        check_printed([line.rstrip() for line in capsys.readouterr().out.splitlines()], shown)
