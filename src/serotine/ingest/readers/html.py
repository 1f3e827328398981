"""HTML: the text of a page, without what surrounds it, split at its headings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from serotine.errors import MissingExtraError
from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, sections
from serotine.ingest.readers.html_ancestors import Ancestors
from serotine.ingest.readers.html_cost import check_cost
from serotine.ingest.readers.navigation import navigation_ids
from serotine.ingest.readers.titles import given_title

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*+=\s*+["']?+\s*+([A-Za-z0-9_:.-]+)""", re.IGNORECASE)
# HTML requires the declaration in the first KiB; many pages have it later.
_MAX_DECLARATION_OFFSET = 1 << 14
_DROPPED = frozenset(
    (
        *("button", "canvas", "dialog", "head", "nav", "script", "select", "style", "template", "title"),
        # Counted.
        *("audio", "embed", "iframe", "object", "video"),
    )
)
_UNREAD = {
    "audio": "recordings",
    # "Copy", "Menu": about the page, not of its text.
    "button": "controls",
    "embed": "embedded objects",
    "iframe": "frames",
    "img": "images",
    "object": "embedded objects",
    "video": "videos",
}
_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "caption", "center", "details", "div", "dl", "fieldset"),
        *("figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr"),
        *("main", "menu", "noscript", "ol", "p", "pre", "section", "summary", "table", "textarea", "ul"),
    )
)
_LINES = frozenset(("br", "dd", "dt", "li", "tr"))
_CELLS = frozenset(("td", "th"))
_CONTROLS = frozenset(("button", "input", "select"))
# Inputs that are buttons, and those that show no text.
_BUTTONS = frozenset(("button", "image", "reset", "submit"))
_SILENT_INPUTS = frozenset(("checkbox", "color", "file", "hidden", "password", "radio", "range"))
# Their titles say what they are short for; other titles are shown only below the pointer.
_ABBREVIATIONS = frozenset(("abbr", "acronym", "dfn"))
# Roles and classes of what is around a text: navigation, search, links to headings, numbers of lines of code.
_DROPPED_ROLES = frozenset(("contentinfo", "navigation", "search"))
_DROPPED_CLASSES = frozenset(
    (
        *("anchor-link", "anchorjs-link", "breadcrumb", "breadcrumbs", "hash-link", "header-anchor", "headerlink"),
        # What is shown of a formula, beside its source.
        "katex-html",
        *("lineno", "linenodiv", "linenos", "mw-editsection", "nav-panel", "navfooter", "navheader", "navpath"),
        *("permalink", "skip-link", "skip-to-content", "skiplink", "viewcode-link"),
    )
)
_DRAWN_TEXTS = frozenset(("desc", "text", "title"))
_FOOTER_PARENTS = frozenset(("article", "blockquote", "main", "section"))
_SKIP_LINK = re.compile(r"\s*(?:skip|jump) to\b", re.IGNORECASE)
# The text of a link to the heading beside it: symbols, an icon of a font, or nothing.
_ANCHOR_SIGNS = re.compile(r"[\s#¶§†∞⚓🔗\u200b\ufe0f\ue000-\uf8ff]*")
# Of those that lead nowhere, or are in a heading.
_SURE_ANCHOR_SIGNS = re.compile(r"\s*[#¶§⚓🔗][\s\ufe0f]*")
# What a page shows where its scripts do not run is about the browser, or else a text of the page.
_ABOUT_SCRIPTS = re.compile("java ?script|enable scripts", re.IGNORECASE)
# Invisible places where a word may be broken.
_SOFT_BREAKS = re.compile("[\u00ad\u200b\u2060\ufeff]")
_SEPARATORS = ("", " ", "\t", "\n", "\n\n")
# Before and after elements: positions in `_SEPARATORS`.
_BREAKS = {
    **dict.fromkeys(_CONTROLS, 1),
    **dict.fromkeys(_CELLS, 2),
    **dict.fromkeys(_LINES, 3),
    **dict.fromkeys(_BLOCKS, 4),
}
_META = {
    "author": "meta[name=author i]",
    "summary": "meta[name=description i], meta[property='og:description' i]",
    "keywords": "meta[name=keywords i]",
    "date": "meta[property='article:published_time'], meta[name=date i], meta[name='dcterms.date' i]",
}
# Between the names of a page and its site.
_SITE = re.compile(r"\s[-\u2013\u2014|\u00b7:\u00bb\u203a]+\s")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
# Elements between a heading and the link in it.
_HEADING_DEPTH = 4
_SPACE = re.compile(r"[ \t\n\r\f]+")
_TEXT = "-text"


def read_html(data: bytes, name: str) -> Extract:
    """Return the text of a page, a blank line between blocks: of its main part, if it names one.

    Scripts, styles, navigation, footers and links to headings are left out; images are their descriptions, drawings
    (SVG) their texts, and fields of forms their values. Images, videos, frames, controls, tooltips and the like are
    counted.

    Raises:
        InputFileError: it is not text, would take more than proportional time, or selectolax is not installed.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError:
        raise MissingExtraError(name, "reading HTML", "ingest") from None
    declared = _CHARSET.search(data[:_MAX_DECLARATION_OFFSET])
    source, encoding = decode(data, name, declared and declared.group(1).decode("ascii"))
    check_cost(source, name)
    # The parser reads UTF-8 and stops at NUL.
    page = LexborHTMLParser(source.encode("utf-8", "replace").replace(b"\0", b" "))
    navigation = navigation_ids(page)
    writer = _Writer(navigation)
    for node in _main_nodes(page.css("main, [role=main]")):
        writer.walk(node)
    if not writer.text.strip() and page.body is not None:
        writer = _Writer(navigation)
        writer.walk(page.body)
    return Extract(
        writer.text,
        sections(len(writer.text), writer.headings),
        {**_metadata(page, writer.headings), **encoding.metadata},
        unread=+writer.unread,
        problems=encoding.problems,
    )


def _main_nodes(nodes: list[LexborNode]) -> list[LexborNode]:
    """Return the visible nodes that are not inside another of them."""
    main_ids = {node.mem_id for node in nodes}
    covered = Ancestors(lambda parent: parent.mem_id in main_ids or _hidden(parent))
    return [node for node in nodes if not _hidden(node) and not covered.match(node)]


def _metadata(page: LexborHTMLParser, headings: list[tuple[int, int, str]]) -> dict[str, Any]:
    """Return the page's name, author, summary, keywords, date and language."""
    title_node = page.css_first("title")
    title = given_title(_one_line(title_node.text())) if title_node is not None else ""
    top = [text for _, level, text in headings if level == 1]
    candidates = top or [text for _, _, text in headings[:1]]
    # "Install — The Manual" is the page "Install" of a site. A title of one name is better than a heading that it does
    # not have, which often is the name of the site.
    names = [text for text in candidates if text.casefold() in title.casefold()]
    if not names:
        names = candidates if not title or (len(top) == 1 and _SITE.search(title)) else [title]
    metadata = {"title": names[0] if names else ""}
    for key, selector in _META.items():
        node = page.css_first(selector)
        metadata[key] = _one_line(node.attributes.get("content") or "") if node is not None else ""
    root = page.css_first("html")
    metadata["language"] = (root.attributes.get("lang") or "").strip() if root is not None else ""
    return {key: value for key, value in metadata.items() if value}


def _one_line(text: str) -> str:
    return _SPACE.sub(" ", _SOFT_BREAKS.sub("", text)).strip()


class _Writer:
    """The text of a tree, written in document order, without the nodes of the given ids."""

    def __init__(self, left_out: set[int]) -> None:
        self._left_out = left_out
        self._texts: list[str] = []
        self._length = 0
        # Index of the separator before the next text: the largest since the last one.
        self._separator = 0
        self._heading = (0, 0)
        self._is_heading_open = False
        # How many elements of each kind the text is in. Noscripts and links in others are not examined again: each
        # would read all that is in it.
        self._open: Counter[str] = Counter()
        self._preformatted = 0
        self._preformatted_start = 0
        self._in_article = Ancestors(lambda parent: (parent.tag or "") in _FOOTER_PARENTS)
        self.headings: list[tuple[int, int, str]] = []
        self._formula = ""
        self._explained: set[str] = set()
        self.unread: Counter[str] = Counter()

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
            if not leaving and tag in _UNREAD:
                self.unread[_UNREAD[tag]] += 1
            if not leaving and tag == "select":
                self.unread["controls"] += len(node.css("option"))
            if leaving:
                if tag in _ABBREVIATIONS:
                    self._explain(node)
                self._leave(tag)
            elif tag == _TEXT:
                self._write(node.text_content or "")
            elif tag == "img":
                self._image(node)
            elif tag == "input" and not _hidden(node):
                self._input(node)
            elif tag == "svg" and not _hidden(node):
                pending.extend((part, False) for part in reversed(self._drawing(node)))
            elif tag == "math":
                self._formula = _formula(node)
                self._write(self._formula)
            elif tag == "br" and self._preformatted:
                self._write("\n")
            elif not (
                tag in _DROPPED
                or node.mem_id in self._left_out
                or (tag == "noscript" and not self._open[tag] and _ABOUT_SCRIPTS.search(node.text()))
                or _hidden(node)
                or _surrounds(node, tag, self._in_article)
                or (tag == "a" and not self._open[tag] and _is_anchor(node))
            ):
                children = list(node.iter(include_text=True))
                if tag not in _ABBREVIATIONS:
                    self._count_tooltip(node, children)
                self._enter(tag)
                pending.append((node, True))
                pending.extend((child, False) for child in reversed(children))

    def _drawing(self, drawing: LexborNode) -> list[LexborNode]:
        """Write the texts of a drawing, none of which is in another; return the pages in it."""
        pages = []
        pending = list(drawing.iter())[::-1]
        while pending:
            part = pending.pop()
            if part.tag in _DRAWN_TEXTS:
                self._separate("li")
                self._write(_one_line(part.text()))
                self._separate("li")
            elif part.tag == "foreignObject":
                pages.append(part)
            else:
                pending += list(part.iter())[::-1]
        return pages

    def _count_tooltip(self, node: LexborNode, children: Sequence[LexborNode]) -> None:
        """Count the title of an element that says something else than its text."""
        title = _one_line(node.attributes.get("title") or "")
        if title:
            text = _one_line("".join(child.text_content or "" for child in children if child.tag == _TEXT))
            self.unread["tooltips"] += title.casefold() != text.casefold()

    def _explain(self, node: LexborNode) -> None:
        """Write what an abbreviation is short for after it, once for a page."""
        title = _one_line(node.attributes.get("title") or "")
        if title and title not in self._explained:
            self._explained.add(title)
            self._write(f" ({title})")

    def _input(self, node: LexborNode) -> None:
        """Write the value that a field shows; count a button, and a field that shows what to enter."""
        attributes = node.attributes
        kind = (attributes.get("type") or "").lower()
        if kind in _SILENT_INPUTS:
            return
        if kind not in _BUTTONS and (value := attributes.get("value")):
            self._write(f" {_one_line(value)} ")
        else:
            self.unread["controls"] += any(attributes.get(name) for name in ("value", "placeholder", "alt"))

    def _image(self, node: LexborNode) -> None:
        """Write the description of an image, or its title; of a formula it repeats what is written before it."""
        attributes = node.attributes
        alt, title = (_one_line(attributes.get(name) or "") for name in ("alt", "title"))
        description = alt or title
        self.unread["tooltips"] += bool(title) and title.casefold() != description.casefold()
        if description and description != _one_line(self._formula):
            self._write(f" {description} ")

    def _enter(self, tag: str) -> None:
        self._open[tag] += 1
        self._separate(tag)
        if tag == "pre":
            self._preformatted += 1
            self._preformatted_start = len(self._texts)
        if tag in _HEADINGS:
            self._heading = (len(self._texts), self._length)
            self._is_heading_open = True

    def _leave(self, tag: str) -> None:
        self._open[tag] -= 1
        if tag == "pre":
            self._preformatted -= 1
            self._trim()
        self._separate(tag)
        # Of headings in a heading, the innermost is one: each would repeat the text of those in it.
        if tag in _HEADINGS and self._is_heading_open:
            self._is_heading_open = False
            first, offset = self._heading
            written = "".join(self._texts[first:])
            title = _SPACE.sub(" ", written).strip()
            if title:
                self.headings.append((offset + len(written) - len(written.lstrip()), _HEADINGS[tag], title))

    def _separate(self, tag: str) -> None:
        self._separator = max(self._separator, _BREAKS.get(tag, 0))

    def _write(self, text: str) -> None:
        text = _SOFT_BREAKS.sub("", text)
        if self._preformatted:
            # Line breaks and spaces between the pieces of a line count; only those around the block do not.
            fresh = len(self._texts) == self._preformatted_start or self._separator > 1
            content, before, after = text.lstrip("\r\n") if fresh else text, 0, 0
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

    def _trim(self) -> None:
        """Remove the line ends at the end of a block."""
        while len(self._texts) > self._preformatted_start:
            last = self._texts.pop()
            trimmed = last.rstrip("\r\n")
            self._length -= len(last) - len(trimmed)
            if trimmed:
                self._texts.append(trimmed)
                return


def _formula(node: LexborNode) -> str:
    """Return a formula as TeX, if it has it, or else its symbols."""
    tex = node.attributes.get("alttext")
    annotation = node.css_first("annotation[encoding='application/x-tex']")
    return tex or (annotation if annotation is not None else node).text()


def _hidden(node: LexborNode) -> bool:
    return "hidden" in node.attributes


def _surrounds(node: LexborNode, tag: str, in_article: Ancestors) -> bool:
    """Return whether a node is not of the text itself, but of the page around it.

    Args:
        node: an element.
        tag: its name.
        in_article: whether an element is in one whose footer is text.
    """
    attributes = node.attributes
    if attributes.get("role") in _DROPPED_ROLES or attributes.get("aria-label") == "breadcrumb":
        return True
    if not _DROPPED_CLASSES.isdisjoint((attributes.get("class") or "").lower().split()):
        return True
    return tag == "footer" and not in_article.match(node)


def _is_anchor(node: LexborNode) -> bool:
    """Return whether a link is a sign beside a heading, or leads past the navigation."""
    attributes = node.attributes
    text = node.text()
    if not (attributes.get("href") or "").startswith("#"):
        is_sign = bool(_SURE_ANCHOR_SIGNS.fullmatch(text))
        return is_sign and ("href" not in attributes or _is_in_heading(node))
    return bool(_SKIP_LINK.match(text) or _ANCHOR_SIGNS.fullmatch(text))


def _is_in_heading(node: LexborNode) -> bool:
    """Return whether an element is in a heading, at most a few elements below it."""
    parent = node.parent
    for _ in range(_HEADING_DEPTH):
        if parent is None:
            return False
        if parent.tag in _HEADINGS:
            return True
        parent = parent.parent
    return False
