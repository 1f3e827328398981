"""The first commands of docs/ingest.md print what the page shows, up to numbers."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from serotine.cli import main

DOCS = Path(__file__).parents[1] / "docs"
MANUALS = ("glossary", "mcp", "privacy", "pdf-files")


def transcripts() -> list[tuple[str, list[str]]]:
    """Return the commands of the page's first two consoles that index `manuals`, each with its output."""
    consoles = [
        token.content for token in MarkdownIt().parse((DOCS / "ingest.md").read_text("utf-8")) if token.type == "fence"
    ]
    found: list[tuple[str, list[str]]] = []
    for line in "".join(consoles[:2]).splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ serotine "), []))
        else:
            found[-1][1].append(line)
    return [(command, output) for command, output in found if command.startswith("index manuals")]


def without_numbers(line: str) -> str:
    return re.sub(r"[kM]B", "B", re.sub(r"\d[\d.,]*", "N", line))


def test_an_update_prints_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("pypdfium2", "selectolax"):
        pytest.importorskip(module, reason="needs the extra: pip install 'serotine[ingest]'")
    fpdf = pytest.importorskip("fpdf", reason="needs the group: pip install --group ingest")
    monkeypatch.chdir(tmp_path)
    manuals = Path("manuals")
    manuals.mkdir()
    for name in MANUALS:
        shutil.copy(DOCS / f"{name}.md", manuals)
    (manuals / "page.html").write_text("<h1>Bats</h1><p>The serotine hunts over pastures.</p>")
    pdf = fpdf.FPDF()
    pdf.add_page()
    pdf.set_font("helvetica")
    pdf.cell(text="Noctules roost in holes of trees.")
    pdf.output(str(manuals / "manual.pdf"))
    (manuals / "cut.pdf").write_bytes((manuals / "manual.pdf").read_bytes()[:100])

    for number, (command, shown) in enumerate(transcripts(), 1):
        if number == 2:
            with (manuals / "glossary.md").open("a") as file:
                file.write("\nOne more line.\n")
            (manuals / "cut.pdf").unlink()
            (manuals / "mcp.md").unlink()
            shutil.copy(DOCS / "page.md", manuals)
        assert main(shlex.split(command)) == 0
        captured = capsys.readouterr()
        warned = [line for line in captured.err.splitlines() if line.startswith("warning: ")]
        printed = warned + captured.out.splitlines()
        assert [without_numbers(line) for line in printed] == [without_numbers(line) for line in shown]
