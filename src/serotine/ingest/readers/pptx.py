"""Presentations: the text of every slide with its notes; a slide is a passage."""

from __future__ import annotations

from collections import Counter
from xml.etree.ElementTree import Element

from serotine.ingest.extract import Extract
from serotine.ingest.readers.package import Package
from serotine.ingest.readers.text_writer import TextWriter
from serotine.ingest.readers.xml_tree import all_of, attribute, first, local, outermost

_TITLES = ("title", "ctrTitle")
# Placeholders that repeat on every slide.
_REPEATED = ("dt", "ftr", "sldNum", "hdr", "sldImg")


def read_pptx(data: bytes, name: str) -> Extract:
    """Return the text of a .pptx file; images, charts and diagrams are counted.

    Raises:
        InputFileError: it is encrypted, damaged or too large.
    """
    package = Package(data, name, ".pptx")
    main = package.main_part()
    relations = package.relations(main)
    slides = [relations.get(_relation_id(element)) for element in all_of(package.xml(main), "sldId")]
    writer = TextWriter(name)
    unread: Counter[str] = Counter()
    first_title = ""
    for number, relation in enumerate(slides, 1):
        if relation is None:
            raise package.damaged()
        slide = package.xml(relation[1])
        shapes = [shape for shape in outermost(slide, "sp", "graphicFrame") if _placeholder(shape) not in _REPEATED]
        title = next((text for shape in shapes if _placeholder(shape) in _TITLES and (text := _text(shape))), "")
        title = " ".join(title.split())
        first_title = first_title or title
        writer.unit(title)
        writer.position("slide", number)
        # The title is often not the first shape.
        for shape in sorted(shapes, key=lambda shape: _placeholder(shape) not in _TITLES):
            writer.add(_text(shape))
        for kind, target in package.relations(relation[1]).values():
            if kind == "notesSlide" and target in package.names:
                bodies = [shape for shape in outermost(package.xml(target), "sp") if _placeholder(shape) == "body"]
                writer.add("\n".join(text for shape in bodies if (text := _text(shape))))
            unread["charts"] += kind == "chart"
            unread["diagrams"] += kind == "diagramData"
        unread["images"] += sum(1 for _ in all_of(slide, "pic"))
    metadata = package.core_properties()
    metadata["title"] = metadata.get("title") or first_title
    return writer.extract(metadata, unread)


def _relation_id(element: Element) -> str:
    """Return the id of a relation, which has a namespace; that of a slide has none."""
    return next((value for key, value in element.attrib.items() if key.endswith("}id")), "")


def _placeholder(shape: Element) -> str:
    """Return the kind of a placeholder, "body" if it names none, "" for another shape."""
    placeholder = first(shape, "ph")
    return "" if placeholder is None else attribute(placeholder, "type") or "body"


def _text(shape: Element) -> str:
    rows = list(outermost(shape, "tr"))
    if rows:
        return "\n".join("\t".join(_paragraphs(cell, " ") for cell in row if local(cell) == "tc") for row in rows)
    return _paragraphs(shape, "\n")


def _paragraphs(element: Element, separator: str) -> str:
    paragraphs = (_paragraph(paragraph) for paragraph in outermost(element, "p"))
    return separator.join(text for text in paragraphs if text.strip())


def _paragraph(paragraph: Element) -> str:
    pieces = {"br": "\n", "tab": "\t"}
    return "".join(
        (element.text or "") if local(element) == "t" else pieces.get(local(element), "")
        for element in paragraph.iter()
    )
