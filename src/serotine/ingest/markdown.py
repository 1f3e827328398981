"""Markdown: its source as it stands, cut at its headings."""

from __future__ import annotations

import re

from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, encoding_of, sections

# Between these lines stand settings, which CommonMark would read as a heading.
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n.*?^(?:---|\.\.\.)[ \t]*\r?$", re.DOTALL | re.MULTILINE)
# CommonMark's line ends; characters that Python counts as such too are none.
_LINE_END = re.compile(r"\r\n|\n|\r")


def read_markdown(data: bytes, name: str) -> Extract:
    """The text of a .md file and its headings, those in code left alone; its first heading is its title.

    Raises:
        InputFileError: it is no text.
    """
    text, encoding = decode(data, name)
    headings = _headings(text)
    title = {"title": headings[0][2]} if headings and headings[0][2] else {}
    return Extract(text, sections(len(text), headings), {**title, **encoding_of(encoding)})


def _headings(text: str) -> list[tuple[int, int, str]]:
    from markdown_it import MarkdownIt

    starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
    front = _FRONT_MATTER.match(text)
    # Blank lines in its place keep the numbers of those that follow.
    settings = "" if front is None else front.group().rstrip("\r")
    source = "\n" * len(_LINE_END.findall(settings)) + text[len(settings) :]
    tokens = MarkdownIt("commonmark").parse(source)
    found = []
    for i, token in enumerate(tokens):
        # Headings inside quotations and lists are part of those.
        if token.type == "heading_open" and token.level == 0 and token.map is not None:
            words = "".join(
                child.content if child.type in ("text", "code_inline") else " " if child.type.endswith("break") else ""
                for child in tokens[i + 1].children or []
            )
            found.append((starts[token.map[0]], int(token.tag[1]), " ".join(words.split())))
    return found
