"""XML of any kind: the text of its elements, one block for each that is not only a container of others."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from serotine.ingest.extract import Extract
from serotine.ingest.readers.text_writer import TextWriter
from serotine.ingest.readers.xml_tree import first, local, parse_xml, text_of

_TITLES = frozenset(("title", "head", "heading"))
# A longer text is a paragraph.
_MAX_FIELD = 60
# The namespace of xml:lang and xml:space.
_XML = "{http://www.w3.org/XML/1998/namespace}"
_NAMES = {"title": ("title",), "author": ("author", "creator"), "date": ("date", "updated", "pubDate", "published")}


def read_xml(data: bytes, name: str) -> Extract:
    """Return the text of a .xml file; titles in it are headings, its first title, author and date are metadata.

    Attributes are not read, only counted.

    Raises:
        InputFileError: it is not well-formed, or declares entities.
    """
    root = parse_xml(data, name)
    writer = TextWriter(name)
    pending: list[tuple[Element, int]] = [(root, 0)]
    while pending:
        element, depth = pending.pop()
        # Text directly in an element makes those in it a part of its sentence.
        mixed = bool((element.text or "").strip()) or any((child.tail or "").strip() for child in element)
        if mixed or not len(element):
            is_title = local(element).lower() in _TITLES
            text = text_of(element)
            apart = is_title or len(text) > _MAX_FIELD or bool(len(element))
            writer.add(text, depth if is_title else None, separator="\n\n" if apart else "\n")
        else:
            pending.extend((child, depth + 1) for child in reversed(element))
    metadata = {key: text_of(first(root, *names)) for key, names in _NAMES.items()}
    metadata["language"] = next((value for key, value in root.attrib.items() if key.endswith("}lang")), "")
    attributes = sum(not key.startswith(_XML) for element in root.iter() for key in element.attrib)
    return writer.extract(metadata, {"attributes": attributes})
