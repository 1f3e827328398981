"""Every reader takes time proportional to its file, also for the worst one, or refuses it in one line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from serotine.errors import InputFileError
from serotine.ingest.fields import STANDARD
from serotine.ingest.file_types import RECORD_READERS, TEXT_READERS

pytest.importorskip("selectolax")

# The name of a file and its content of n parts; n takes some ten milliseconds.
_CASES: dict[str, tuple[str, int, Callable[[int], str]]] = {
    "levels": (".html", 20_000, lambda n: "<div>" * n + "x" + "</div>" * n),
    "levels with footers": (".html", 20_000, lambda n: "<div>" * n + "<footer>y</footer>" * n),
    "main in main": (".html", 20_000, lambda n: "<main>" * n + "x"),
    "attributes": (".html", 50_000, lambda n: "<p " + " ".join(f"a{i}=1" for i in range(n)) + ">x"),
    "attributes without spaces": (".html", 50_000, lambda n: "<p " + "".join(f'a{i}="1"' for i in range(n)) + ">x"),
    "open formats": (".html", 3_000, lambda n: "<p>" + "".join(f"<b a={i}>" for i in range(n)) + "<p>x" * n),
    "closed only in comments": (
        ".html",
        3_000,
        lambda n: "<p>" + "".join(f"<b a={i}><!--</b>--><p title='</b>'>" for i in range(n)),
    ),
    "empty links to the next page": (".html", 4_000, lambda n: "<div>" * n + "<a rel=next></a>"),
    "paragraphs": (".html", 3_000, lambda n: "<p>x</p>" * n),
    "columns": (".csv", 30_000, lambda n: "text," + ",".join(f"c{i}" for i in range(n)) + "\n" + "1," * n + "1\n"),
    "equal columns": (".csv", 30_000, lambda n: "text" + ",c" * n + "\n"),
    "open quotes": (".csv", 5_000, lambda n: "text,a\n" + 'a,"x\n' * n),
    "elements in elements": (".xml", 20_000, lambda n: "<a>" * n + "x" + "</a>" * n),
    "attributes of XML": (".xml", 20_000, lambda n: "<a " + " ".join(f"a{i}='1'" for i in range(n)) + ">x</a>"),
    "siblings": (".xml", 10_000, lambda n: "<a>" + "<b>x</b>" * n + "</a>"),
    "keys": (".json", 20_000, lambda n: json.dumps({"text": "a", **{f"k{i}": i for i in range(n)}})),
    "objects": (".json", 10_000, lambda n: json.dumps([{"text": "a"}] * n)),
    "rows of a table": (".md", 1_500, lambda n: "|a|b|\n|-|-|\n" + "|x|y|\n" * n),
    "items on one line": (".md", 1_500, lambda n: "- " * n + "a"),
    "brackets": (".md", 1_500, lambda n: "[" * n),
    "backticks": (".md", 1_500, lambda n: "`a``" * n),
    "titles": (".rst", 3_000, lambda n: "a\n===\n\n" * n),
    "adornments": (".rst", 3_000, lambda n: "====\n" * n),
    "comments in an address": (".eml", 2_000, lambda n: "To: " + "(a)" * n + "\n\nbody"),
    "quotes in an address": (".eml", 4_000, lambda n: "To: " + '"' * n + "\n\nbody"),
    "encoded words": (".eml", 2_000, lambda n: "Subject: " + "=?utf-8?q?a?= " * n + "\n\nbody"),
    "headers": (".eml", 3_000, lambda n: "From: a@b\n" + "X: a\n" * n + "\nbody"),
    "parts": (
        ".eml",
        1_000,
        lambda n: "Subject: a\nContent-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * n,
    ),
    "cells": (".ipynb", 3_000, lambda n: json.dumps({"cells": [{"cell_type": "markdown", "source": "# a"}] * n})),
    "cues": (".srt", 3_000, lambda n: "1\n00:00:01,000 --> 00:00:02,000\nx\n\n" * n),
}


def _seconds(path: Path) -> float:
    """Return the processor time of reading a file; refusing it counts too."""
    started = time.process_time()
    with suppress(InputFileError):
        if path.suffix in RECORD_READERS:
            for _ in RECORD_READERS[path.suffix](path, path.name, STANDARD):
                pass
        else:
            TEXT_READERS[path.suffix](path.read_bytes(), path.name)
    return time.process_time() - started


@pytest.mark.parametrize("name", _CASES)
def test_twice_the_file_takes_twice_the_time(name: str, tmp_path: Path) -> None:
    suffix, count, content = _CASES[name]
    paths = []
    for factor in (0.01, 1, 2):
        paths.append(tmp_path / f"{factor}{suffix}")
        paths[-1].write_text(content(int(count * factor)))
    # Loads what the reader imports.
    _seconds(paths[0])
    single, double = (min(_seconds(path) for _ in range(2)) for path in paths[1:])
    # Twice in theory, four times for quadratic time; a refusal takes the same time for both.
    assert double < 3 * single + 0.1, f"{single * 1e3:.0f} ms, then {double * 1e3:.0f} ms"
    assert double < 5.0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<div>" * 100_000, "too many elements are left open, or nested"),
        ("<p " + " ".join(f"a{i}" for i in range(200_000)) + ">x", "a tag 'p' has more than 1,000 attributes"),
        ("<p>" + "".join(f"<b a={i}>" for i in range(5_000)) + "<p>x" * 5_000, "too many elements are left open"),
        ("<table>" + "".join(f"<b a={i}><td></td>x" for i in range(5_000)), "too many elements are left open"),
        ("<svg><![CDATA[></b></b>]]><p>" + "".join(f"<i a={i}></!i>" for i in range(5_000)), "left open"),
    ],
)
def test_html_that_would_take_quadratic_time_is_refused(content: str, reason: str) -> None:
    with pytest.raises(InputFileError, match=reason):
        TEXT_READERS[".html"](content.encode(), "a.html")


@pytest.mark.parametrize(
    "content",
    [
        # Unclosed, as pages of the nineties are.
        "<table>" + "<tr><td><font size=2>text" * 20_000,
        "<ul>" + "<li><b>name</b> text<p>more" * 20_000,
        "<p><span>text" * 5_000,
        "<script>" + "'<b><div>' + " * 20_000 + "</script><p>text",
        "<svg>" + "<path d='M0 0'/>" * 50_000 + "</svg>text",
        "<!-- " + "<div>" * 50_000 + "--><p>text",
        "<div>" * 1_000 + "text",
    ],
)
def test_careless_html_is_read(content: str) -> None:
    assert "text" in TEXT_READERS[".html"](content.encode(), "a.html").text


def test_long_headers_of_messages_keep_their_words(tmp_path: Path) -> None:
    addresses = ", ".join(f"Anna {i} <a{i}@example.org>" for i in range(100))
    subject = " ".join(["=?utf-8?q?Flederm=C3=A4use?="] * 100)
    extract = TEXT_READERS[".eml"](f"To: {addresses}\nSubject: {subject}\n\nbody".encode(), "a.eml")
    assert extract.metadata["to"] == addresses
    assert extract.metadata["title"] == "Fledermäuse" * 100
