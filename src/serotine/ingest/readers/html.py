"""HTML: the visible text of a page, split at its headings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from serotine.errors import InputFileError, missing_extra
from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, encoding_metadata, sections

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]+)""", re.IGNORECASE)
# HTML requires the declaration in the first KiB; many pages have it later.
_MAX_DECLARATION_OFFSET = 1 << 14
_DROPPED = frozenset(
    (
        *("audio", "button", "canvas", "dialog", "embed", "head", "iframe", "input", "math", "nav", "noscript"),
        *("object", "script", "select", "style", "svg", "template", "textarea", "title", "video"),
    )
)
_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "caption", "center", "details", "div", "dl", "fieldset"),
        *("figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr"),
        *("main", "menu", "ol", "p", "pre", "section", "summary", "table", "ul"),
    )
)
_LINES = frozenset(("br", "dd", "dt", "li", "tr"))
_CELLS = frozenset(("td", "th"))
_SEPARATORS = ("", " ", "\t", "\n", "\n\n")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SPACE = re.compile(r"[ \t\n\r\f]+")
_TEXT = "-text"


def read_html(data: bytes, name: str) -> Extract:
    """Return the visible text of a page, without scripts, styles, forms and navigation, a blank line between blocks.

    Raises:
        InputFileError: it is not text, or selectolax is not installed.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError:
        raise InputFileError(f"{name}: {missing_extra('reading HTML', 'ingest')}") from None
    declared = _CHARSET.search(data[:_MAX_DECLARATION_OFFSET])
    source, encoding = decode(data, name, declared and declared.group(1).decode("ascii"))
    # The parser reads UTF-8 and stops at NUL.
    page = LexborHTMLParser(source.encode("utf-8", "replace").replace(b"\0", b" "))
    writer = _Writer()
    if page.body is not None:
        writer.walk(page.body)
    title_node = page.css_first("title")
    title = _SPACE.sub(" ", title_node.text()).strip() if title_node is not None else ""
    metadata = {"title": title} if title else {}
    return Extract(
        writer.text, sections(len(writer.text), writer.headings), {**metadata, **encoding_metadata(encoding)}
    )


class _Writer:
    """The text of a tree, written in document order."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._length = 0
        # Index of the separator before the next text: the largest since the last one.
        self._separator = 0
        self._heading = (0, 0)
        self._preformatted = 0
        self.headings: list[tuple[int, int, str]] = []

    @property
    def text(self) -> str:
        """The text written so far."""
        return "".join(self._texts)

    def walk(self, root: LexborNode) -> None:
        """Write a tree, without recursion: pages are nested deeper than Python's stack."""
        pending: list[tuple[LexborNode, bool]] = [(root, False)]
        while pending:
            node, leaving = pending.pop()
            tag = node.tag or ""
            if leaving:
                self._leave(tag)
            elif tag == _TEXT:
                self._write(node.text_content or "")
            elif tag not in _DROPPED and not _hidden(node):
                self._enter(tag)
                pending.append((node, True))
                pending.extend((child, False) for child in reversed(list(node.iter(include_text=True))))

    def _enter(self, tag: str) -> None:
        self._separate(tag)
        self._preformatted += tag == "pre"
        if tag in _HEADINGS:
            self._heading = (len(self._texts), self._length)

    def _leave(self, tag: str) -> None:
        self._separate(tag)
        self._preformatted -= tag == "pre"
        if tag in _HEADINGS:
            first, offset = self._heading
            written = "".join(self._texts[first:])
            title = _SPACE.sub(" ", written).strip()
            if title:
                self.headings.append((offset + len(written) - len(written.lstrip()), _HEADINGS[tag], title))

    def _separate(self, tag: str) -> None:
        separator = "\n\n" if tag in _BLOCKS else "\n" if tag in _LINES else "\t" if tag in _CELLS else ""
        self._separator = max(self._separator, _SEPARATORS.index(separator))

    def _write(self, text: str) -> None:
        if self._preformatted:
            content, before, after = text.strip("\r\n"), 0, 0
        else:
            spaced = _SPACE.sub(" ", text)
            content = spaced.strip(" ")
            before, after = (int(spaced[:1] == " "), int(spaced[-1:] == " "))
        self._separator = max(self._separator, before)
        if content:
            for piece in (_SEPARATORS[self._separator] if self._texts else "", content):
                self._texts.append(piece)
                self._length += len(piece)
            self._separator = after


def _hidden(node: LexborNode) -> bool:
    attributes = node.attributes
    return "hidden" in attributes or attributes.get("role") == "navigation"
