"""OpenDocument texts: paragraphs, lists, tables and notes, split at their headings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from xml.etree.ElementTree import Element

from serotine.ingest.extract import Extract
from serotine.ingest.limits import check_length
from serotine.ingest.readers.package import Package
from serotine.ingest.readers.page_margins import distinct_margins
from serotine.ingest.readers.text_writer import TextWriter
from serotine.ingest.readers.titles import given_title
from serotine.ingest.readers.xml_tree import all_of, attribute, count, first, local, outermost, text_of

# Deleted text, comments, and tables of contents, which repeat the headings.
_SKIPPED = frozenset(
    ("annotation", "annotation-end", "forms", "sequence-decls", "table-of-content", "tracked-changes", "variable-decls")
)
# A row may claim to be repeated a million times.
_MAX_REPEATED = 100
# Of a heading: as deep as OpenDocument has styles for.
_MAX_LEVEL = 10


def read_odt(data: bytes, name: str) -> Extract:
    """Return the text of a .odt file, each page header and footer once, at its end; images and comments are counted.

    Raises:
        InputFileError: it is encrypted, damaged or too large.
    """
    package = Package(data, name, ".odt")
    manifest = "META-INF/manifest.xml"
    if manifest in package.names and first(package.xml(manifest), "encryption-data") is not None:
        raise package.encrypted()
    content = package.xml("content.xml")
    body = first(content, "text")
    if body is None:
        raise package.damaged()
    reader = _Reader(name)
    reader.blocks(body)
    if "styles.xml" in package.names:
        reader.margins(package.xml("styles.xml"))
    metadata = {}
    if "meta.xml" in package.names:
        meta = package.xml("meta.xml")
        metadata = {
            "title": given_title(text_of(first(meta, "title"))),
            "author": text_of(first(meta, "creator", "initial-creator")),
            "date": text_of(first(meta, "date", "creation-date")),
            "language": text_of(first(meta, "language")),
        }
    metadata["title"] = metadata.get("title") or reader.title
    unread = {
        kind: sum(1 for _ in all_of(body, tag)) for kind, tag in (("images", "image"), ("comments", "annotation"))
    }
    return reader.writer.extract(metadata, unread)


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name
        self.writer = TextWriter(name)
        self.title = ""

    def margins(self, styles: Element) -> None:
        """Write page headers and footers."""
        parts = (part for page in outermost(styles, "master-page") for part in page)
        margins = (part for part in parts if local(part).startswith(("header", "footer")))
        for part in distinct_margins((part, text_of(part)) for part in margins):
            self.blocks(part)

    def blocks(self, parent: Element) -> None:
        """Write the paragraphs, lists and tables in an element."""
        for element in parent:
            kind = local(element)
            if kind in ("p", "h"):
                text = _text(element)
                level = count(element, "outline-level", int(kind == "h"), most=_MAX_LEVEL)
                if kind == "h" or attribute(element, "style-name") == "Title":
                    self.title = self.title or " ".join(text.split())
                    self.writer.add(text, level)
                else:
                    self.writer.add(text)
                for note in outermost(element, "note-body", "text-box"):
                    self.blocks(note)
            elif kind == "table":
                self.writer.add(self._joined("\n", (self._row(row) for row in outermost(element, "table-row"))))
            elif kind == "list":
                self.writer.add("\n".join(text for item in _paragraphs(element) if (text := _text(item).strip())))
            elif kind not in _SKIPPED:
                self.blocks(element)

    def _row(self, row: Element) -> str:
        cells = (cell for cell in row if local(cell) in ("table-cell", "covered-table-cell"))
        return self._joined("\t", (text for cell in cells for text in self._cell(cell))).rstrip("\t")

    def _cell(self, cell: Element) -> Iterator[str]:
        """Yield the text of a cell, as often as it is repeated, with that of a table in it."""
        text = " ".join(text for paragraph in _paragraphs(cell) if (text := _text(paragraph).strip()))
        yield from repeat(text, count(cell, "number-columns-repeated", 1, most=_MAX_REPEATED))

    def _joined(self, separator: str, texts: Iterable[str]) -> str:
        """Join texts; InputFileError as soon as they are together too long, as repeated cells may be."""
        parts = []
        length = 0
        for text in texts:
            length += len(text)
            check_length(length, self._name)
            parts.append(text)
        return separator.join(parts)


def _paragraphs(element: Element) -> Iterator[Element]:
    """Yield the paragraphs in an element, each before those of its notes and boxes, which are not in its text."""
    for paragraph in outermost(element, "p", "h", outside=_SKIPPED):
        yield paragraph
        for box in outermost(paragraph, "note", "text-box", outside=_SKIPPED):
            yield from _paragraphs(box)


def _text(element: Element) -> str:
    """Return the text of a paragraph without notes and boxes, in which white space is written as elements."""
    pieces = [" ".join((element.text or "").split("\n"))]
    for child in element:
        kind = local(child)
        if kind == "s":
            pieces.append(" " * count(child, "c", 1, most=_MAX_REPEATED))
        elif kind in ("tab", "line-break"):
            pieces.append("\t" if kind == "tab" else "\n")
        elif kind not in _SKIPPED and kind not in ("note", "text-box", "ruby-text"):
            pieces.append(_text(child))
        pieces.append(" ".join((child.tail or "").split("\n")))
    return "".join(pieces)
