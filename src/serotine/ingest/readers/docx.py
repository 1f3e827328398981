"""Word documents: paragraphs, tables, footnotes and text boxes, split at their headings."""

from __future__ import annotations

import re
from collections import Counter
from xml.etree.ElementTree import Element

from serotine.ingest.extract import Extract
from serotine.ingest.readers.package import Package
from serotine.ingest.readers.page_margins import distinct_margins
from serotine.ingest.readers.text_writer import TextWriter
from serotine.ingest.readers.xml_tree import all_of, attribute, count, first, local, outermost

_HEADING_STYLE = re.compile(r"heading ([1-9])", re.IGNORECASE)
_OUTLINE_LEVELS = 9
# Old copies beside new ones, deleted text, and text boxes, which follow their paragraph.
_SKIPPED = frozenset(("Fallback", "del", "delText", "instrText", "moveFrom", "pPr", "rPr", "txbxContent"))
_WHITE = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
_CONTAINERS = frozenset(("sdt", "sdtContent", "customXml", "smartTag", "ins", "moveTo"))
# Copies for old programs, deleted text, and text boxes, which are read by themselves.
_ELSEWHERE = frozenset(("Fallback", "del", "moveFrom", "txbxContent"))
# Whose paragraphs are read one by one.
_BOXES = frozenset(("txbxContent",))
_NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes"}


def read_docx(data: bytes, name: str) -> Extract:
    """Return the text of a .docx file, each page header and footer once, at its end; images and comments are counted.

    Raises:
        InputFileError: it is encrypted, damaged or too large.
    """
    package = Package(data, name, ".docx")
    main = package.main_part()
    relations = [relation for relation in package.relations(main).values() if relation[1] in package.names]
    targets = dict(relations)
    reader = _Reader(package, targets)
    body = first(package.xml(main), "body")
    if body is None:
        raise package.damaged()
    reader.blocks(body)
    reader.margins([package.xml(target) for kind, target in relations if kind in ("header", "footer")])
    unread = Counter(images=reader.images, comments=0)
    if "comments" in targets:
        unread["comments"] = sum(1 for _ in all_of(package.xml(targets["comments"]), "comment"))
    metadata = package.core_properties()
    metadata["title"] = metadata.get("title") or reader.title
    return reader.writer.extract(metadata, unread)


class _Reader:
    def __init__(self, package: Package, targets: dict[str, str]) -> None:
        self.writer = TextWriter(package.name)
        self.title = ""
        self.images = 0
        self._levels = _heading_levels(package.xml(targets["styles"])) if "styles" in targets else {}
        self._notes = {
            kind: {attribute(note, "id"): note for note in package.xml(targets[kind])}
            for kind in _NOTES.values()
            if kind in targets
        }

    def blocks(self, parent: Element) -> None:
        """Write the paragraphs and tables of a body, cell or text box."""
        for element in parent:
            kind = local(element)
            if kind == "p":
                self._paragraph(element)
            elif kind == "tbl":
                self.writer.add("\n".join(self._row(row) for row in _inside(element, "tr")))
            elif kind in _CONTAINERS:
                self.blocks(element)

    def margins(self, parts: list[Element]) -> None:
        """Write page headers and footers."""
        texts = (" ".join("".join(element.text or "" for element in all_of(part, "t")).split()) for part in parts)
        for part in distinct_margins(zip(parts, texts, strict=True)):
            self.blocks(part)

    def _paragraph(self, paragraph: Element) -> None:
        text = self._text(paragraph)
        properties = next((child for child in paragraph if local(child) == "pPr"), None)
        style = attribute(first(properties, "pStyle"), "val") if properties is not None else ""
        outline = _outline_level(properties)
        level = outline if outline is not None else self._levels.get(style)
        if style.upper().startswith("TOC") and style[3:].isdigit():
            return
        if level is not None and not self.title:
            self.title = " ".join(text.split())
        self.writer.add(text, level)
        for kind, notes in _NOTES.items():
            for reference in outermost(paragraph, kind, outside=_BOXES):
                # Once: a note may refer to itself.
                note = self._notes.get(notes, {}).pop(attribute(reference, "id"), None)
                if note is not None:
                    self.blocks(note)
        for box in outermost(paragraph, "txbxContent", outside=_ELSEWHERE):
            self.blocks(box)
        self.images += sum(1 for _ in outermost(paragraph, "blip", "imagedata", outside=_ELSEWHERE))

    def _row(self, row: Element) -> str:
        cells = []
        for cell in _inside(row, "tc"):
            self.images += sum(1 for _ in outermost(cell, "blip", "imagedata", outside=_ELSEWHERE))
            cells.append(" ".join(text for paragraph in all_of(cell, "p") if (text := self._text(paragraph).strip())))
        return "\t".join(cells)

    def _text(self, element: Element) -> str:
        pieces = []
        for child in element:
            kind = local(child)
            if kind == "t":
                pieces.append(child.text or "")
            elif kind in _WHITE:
                pieces.append(_WHITE[kind])
            elif kind not in _SKIPPED and kind != "p":
                pieces.append(self._text(child))
        return "".join(pieces)


def _inside(element: Element, kind: str) -> list[Element]:
    """Return children of a kind, also those in containers without a meaning of their own."""
    inside = []
    for child in element:
        if local(child) == kind:
            inside.append(child)
        elif local(child) in _CONTAINERS:
            inside += _inside(child, kind)
    return inside


def _heading_levels(styles: Element) -> dict[str, int]:
    """Return the level of every style that is a heading's, its own or that of the style it is based on; 0: a title."""
    levels: dict[str, int] = {}
    parents: dict[str, str] = {}
    for style in all_of(styles, "style"):
        id_ = attribute(style, "styleId")
        style_name = attribute(first(style, "name"), "val")
        outline = _outline_level(style)
        match = _HEADING_STYLE.fullmatch(style_name)
        if match is not None:
            levels[id_] = int(match.group(1))
        elif style_name.lower() == "title":
            levels[id_] = 0
        elif outline is not None:
            levels[id_] = outline
        parents[id_] = attribute(first(style, "basedOn"), "val")
    for id_ in parents:
        chain: dict[str, None] = {}
        ancestor = id_
        while ancestor in parents and ancestor not in levels and ancestor not in chain:
            chain[ancestor] = None
            ancestor = parents[ancestor]
        for derived in chain:
            if ancestor in levels:
                levels[derived] = levels[ancestor]
            # Never again: long chains would take quadratic time.
            parents[derived] = ""
    return levels


def _outline_level(element: Element | None) -> int | None:
    """Return the level of a heading that a style or a paragraph is; None for text."""
    outline = first(element, "outlineLvl") if element is not None else None
    level = _OUTLINE_LEVELS if outline is None else count(outline, "val", _OUTLINE_LEVELS, most=_OUTLINE_LEVELS)
    return level + 1 if level < _OUTLINE_LEVELS else None
