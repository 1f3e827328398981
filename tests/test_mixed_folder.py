"""A folder of 60 files of all kinds, with the faults that real folders have: nothing of it is lost in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers import mixed_folder
from helpers.mixed_folder import fact

from serotine import Index
from serotine.cli import main

for library in ("docx", "fpdf", "openpyxl", "pptx", "selectolax", "serotine_mini", "tree_sitter"):
    pytest.importorskip(library)

# Every fact of these must be in the index, in a document of the file named here.
INDEXED = {
    "README": "texts/README",
    "todo.txt": "texts/todo.txt",
    "long.txt": "texts/long.txt",
    "one line.txt": "texts/one line.txt",
    "wrapped.txt": "texts/wrapped.txt",
    "utf16.txt": "texts/utf16.txt",
    "notes.md": "texts/notes.md",
    "broken.md": "texts/broken.md",
    "guide.markdown": "texts/guide.markdown",
    "server.log": "texts/server.log",
    "settings.yaml": "texts/settings.yaml",
    "it's a name": 'texts/it\'s a "name" & more.txt',
    "manual.html": "web/manual.html",
    **dict.fromkeys(("alt", "noscript", "svg", "textarea"), "web/manual.html"),
    "feed.xml": "web/feed.xml",
    "film.srt": "web/film.srt",
    **{f"slide {page}": "office/slides.pdf" for page in range(1, 5)},
    "hyphens.pdf": "office/hyphens.pdf",
    "report.docx": "office/report.docx",
    "footer": "office/report.docx",
    "talk 1": "office/talk.pptx",
    "talk 2": "office/talk.pptx",
    "prices.xlsx": "office/prices.xlsx",
    "hidden sheet": "office/prices.xlsx",
    "novel.epub": "office/novel.epub",
    "letter.odt": "office/letter.odt",
    "r1": "tables/records.jsonl",
    "r4": "tables/records.jsonl",
    "first.csv": "tables/first.csv",
    "second.csv": "tables/second.csv",
    "ids-a.csv": "tables/ids-a.csv",
    "ids-b.csv": "tables/ids-b.csv",
    "semicolon.csv": "tables/semicolon.csv",
    "excel.csv": "tables/excel.csv",
    "tabs.tsv": "tables/tabs.tsv",
    "ragged.csv": "tables/ragged.csv",
    "upper.csv": "tables/upper.csv",
    "array.json": "tables/array.json",
    "long.jsonl": "tables/long.jsonl",
    "door.py": "code/door.py",
    "door.js": "code/door.js",
    "door.c": "code/door.c",
    "door.ipynb": "code/door.ipynb",
    "door.rst": "code/door.rst",
    "mail.eml": "others/mail.eml",
}
# Files that are skipped, and the beginning of the reason.
SKIPPED = {
    "office/broken.docx": "damaged, or not a .docx file",
    "office/cut.pdf": "damaged, or not a PDF",
    "office/locked.pdf": "encrypted; save it without a password",
    "office/scan.pdf": "contains no text on its 1 page, only images",
    "tables/content.jsonl": "line 1: has no 'text', only title, content; name the text with --text-field",
    "tables/no-text.csv": "line 1: the header must name a column 'text', got name, price",
    "texts/binary.txt": "not a text file: contains NUL bytes",
    "texts/empty.txt": "contains no text",
}
# Rows that are skipped, and the beginning of the reason.
SKIPPED_ROWS = {
    ("tables/ragged.csv", 3): "must have 2 columns like the header, got 3",
    ("tables/ragged.csv", 4): "contains a NUL byte; remove it",
    ("tables/records.jsonl", 2): "'text' must be a string, got null",
    ("tables/records.jsonl", 3): "duplicate id 'r1'",
    ("tables/records.jsonl", 4): "'text' must be a string, got null",
    ("tables/records.jsonl", 5): "not valid JSON",
}
# What is read, but maybe not as it was meant.
PROBLEMS = {
    (
        "tables/ids-b.csv",
        2,
        "its ids number its rows, as those of notes/tables/ids-a.csv do, and are stored as notes/tables/ids-b.csv:1",
    ),
    ("office/prices.xlsx", 1, "sheet 'Costs' is hidden, and indexed like the others"),
    ("tables/second.csv", 1, "not UTF-8, and read as gb18030, which is a guess"),
    ("tables/second.csv", 1, "the header has 'note' more than once"),
    (
        "tables/second.csv",
        2,
        "records have fields of their own named 'source' (1), which are 'document_source' in the metadata",
    ),
    ("texts/latin1.txt", 1, "not UTF-8, and read as cp1252, which is a guess"),
    (
        "texts/broken.md",
        3,
        "front matter is not valid YAML (expected ',' or ']', but got '<stream end>') and was read as text",
    ),
}


class Run(NamedTuple):
    """One run of ``serotine index``."""

    report: dict[str, Any]
    warnings: list[str]
    output: str


def index_folder(folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(folder.parent)
    capfd.readouterr()
    assert main(["index", folder.name, "--json", "report.json"]) == 0
    out, err = capfd.readouterr()
    return Run(json.loads(Path("report.json").read_text(encoding="utf-8")), err.splitlines(), out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mixed_folder.create(tmp_path / "notes")


def documents(folder: Path) -> dict[str, Any]:
    with Index.open(folder.with_suffix(".serotine"), read_only=True) as index:
        return {document.id: document for document in index.documents()}


def files_of(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    }


def test_everything_is_indexed_or_reported(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(folder)
    assert len(files) == 60
    run = index_folder(folder, capfd, monkeypatch)
    stored = documents(folder)

    for name, file in INDEXED.items():
        documents_with = [document for document in stored.values() if fact(name) in document.text]
        assert documents_with, name
        # A mail is in its own file and in a mailbox.
        assert f"notes/{file}" in {document.metadata["source"] for document in documents_with}, name
    skipped = {entry["file"].removeprefix("notes/"): entry["reason"] for entry in run.report["skipped"]}
    assert skipped.keys() == SKIPPED.keys()
    assert all(skipped[file].startswith(reason) for file, reason in SKIPPED.items())
    rows = {
        (entry["file"].removeprefix("notes/"), entry["line"]): entry["reason"]
        for entry in run.report["skipped_rows"]["first"]
    }
    assert run.report["skipped_rows"]["count"] == len(SKIPPED_ROWS)
    assert rows.keys() == SKIPPED_ROWS.keys()
    assert all(rows[row].startswith(reason) for row, reason in SKIPPED_ROWS.items())

    problems = {
        (entry["file"].removeprefix("notes/"), entry["line"], entry["reason"].split(";")[0])
        for entry in run.report["problems"]["first"]
    }
    assert problems == PROBLEMS
    assert run.report["unread"] == {"images": 1, "attributes": 1}
    ignored = run.report["ignored"]
    assert ignored["suffixes"] == {".jpg": 2, ".zip": 1}
    assert (ignored["hidden"], ignored["excluded"], ignored["linked"]) == (2, 1, 1)
    assert ignored["folders"] == {"node_modules": 1}
    # The sum: every file is indexed, skipped or ignored, and none twice.
    sources = {document.metadata["source"].removeprefix("notes/") for document in stored.values()}
    assert len(sources) == run.report["files"]["added"]
    not_read = {"others/photo.jpg", "others/photo2.jpg", "others/archive.zip", "others/node_modules/readme.md"}
    not_read |= {"others/.gitignore", "others/.hidden.txt", "others/draft.tmp.txt"}
    assert sources | skipped.keys() | not_read == files
    assert len(sources) + len(skipped) + len(not_read) == len(files)
    assert (run.report["cut_records"], run.report["unknown"]) == (1, 3)
    assert run.report["unknown_scripts"] == {"Cyrillic": 1, "Han": 1, "Thai": 1}


def test_the_warnings_name_every_loss(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = index_folder(folder, capfd, monkeypatch)
    text = "\n".join(run.warnings)
    assert run.warnings.count("The index is notes.serotine; -o chooses another place.") == 1
    assert sum(line.startswith("warning: ") for line in run.warnings) == len(run.warnings) - 1
    for file, reason in SKIPPED.items():
        line = f"warning: skipped: notes/{file}: {reason}"
        assert line in text or line.replace(": line ", ":") in text, file
    for (file, line_number), reason in SKIPPED_ROWS.items():
        assert f"warning: skipped row: notes/{file}:{line_number}: {reason}" in text
    assert "warning: 6 bad rows of 2 files skipped; --strict rejects such files" in text
    assert "warning: notes/texts/broken.md:3: front matter is not valid YAML" in text
    assert "(Han, Thai, Cyrillic)" in text
    assert "ignored: 3 of unknown types (.jpg 2, .zip 1)" in run.output
    assert "Search it: serotine search notes.serotine" in run.output


def test_rows_name_their_line(folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    index_folder(folder, capfd, monkeypatch)
    stored = documents(folder)
    for id_, file, line in [
        ("r1", "records.jsonl", 1),
        ("s1", "semicolon.csv", 2),
        # After a line "sep=;".
        ("e1", "excel.csv", 3),
        ("u1", "upper.csv", 2),
        ("l1#1", "long.jsonl", 1),
        ("notes/tables/first.csv:2", "first.csv", 2),
    ]:
        metadata = stored[id_].metadata
        assert (metadata["source"], metadata["line"]) == (f"notes/tables/{file}", line)


def test_texts_are_read_as_a_person_reads_them(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index_folder(folder, capfd, monkeypatch)
    stored = documents(folder)
    by_file: dict[str, list[Any]] = {}
    for document in stored.values():
        by_file.setdefault(document.metadata.get("source", "").removeprefix("notes/"), []).append(document)
    (manual,) = by_file["web/manual.html"]
    assert "try:\n    open_door()\nexcept Locked:" in manual.text
    assert "¶" not in manual.text
    assert "Skip to content" not in manual.text
    assert manual.metadata["title"] == "Opening doors"
    (notes,) = by_file["texts/notes.md"]
    assert "title: Meeting" not in notes.text
    assert notes.text.startswith("Meeting\ntags: a, b\n\n# Notes")
    assert (notes.metadata["title"], notes.metadata["tags"]) == ("Meeting", ["a", "b"])
    assert str(notes.metadata["date"]) == "2026-11-03"
    (hyphens,) = by_file["office/hyphens.pdf"]
    assert "infor-" not in hyphens.text
    assert "information is kept" in hyphens.text
    assert "A self-evident rule" in hyphens.text
    for slide in by_file["office/slides.pdf"]:
        first, last = slide.metadata["page"], slide.metadata.get("last_page", slide.metadata["page"])
        for page in range(1, 5):
            assert (fact(f"slide {page}") in slide.text) == (first <= page <= last)
    assert by_file["tables/second.csv"][0].metadata["note"] == "蝙蝠在夜间飞行 白天在洞穴中睡觉"
    assert "Les élèves étaient très fatigués" in by_file["texts/latin1.txt"][0].text
    assert "Летучие мыши" in by_file["web/russian.html"][0].text
    door = next(document for document in by_file["code/door.py"] if "open_door" in document.text)
    assert (door.metadata["language"], door.metadata["symbol"]) == ("python", "open_door")


def test_a_second_run_changes_nothing_and_reports_the_same_losses(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = index_folder(folder, capfd, monkeypatch).report
    second = index_folder(folder, capfd, monkeypatch).report
    assert (second["added"], second["files"]["unchanged"]) == (0, first["files"]["added"])
    for losses in ("skipped_rows", "problems", "ignored", "unread"):
        assert second[losses] == first[losses]
    assert [skipped["file"] for skipped in second["skipped"]] == [skipped["file"] for skipped in first["skipped"]]


def test_facts_are_found(folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fact at the end of a long text, in a cell, on a slide, in code: each is the first hit of its own sentence."""
    index_folder(folder, capfd, monkeypatch)
    with Index.open(folder.with_suffix(".serotine"), read_only=True) as index:
        for name in ("long.txt", "long.jsonl", "slide 3", "semicolon.csv", "door.py", "mail.eml", "novel.epub"):
            (hit,) = index.search(fact(name), k=1)
            assert fact(name) in (hit.text or ""), name
