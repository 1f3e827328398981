"""Readers of marked-up text: front matter, reStructuredText, subtitles, notebooks, and text files by their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serotine.errors import InputFileError
from serotine.ingest import SourceFile, read
from serotine.ingest.chunking import Chunker, Chunking
from serotine.ingest.readers.front_matter import read_front_matter
from serotine.ingest.readers.markdown import read_markdown
from serotine.ingest.readers.notebook import read_notebook
from serotine.ingest.readers.restructured import read_restructured
from serotine.ingest.readers.subtitles import read_subtitles
from serotine.ingest.rows import SkippedRow


def test_front_matter_that_multiplies_itself_is_text() -> None:
    pytest.importorskip("yaml")
    aliases = "a: &a " + "b" * 30_000 + "\nt: [" + ", ".join(["*a"] * 8_000) + "]"
    (problem,) = read_front_matter(f"---\n{aliases}\n---\nbats\n").problems
    assert "more than 10,000 values or 131,072 characters" in problem[1]
    merges = "\n".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 40))
    assert read_front_matter(f"---\na0: &a0 {{x: 1}}\n{merges}\n---\nbats\n").metadata["a39"] == {"x": 1}


def test_front_matter_is_metadata_and_not_text() -> None:
    pytest.importorskip("yaml")
    source = (
        "---\ntitle: Bats\ntags: [night, cave]\ndate: 2026-11-24\ndraft: false\nsource: https://a.b\nrank: .nan\n"
        "nested: {1: 12:30:00}\n---\n\n# Heading\ntext\n"
    )
    extract = read_markdown(source.encode(), "f")
    assert extract.text == "\n# Heading\ntext\n"
    assert extract.metadata == {
        "title": "Bats",
        "tags": ["night", "cave"],
        "date": "2026-11-24",
        "draft": False,
        "rank": None,
        "nested": {"1": 45_000},
        # A passage's own `source` is its file.
        "front_matter": {"source": "https://a.b"},
    }
    json.dumps(extract.metadata, allow_nan=False)


def test_front_matter_in_toml() -> None:
    source = '+++\r\ntitle = "Bats"\r\ndate = 2026-11-24T10:00:00Z\r\n[extra]\r\nn = 1.5\r\n+++\r\ntext'
    extract = read_markdown(source.encode(), "f")
    assert extract.text == "text"
    assert extract.metadata == {"title": "Bats", "date": "2026-11-24T10:00:00+00:00", "extra": {"n": 1.5}}


@pytest.mark.parametrize(
    "source",
    [
        "---\n\nA paragraph.\n\n---\nmore",
        "---\nkey: value without an end",
        "text\n---\na: b\n---\n",
        "----\na: b\n---\n",
    ],
)
def test_lines_across_a_page_are_no_front_matter(source: str) -> None:
    pytest.importorskip("yaml")
    assert read_front_matter(source).end == 0
    assert read_front_matter(source).problems == ()


ALIASES = "k0: &a0 [1]\n" + "".join(f"k{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("---\ntitle: a\nb: c: d\n---\ntext", 3, "mapping values are not allowed here"),
        ("---\ndate: 2026-13-45\n---\ntext", 1, "month must be in 1..12"),
        ("---\na: !!python/name:os.system x\n---\ntext", 2, "could not determine a constructor"),
        ("+++\na = \n+++\ntext", 1, "Invalid value"),
        # Aliases that would multiply to millions.
        (
            "---\n"
            + "".join(f"k{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 1}]\n" for i in range(9))
            + "---\n",
            1,
            "more than 10,000",
        ),
        (f"---\na: {'[' * 40}{']' * 40}\n---\n", 1, "nested more than 16 deep"),
    ],
)
def test_broken_front_matter_is_reported_and_stays_text(tmp_path: Path, source: str, line: int, reason: str) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "a.md").write_text(source)
    rows: list[SkippedRow] = []
    (document,) = SourceFile.named(tmp_path / "a.md", "a.md").documents(on_problem=rows.append)
    assert document.text == source.strip()
    ((name, at, message),) = [(row.file, row.line, row.reason) for row in rows]
    assert (name, at) == ("a.md", line)
    assert message.startswith("front matter is not valid")
    assert reason in message


def test_broken_front_matter_is_no_title() -> None:
    pytest.importorskip("yaml")
    source = "---\ntitle: [broken\n---\n{}More.\n"
    untitled = read_markdown(source.format("").encode(), "a.md")
    assert (untitled.metadata, [section.headings for section in untitled.sections]) == ({}, [()])
    assert read_markdown(source.format("# Bats\n").encode(), "a.md").metadata == {"title": "Bats"}
    # Not broken, and no front matter: a heading that Markdown underlines.
    assert read_markdown(b"Bats\n---\nThey fly.\n", "a.md").metadata == {"title": "Bats"}


RST = """\
=====
Guide
=====
:Author: Anna B.
:Date: 2026-11-24

Intro ``code``.

Install :ref:`it <x>`
---------------------
.. code-block:: text

   Not a title
   -----------

=====  =====
a      b
=====  =====

A transition follows.

------

On `Linux`_
~~~~~~~~~~~
Text.

C#
--
Short
..

Ab
..
"""


def test_restructured_text_structure() -> None:
    for end in ("\n", "\r\n"):
        text = RST.replace("\n", end)
        extract = read_restructured(text.encode(), "f")
        assert extract.text == text
        assert extract.metadata == {"title": "Guide", "author": "Anna B.", "date": "2026-11-24"}
        assert [section.headings for section in extract.sections] == [
            ("Guide",),
            ("Guide", "Install it"),
            ("Guide", "Install it", "On Linux"),
            ("Guide", "C#"),
        ]
        assert "".join(text[section.start : section.end] for section in extract.sections) == text
        assert text[extract.sections[1].start :].startswith("Install")


def test_subtitles_are_what_is_said_with_its_times() -> None:
    srt = (
        "1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>Bats fly</i>\r\nlate.\r\n\r\n"
        "2\r\n01:02:03,000 --> 01:02:04,000\r\n{\\an8}Owls hunt.\r\n"
    )
    vtt = (
        "WEBVTT\n\nSTYLE\n::cue { color: red }\n\nNOTE a comment\n\nintro\n00:01.000 --> 00:02.500 align:start\n"
        "Bats fly\nlate.\n\n01:02:03.000 --> 01:02:04.000\n<v Anna>Owls <00:01.500>hunt &amp; eat.</v>\n"
    )
    for source, spoken in ((srt, "Owls hunt."), (vtt, "Anna: Owls hunt & eat.")):
        extract = read_subtitles(source.encode(), "f")
        assert extract.text == f"Bats fly\nlate.\n{spoken}"
        end = len(extract.text)
        assert extract.passage_metadata(0, 5, ()) == {"start": 0, "end": 5, "time": "00:00:01"}
        assert extract.passage_metadata(6, end, ()) == {
            "start": 6,
            "end": end,
            "time": "00:00:01",
            "last_time": "01:02:03",
        }
    with pytest.raises(InputFileError, match=r"a\.srt: contains no times"):
        read_subtitles(b"just words", "a.srt")


def notebook(cells: list[dict[str, Any]], **metadata: Any) -> bytes:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}).encode()


def test_a_notebook_is_its_cells_with_their_outputs() -> None:
    image = {"output_type": "display_data", "data": {"image/png": "iVBOR", "text/plain": "<Figure size 640x480>"}}
    data = notebook(
        [
            {"cell_type": "markdown", "source": ["# Bats\n", "Late."]},
            {
                "cell_type": "code",
                "source": "count(bats)\n",
                "outputs": [
                    {"output_type": "stream", "name": "stdout", "text": ["\x1b[31mred\x1b[0m\n"]},
                    {"output_type": "execute_result", "data": {"text/plain": "42", "text/html": "<b>42</b>"}},
                    image,
                    {"output_type": "error", "ename": "ValueError", "evalue": "no bats", "traceback": ["..."]},
                    {"output_type": "stream", "text": "x" * 5_000},
                ],
            },
            {"cell_type": "code", "source": "", "outputs": []},
            {"cell_type": "markdown", "source": "## Owls", "attachments": {"a.png": {}}},
        ],
        kernelspec={"language": "python"},
    )
    extract = read_notebook(data, "f")
    assert extract.text == "\n\n".join(
        ["# Bats\nLate.", "count(bats)", "red", "42", "ValueError: no bats", "x" * 4_000, "## Owls"]
    )
    assert extract.metadata == {"title": "Bats", "language": "python"}
    assert extract.unread == {"images": 2, "ends of long outputs": 1}
    assert [section.headings for section in extract.sections] == [("Bats",), ("Bats", "Owls")]
    owls = extract.sections[1]
    assert extract.passage_metadata(owls.start, owls.end, owls.headings)["cell"] == 4
    assert extract.passage_metadata(0, owls.start, ())["last_cell"] == 2


def test_what_a_notebook_should_not_have_is_no_text() -> None:
    cells = [{"cell_type": "markdown", "source": "Bats", "attachments": 5}, {"cell_type": "code", "outputs": {"a": 1}}]
    extract = read_notebook(notebook(cells, title="\ud800 late", kernelspec={"language": "\ud800"}), "f")
    assert (extract.text, dict(extract.unread)) == ("Bats", {})
    assert extract.metadata == {"title": "? late", "language": "?"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "not a notebook: not valid JSON"),
        (b"[]", "has no cells"),
        (b'{"worksheets": []}', "a notebook of a version before 4"),
        (b"[" * 100_000, "not a notebook"),
    ],
)
def test_a_broken_notebook_is_one_message(data: bytes, message: str) -> None:
    with pytest.raises(InputFileError, match=rf"^a\.ipynb: {message}[^\n]*$"):
        read_notebook(data, "a.ipynb")


def test_text_files_by_their_names(tmp_path: Path) -> None:
    names = ["README", "LICENSE-MIT", "CHANGELOG.gz", "a.text", "b.log", "c.org", "d.adoc", "e.markdown", "f.TXT"]
    for name in names:
        data = b"# words"
        if name.endswith(".gz"):
            import gzip

            data = gzip.compress(data)
        (tmp_path / name).write_bytes(data)
    for other in ("Makefile", "unreadme", "a.bin"):
        (tmp_path / other).write_text("words")
    assert sorted(Path(document.id).name for document in read([tmp_path])) == sorted(names)


class WordEncoder:
    def __init__(self) -> None:
        self.name = "words"
        self.dimension = 8


def test_passages_of_subtitles_name_the_times_they_cover() -> None:
    cues = [f"{i}\n00:{i:02}:00,000 --> 00:{i:02}:05,000\nBats fly late and {i} owls hunt early.\n" for i in range(40)]
    extract = read_subtitles("\n".join(cues).encode(), "f")
    chunks = list(Chunker(WordEncoder(), Chunking(32, 0)).chunks(extract))  # type: ignore[arg-type]
    assert len(chunks) > 5
    for chunk in chunks:
        metadata = extract.passage_metadata(chunk.start, chunk.end, ())
        lines = [extract.text.count("\n", 0, offset) for offset in (chunk.start, chunk.end - 1)]
        assert [metadata["time"], metadata.get("last_time", metadata["time"])] == [f"00:{line:02}:00" for line in lines]
