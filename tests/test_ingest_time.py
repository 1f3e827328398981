"""Every reader takes time proportional to its file, also for the worst one, or refuses it in one line."""

from __future__ import annotations

import io
import json
import math
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.office_cases import CORPUS, PRESENTATION, WORD, docx, odt, packed, xlsx

from serotine.errors import InputFileError
from serotine.ingest.fields import STANDARD
from serotine.ingest.file_types import RECORD_READERS, TEXT_READERS
from serotine.ingest.readers.grammars import GRAMMARS

pytest.importorskip("selectolax")


def _nested(n: int, start: str, end: str, text: str = "x") -> str:
    return start * n + text + end * n


def _chapter(n: int) -> bytes:
    return packed(".epub", two="<html><body>" + "<p>x</p>" * n)


def _slide(shapes: str) -> bytes:
    return packed(".pptx", slide1=f"<x:sld {PRESENTATION}>{shapes}</x:sld>")


def _styles(n: int) -> bytes:
    style = '<x:style x:styleId="s{}"><x:basedOn x:val="s{}"/></x:style>'
    styles = "".join(style.format(i, i + 1) for i in range(n))
    return packed(".docx", styles=f"<x:styles {WORD}>{styles}</x:styles>")


_TABLE, _TABLE_END = "<t:table><t:table-row><t:table-cell>", "</t:table-cell></t:table-row></t:table>"

# The name of a file and its content of n parts; n takes some ten milliseconds.
_CASES: dict[str, tuple[str, int, Callable[[int], str | bytes]]] = {
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
    "drawings in drawings": (".html", 5_000, lambda n: "<svg><foreignObject><p>x</p>" * n),
    "texts in texts of a drawing": (".html", 5_000, lambda n: "<svg>" + "<text>abcdefghi " * n),
    "noscript in noscript": (".html", 1_000, lambda n: "x" + "<noscript>" * n + "<p>" + "bat " * n * 50),
    "headings in headings": (".html", 1_500, lambda n: "<h1><div><h2><div>" * n + "bat " * n),
    "links in links": (".html", 300, lambda n: "<a rel=next href=a><table><td>" * n + "bat " * n * 200),
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
    "brackets": (".md", 50_000, lambda n: "[" * n),
    "brackets of a heading": (".md", 12_000, lambda n: "# " + "[" * n),
    "backticks": (".md", 25_000, lambda n: "`a``" * n),
    "backticks of a heading": (".md", 12_000, lambda n: "# " + "`a``" * n),
    "parts of a TOML key": (".md", 5_000, lambda n: "+++\n" + "a." * n + "a=1\n+++\n"),
    "quotes of a TOML key": (".md", 15_000, lambda n: "+++\n" + '"\\' * n + "\n+++\n"),
    "references": (".md", 1_500, lambda n: "[a]: b\n" * n),
    "quotations in quotations": (".md", 5_000, lambda n: ">" * n + "\n" + "a\n" * n),
    "titles": (".rst", 3_000, lambda n: "a\n===\n\n" * n),
    "adornments": (".rst", 3_000, lambda n: "====\n" * n),
    "comments in an address": (".eml", 2_000, lambda n: "To: " + "(a)" * n + "\n\nbody"),
    "quotes in an address": (".eml", 4_000, lambda n: "To: " + '"' * n + "\n\nbody"),
    "encoded words": (".eml", 2_000, lambda n: "Subject: " + "=?utf-8?q?a?= " * n + "\n\nbody"),
    "punycode": (".eml", 30_000, lambda n: "Content-Type: text/plain; charset=punycode\n\n" + "a" * n + "-" + "b" * n),
    "punycode of HTML": (".html", 30_000, lambda n: "<meta charset=punycode><p>" + "a" * n + "\x80-" + "b" * n),
    "parameters": (".eml", 400, lambda n: "From: a@b\nContent-Type: text/plain" + "; a=b" * n + "\n\nbody"),
    "words of an encoding": (".eml", 1_000, lambda n: "From: a@b\nContent-Transfer-Encoding: " + "x " * n + "\n\nbody"),
    "headers": (".eml", 3_000, lambda n: "From: a@b\n" + "X: a\n" * n + "\nbody"),
    "parts": (
        ".eml",
        1_000,
        lambda n: "Subject: a\nContent-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * n,
    ),
    "cells": (".ipynb", 3_000, lambda n: json.dumps({"cells": [{"cell_type": "markdown", "source": "# a"}] * n})),
    "tiny paragraphs": (".docx", 20_000, lambda n: docx("<x:p><x:r><x:t>x</x:t></x:r></x:p>" * n)),
    "tiny runs": (".docx", 20_000, lambda n: docx("<x:p>" + "<x:r><x:t>x</x:t></x:r>" * n + "</x:p>")),
    "rows of Word": (".docx", 5_000, lambda n: docx(f"<x:tbl>{'<x:tr><x:tc><x:p/></x:tc></x:tr>' * n}</x:tbl>")),
    "elements of Word": (".docx", 50_000, lambda n: docx(_nested(n, "<x:sdt>", "</x:sdt>"))),
    "boxes in boxes of Word": (
        ".docx",
        60,
        lambda n: docx(_nested(n, "<x:p><x:txbxContent>", "</x:txbxContent></x:p>")),
    ),
    "styles on styles": (".docx", 3_000, _styles),
    "tiny paragraphs of OpenDocument": (".odt", 20_000, lambda n: odt("<t:p>x</t:p>" * n)),
    "boxes in boxes of OpenDocument": (
        ".odt",
        60,
        lambda n: odt(_nested(n, "<t:p><t:text-box>", "</t:text-box></t:p>")),
    ),
    "ever deeper headings": (
        ".odt",
        3_000,
        lambda n: odt("".join(f'<t:h t:outline-level="{i}">x</t:h>' for i in range(n))),
    ),
    "repeated cells": (
        ".odt",
        300,
        lambda n: odt(
            "<t:table>"
            + '<t:table-row><t:table-cell t:number-columns-repeated="99999"/></t:table-row>' * n
            + "</t:table>"
        ),
    ),
    "tables in tables of OpenDocument": (
        ".odt",
        60,
        lambda n: odt(_nested(n, _TABLE, _TABLE_END, "<t:p>x</t:p>" * 100 * n)),
    ),
    "paragraphs in paragraphs of a list of OpenDocument": (
        ".odt",
        100,
        lambda n: odt("<t:list>" + _nested(n, "<t:p>", "</t:p>", "<t:s/>" * 100 * n) + "</t:list>"),
    ),
    "boxes around many runs of Word": (
        ".docx",
        60,
        lambda n: docx(
            _nested(n, "<x:p><x:txbxContent>", "</x:txbxContent></x:p>", "<x:p>" + "<x:r/>" * 100 * n + "</x:p>")
        ),
    ),
    "rows in rows of a slide": (
        ".pptx",
        60,
        lambda n: _slide("<x:sp>" + _nested(n, "<x:tr><x:tc>", "</x:tc></x:tr>", "<x:p/>" * 100 * n) + "</x:sp>"),
    ),
    "shapes": (".pptx", 5_000, lambda n: packed(".pptx", slide1=f"<x:sld {PRESENTATION}>{'<x:sp/>' * n}</x:sld>")),
    "shapes in shapes": (
        ".pptx",
        100,
        lambda n: packed(".pptx", slide1=f"<x:sld {PRESENTATION}>{_nested(n, '<x:sp>', '</x:sp>')}</x:sld>"),
    ),
    "chapters": (".epub", 20_000, _chapter),
    "cells far to the right": (
        ".xlsx",
        1_000,
        lambda n: xlsx("".join(f'<row r="{i}"><c r="XFD{i}"><v>1</v></c></row>' for i in range(1, n + 1))),
    ),
    "rows far down": (".xlsx", 500, lambda n: xlsx("".join(f'<row r="{i * 500}"/>' for i in range(1, n + 1)))),
    "nested brackets": (".py", 50_000, lambda n: _nested(n, "[", "]")),
    "open brackets": (".js", 20_000, lambda n: "(" * n),
    "nested braces": (".c", 20_000, lambda n: "int f() " + _nested(n, "{", "}", "")),
    "definitions on one line": (".js", 20_000, lambda n: "function a(){};" * n),
    "a long line": (".py", 200_000, lambda n: "x = [" + "1," * n + "]"),
    "a long word": (".go", 1_000_000, lambda n: "x" * n),
    "cues": (".srt", 3_000, lambda n: "1\n00:00:01,000 --> 00:00:02,000\nx\n\n" * n),
}


# What formats of text begin, join or nest something with.
_REPEATED = (
    *"a \n\r\t\\([{<>&*_`~#|=-+:%'\"$/@\u0301\u6771\ufeff\u200d\u00df\U0001f600",
    *("/*", "<!--", "<![CDATA[", "&#", "&amp", "<a ", "<a b='", "]]>", "</a>", "<br>a"),
    *("![", "[a](", "[a]: ", "**a", "``a", "- ", "- - \n", "> ", "1. ", "a\n=\n", "---\n", "+++\n", "a: &a [*a, "),
    *("==\na\n==\n", ".. a::\n", ".. _a:\n", "::\n\n ", ":a:`", "`a <", "|a|_ ", "`a `_ ", "a::b:`"),
    *("\\begin{a}", "\\a{", "$a", "%\n", "a: ", "a:\n ", "? ", "!!a ", "[a]\n", "a=[", "a.b.", '"""', "'''"),
    *("a\u0301", "\u0e01\u0e33", "From a\n", "a: b\n", " a\n", "=?utf-8?q?a?=", "a@b,", "(a", "=\n", "=3D"),
    *("1\n00:00:01,000 --> 00:00:02,000\n", "<v a", "{\\a", "* a\n** b\n", "#+begin\n", "|===\n", "\x85", "\x0c"),
    *(
        "def a():\n ",
        "class a:\n",
        "if a:\n",
        "#if\n",
        "#define a(",
        "a(",
        "a<",
        "<?php ",
        "${",
        "'${",
        "<<a\n",
        "=begin\n",
    ),
    *('{"a":', '{"a":1}\n', "[1,", '"\\u', "1e9", "0" * 9, "a,", '"a",', '"a"\n', "a\tb\n", "\ta"),
)
_ONE_PER_GRAMMAR = {id(grammar): suffix for suffix, grammar in GRAMMARS.items()}.values()
# Of formats that no case above is of, or one or two; and every grammar, of which one fault would do.
_SUFFIXES = (
    *(".rst", ".tex", ".yaml", ".vtt", ".jsonl", ".mbox"),
    *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in (".ini", ".toml", ".org", *_ONE_PER_GRAMMAR)),
)


def test_markdown_without_headings_costs_no_inline_parsing(tmp_path: Path) -> None:
    for content in ("[" * 100_000, "![[" * 33_000, "[a\n" * 33_000, "*" * 50_000 + "a" + "*" * 50_000):
        path = tmp_path / "a.md"
        path.write_text(content)
        # A second with it.
        assert _seconds(path) < 0.4


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
        data = content(int(count * factor))
        paths[-1].write_bytes(data.encode() if isinstance(data, str) else data)
    # Loads what the reader imports.
    _seconds(paths[0])
    single = double = math.inf
    for _ in range(2):
        single, double = min(single, _seconds(paths[1])), min(double, _seconds(paths[2]))
    for _ in range(2):
        # A machine that does other work can slow all the rounds of one file.
        if double >= 3 * single + 0.1:
            double = min(double, _seconds(paths[2]))
    # Twice in theory, four times for quadratic time; a refusal takes the same time for both.
    assert double < 3 * single + 0.1, f"{single * 1e3:.0f} ms, then {double * 1e3:.0f} ms"
    # Seconds for 800 KB of Python in one line, which is parsed in parts of growing size first.
    assert double < 10.0


@pytest.mark.parametrize("suffix", _SUFFIXES)
def test_no_repeated_text_takes_quadratic_time(suffix: str, tmp_path: Path) -> None:
    def seconds(size: int) -> float:
        path.write_bytes(repeated.encode() * (size // len(repeated.encode())))
        return _seconds(path)

    path = tmp_path / f"a{suffix}"
    for repeated in _REPEATED:
        if (double := seconds(100_000)) > 0.3:
            assert min(double, seconds(100_000)) < 3 * seconds(50_000) + 0.1, repeated
            assert double < 5.0, repeated


def test_notes_of_word_that_refer_to_each_other_are_read_once() -> None:
    reference = '<x:p><x:r><x:t>{}</x:t></x:r><x:r><x:footnoteReference x:id="{}"/></x:r></x:p>'
    notes = "".join(
        f'<x:footnote x:id="{i}">{reference.format(f"note {i}", (i + 1) % 40) * 2}</x:footnote>' for i in range(40)
    )
    relations = '<Relationships><Relationship Id="n" Type="a/footnotes" Target="footnotes.xml"/></Relationships>'
    with zipfile.ZipFile(io.BytesIO(docx(reference.format("text", 0) * 2))) as sample:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in sample.namelist():
                if "footnotes" not in name and name != "word/_rels/document.xml.rels":
                    archive.writestr(name, sample.read(name))
            archive.writestr("word/footnotes.xml", f"<x:footnotes {WORD}>{notes}</x:footnotes>")
            archive.writestr("word/_rels/document.xml.rels", relations)
    text = TEXT_READERS[".docx"](buffer.getvalue(), "a.docx").text
    assert text.count("text") == 2
    assert [text.count(f"note {i}\n") for i in range(39)] == [2] * 39


def test_numbers_of_thousands_of_digits_are_bounded() -> None:
    digits = "9" * 5_000
    body = f'<t:h t:outline-level="{digits}">a</t:h><t:p>b<t:s t:c="{digits}"/>c<t:s t:c="²"/>d</t:p>'
    assert TEXT_READERS[".odt"](odt(body), "a.odt").text == f"a\n\nb{' ' * 100}c d"
    heading = f'<x:p><x:pPr><x:outlineLvl x:val="{digits}"/></x:pPr><x:r><x:t>a</x:t></x:r></x:p>'
    assert TEXT_READERS[".docx"](docx(heading), "a.docx").text.startswith("a\n")


def test_a_sheet_counts_whatever_its_name() -> None:
    with zipfile.ZipFile(CORPUS / "sample.xlsx") as sample:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sample.namelist():
                content = sample.read(name).replace(b"sheet1.xml", b"sheet1.png")
                archive.writestr(
                    name.replace("sheet1.xml", "sheet1.png"), content + b" " * (130 << 20) * ("sheet1" in name)
                )
    with pytest.raises(InputFileError, match="must unpack to at most 128 MiB"):
        TEXT_READERS[".xlsx"](buffer.getvalue(), "a.xlsx")


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
