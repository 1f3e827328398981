"""Markdown: its source, split at its headings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, sections
from serotine.ingest.readers.front_matter import read_front_matter

if TYPE_CHECKING:
    from markdown_it.token import Token

# The line ends of CommonMark; Python counts more characters as line ends.
_LINE_END = re.compile(r"\r\n|\n|\r")
# "text_special" is an escaped character.
_TITLE_TYPES = ("text", "text_special", "code_inline")


def read_markdown(data: bytes, name: str) -> Extract:
    """Return the text of a .md file with its headings, except those in code.

    Front matter is metadata; without a title there, the first heading is the title.

    Raises:
        InputFileError: it is not text.
    """
    source, encoding = decode(data, name)
    front = read_front_matter(source)
    text = source[front.end :]
    # For Markdown the line that ends front matter makes a heading of the lines above it.
    headings = [heading for heading in read_headings(text) if heading[0] >= front.broken_end]
    title = {"title": headings[0][2]} if headings and headings[0][2] else {}
    metadata = {**title, **front.metadata, **encoding.metadata}
    return Extract(text, sections(len(text), headings), metadata, problems=(*encoding.problems, *front.problems))


def read_headings(text: str) -> list[tuple[int, int, str]]:
    """Return the headings of Markdown as (offset, level, text), except those in code, quotations and lists."""
    from markdown_it import MarkdownIt

    starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
    # Emphasis and links are parsed of headings alone: elsewhere they take most of the time, and say nothing.
    parser = MarkdownIt("commonmark").disable("inline")
    references: dict[str, Any] = {}
    tokens = parser.parse(text, references)
    headings = []
    for i, token in enumerate(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map is not None:
            children: list[Token] = []
            parser.inline.parse(tokens[i + 1].content, parser, references, children)
            title = "".join(
                child.content if child.type in _TITLE_TYPES else " " if child.type.endswith("break") else ""
                for child in children
            )
            headings.append((starts[token.map[0]], int(token.tag[1]), " ".join(title.split())))
    return headings
