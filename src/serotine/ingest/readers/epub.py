"""E-books in EPUB: the text of their chapters in reading order, split at their headings."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from urllib.parse import unquote

from serotine.ingest.extract import Extract, Section
from serotine.ingest.readers.html import read_html
from serotine.ingest.readers.package import Package
from serotine.ingest.readers.titles import given_title
from serotine.ingest.readers.xml_tree import all_of, attribute, first, outermost, text_of

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_SEPARATOR = "\n\n"


def read_epub(data: bytes, name: str) -> Extract:
    """Return the text of a .epub file; its table of contents is left out, images are counted.

    Raises:
        InputFileError: it is protected, damaged or too large, or selectolax is not installed.
    """
    package = Package(data, name, ".epub")
    entry = attribute(first(package.xml(_CONTAINER), "rootfile"), "full-path")
    book = package.xml(entry)
    items = {attribute(item, "id"): item for item in all_of(book, "item")}
    chapters = []
    for reference in all_of(book, "itemref"):
        item = items.get(attribute(reference, "idref"))
        if item is not None and "html" in attribute(item, "media-type") and attribute(item, "properties") != "nav":
            chapters.append(
                posixpath.normpath(posixpath.join(posixpath.dirname(entry), unquote(attribute(item, "href"))))
            )
    if _ENCRYPTION in package.names:
        protected = {unquote(attribute(part, "URI")) for part in all_of(package.xml(_ENCRYPTION), "CipherReference")}
        # Fonts are often obfuscated in books that are not protected.
        if not protected.isdisjoint(chapters):
            raise package.encrypted()
    texts: list[str] = []
    sections: list[Section] = []
    length = 0
    # Once: a book that lists a chapter a million times is small.
    for chapter in dict.fromkeys(chapters):
        extract = read_html(package.read(chapter), f"{name}/{chapter}")
        if extract.text.strip():
            length += len(_SEPARATOR) if texts else 0
            texts.append(extract.text)
            sections += [
                replace(section, start=section.start + length, end=section.end + length) for section in extract.sections
            ]
            length += len(extract.text)
    metadata = {
        "title": given_title(text_of(first(book, "title"))),
        "author": ", ".join(filter(None, (text_of(creator) for creator in outermost(book, "creator")))),
        "date": text_of(first(book, "date")),
        "language": text_of(first(book, "language")),
    }
    images = sum(attribute(item, "media-type").startswith("image/") for item in items.values())
    return Extract(
        _SEPARATOR.join(texts),
        tuple(sections),
        {key: value for key, value in metadata.items() if value},
        unread={"images": images} if images else {},
    )
