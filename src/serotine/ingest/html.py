"""HTML: what a reader of the page sees of its text, headings kept as structure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from serotine.errors import InputFileError
from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, encoding_of, sections

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]+)""", re.IGNORECASE)
# HTML wants the declaration within the first KiB; many pages have it later.
_DECLARED_WITHIN = 1 << 14
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
_GAPS = ("", " ", "\t", "\n", "\n\n")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SPACE = re.compile(r"[ \t\n\r\f]+")
_TEXT = "-text"


def read_html(data: bytes, name: str) -> Extract:
    """The visible text of a page: a blank line between blocks, without scripts, styles, forms and navigation.

    Raises:
        InputFileError: it is no text, or selectolax is not installed.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError:
        raise InputFileError(f"{name}: reading HTML needs selectolax; run: pip install 'serotine[ingest]'") from None
    declared = _CHARSET.search(data[:_DECLARED_WITHIN])
    source, encoding = decode(data, name, declared and declared.group(1).decode("ascii"))
    # The parser takes UTF-8 and ends at NUL.
    page = LexborHTMLParser(source.encode("utf-8", "replace").replace(b"\0", b" "))
    writer = _Writer()
    if page.body is not None:
        writer.walk(page.body)
    titled = page.css_first("title")
    title = _SPACE.sub(" ", titled.text()).strip() if titled is not None else ""
    told = {"title": title} if title else {}
    return Extract(writer.text, sections(len(writer.text), writer.headings), {**told, **encoding_of(encoding)})


class _Writer:
    """Writes the text of a tree in document order."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        # What separates the next text from the last: the widest gap that came between.
        self._gap = 0
        self._heading = (0, 0)
        self._preformatted = 0
        self.headings: list[tuple[int, int, str]] = []

    @property
    def text(self) -> str:
        """What was written."""
        return "".join(self._parts)

    def walk(self, root: LexborNode) -> None:
        """Writes a tree. Without recursion: pages are nested deeper than Python's stack."""
        ahead: list[tuple[LexborNode, bool]] = [(root, False)]
        while ahead:
            node, leaving = ahead.pop()
            tag = node.tag or ""
            if leaving:
                self._leave(tag)
            elif tag == _TEXT:
                self._write(node.text_content or "")
            elif tag not in _DROPPED and not _hidden(node):
                self._enter(tag)
                ahead.append((node, True))
                ahead.extend((child, False) for child in reversed(list(node.iter(include_text=True))))

    def _enter(self, tag: str) -> None:
        self._widen(tag)
        self._preformatted += tag == "pre"
        if tag in _HEADINGS:
            self._heading = (len(self._parts), self._length)

    def _leave(self, tag: str) -> None:
        self._widen(tag)
        self._preformatted -= tag == "pre"
        if tag in _HEADINGS:
            first, place = self._heading
            written = "".join(self._parts[first:])
            words = _SPACE.sub(" ", written).strip()
            if words:
                self.headings.append((place + len(written) - len(written.lstrip()), _HEADINGS[tag], words))

    def _widen(self, tag: str) -> None:
        gap = "\n\n" if tag in _BLOCKS else "\n" if tag in _LINES else "\t" if tag in _CELLS else ""
        self._gap = max(self._gap, _GAPS.index(gap))

    def _write(self, text: str) -> None:
        if self._preformatted:
            words, before, after = text.strip("\r\n"), 0, 0
        else:
            spaced = _SPACE.sub(" ", text)
            words = spaced.strip(" ")
            before, after = (int(spaced[:1] == " "), int(spaced[-1:] == " "))
        self._gap = max(self._gap, before)
        if words:
            for part in (_GAPS[self._gap] if self._parts else "", words):
                self._parts.append(part)
                self._length += len(part)
            self._gap = after


def _hidden(node: LexborNode) -> bool:
    attributes = node.attributes
    return "hidden" in attributes or attributes.get("role") == "navigation"
