"""Markdown: its source, split at its headings."""

from __future__ import annotations

import re

from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, encoding_metadata, sections

# Settings between these lines, which CommonMark would read as a heading.
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n.*?^(?:---|\.\.\.)[ \t]*\r?$", re.DOTALL | re.MULTILINE)
# The line ends of CommonMark; Python counts more characters as line ends.
_LINE_END = re.compile(r"\r\n|\n|\r")


def read_markdown(data: bytes, name: str) -> Extract:
    """Return the text of a .md file with its headings, except those in code; the first heading is its title.

    Raises:
        InputFileError: it is not text.
    """
    text, encoding = decode(data, name)
    headings = _headings(text)
    title = {"title": headings[0][2]} if headings and headings[0][2] else {}
    return Extract(text, sections(len(text), headings), {**title, **encoding_metadata(encoding)})


def _headings(text: str) -> list[tuple[int, int, str]]:
    """Return the headings as (offset, level, text)."""
    from markdown_it import MarkdownIt

    starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
    front = _FRONT_MATTER.match(text)
    # Blank lines in its place keep the line numbers.
    settings = "" if front is None else front.group().rstrip("\r")
    source = "\n" * len(_LINE_END.findall(settings)) + text[len(settings) :]
    tokens = MarkdownIt("commonmark").parse(source)
    headings = []
    for i, token in enumerate(tokens):
        # Headings inside quotations and lists are part of those.
        if token.type == "heading_open" and token.level == 0 and token.map is not None:
            title = "".join(
                child.content if child.type in ("text", "code_inline") else " " if child.type.endswith("break") else ""
                for child in tokens[i + 1].children or []
            )
            headings.append((starts[token.map[0]], int(token.tag[1]), " ".join(title.split())))
    return headings
