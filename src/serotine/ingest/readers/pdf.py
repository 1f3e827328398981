"""PDF: its text, page by page, read by pdfium."""

from __future__ import annotations

import importlib.util
import re
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing

from serotine.errors import InputFileError, MissingExtraError
from serotine.ingest.extract import Extract, NoTextError, Positions, Section
from serotine.ingest.limits import check_text, reading_limits, size
from serotine.ingest.readers.hyphens import join_hyphenated
from serotine.ingest.readers.pdf_process import pages
from serotine.ingest.readers.titles import given_title

_PAGE_SEPARATOR = "\n\n"
# Separates the pages while hyphens are joined; no text of a PDF has it.
_PAGE_MARK = "\0"
_STREAM = re.compile(rb"\bstream\r?\n")
_SHORT_FILTER = re.compile(rb"/Fl\b")
_IMAGE = re.compile(rb"/(?:Subtype|S)\s*+/Image\b")
# Before the word "stream"; and bytes that are unpacked at a time.
_MAX_DICTIONARY = 2048
_PIECE = 1 << 16
_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?")


def read_pdf(data: bytes, name: str, on_part: Callable[[float], None] = lambda _: None) -> Extract:
    """Return the text of a PDF with the values of its forms; every page with text is a section, a passage is of one.

    Only a page of a few words, such as a title page, joins the next. `on_part` is called with the part of the pages
    that is read so far, from 0 to 1.

    Raises:
        InputFileError: it is encrypted, damaged or without text, takes too much memory or time, or pypdfium2 is not
            installed.
    """
    if importlib.util.find_spec("pypdfium2") is None:
        raise MissingExtraError(name, "reading PDF", "ingest")
    if not data:
        raise InputFileError(f"{name}: the file is empty; write it again")
    _check_streams(data, name)
    page_texts: list[str] = []
    length = comments = count = 0
    problem = ""
    metadata: dict[str, str] = {}
    with closing(pages(data, reading_limits().text_bytes)) as messages:
        for message in messages:
            if "problem" in message:
                problem = message["problem"]
                continue
            if "pages" in message:
                count, metadata = message["pages"], _metadata(message["metadata"])
                continue
            page_texts.append(message["text"])
            comments += message["comments"]
            length += len(page_texts[-1])
            if length > reading_limits().text_bytes:
                check_text("".join(page_texts), name)
            on_part(len(page_texts) / count)
    if problem:
        raise InputFileError(f"{name}: {problem}")
    marked = _PAGE_MARK.join(page_texts)
    texts_of_pages = [page.strip() for page in join_hyphenated(marked).split(_PAGE_MARK)]
    sections: list[Section] = []
    numbers: list[int] = []
    texts: list[str] = []
    length = 0
    for number, text in enumerate(texts_of_pages, 1):
        if text:
            length += len(_PAGE_SEPARATOR) if texts else 0
            texts.append(text)
            sections.append(Section(length, length + len(text), separate=True))
            numbers.append(number)
            length += len(text)
    if not sections:
        count = len(texts_of_pages)
        raise NoTextError(
            f"{name}: contains no text on its {count:,} page{'' if count == 1 else 's'}, only images; "
            "run OCR first, for example with ocrmypdf"
        )
    positions = Positions("page", [section.start for section in sections], numbers)
    unread = Counter({"pages without text": len(texts_of_pages) - len(texts), "comments": comments})
    return Extract(_PAGE_SEPARATOR.join(texts), tuple(sections), metadata, (positions,), unread=+unread)


def _check_streams(data: bytes, name: str) -> None:
    """Raise InputFileError for a PDF with a stream that unpacks to more than `ReadingLimits.stream_bytes`.

    pdfium unpacks the content of a page whole, and a few bytes may be gigabytes of it. Images are not unpacked. Streams
    that are encrypted cannot be measured here; what they take, the limits of `pdf_process` bound.
    """
    limit = reading_limits().stream_bytes
    for match in _STREAM.finditer(data):
        before = data[max(match.start() - _MAX_DICTIONARY, 0) : match.start()]
        dictionary = before[before.rfind(b"obj") + 1 :]
        packed = dictionary.count(b"FlateDecode") + len(_SHORT_FILTER.findall(dictionary))
        if not packed or _IMAGE.search(dictionary):
            continue
        if _unpacked_size(data, match.end(), packed, limit) > limit:
            raise InputFileError(
                f"{name}: the stream at byte {match.start():,} must unpack to at most {size(limit)}; "
                "print it to a PDF again, or split it"
            )


def _unpacked_size(data: bytes, start: int, layers: int, limit: int) -> int:
    """Return the size of a stream unpacked, or one above `limit`; layers of compression are unpacked together."""
    unpackers = [zlib.decompressobj() for _ in range(layers)]
    total = 0
    try:
        for at in range(start, len(data), _PIECE):
            pending = [(0, data[at : at + _PIECE])]
            while pending:
                layer, piece = pending.pop()
                if layer == layers:
                    total += len(piece)
                    if total > limit:
                        return total
                    continue
                unpacker = unpackers[layer]
                unpacked = unpacker.decompress(piece, _PIECE)
                # At its end, what follows stays there as well, for ever.
                if unpacker.unconsumed_tail and not unpacker.eof:
                    pending.append((layer, unpacker.unconsumed_tail))
                pending.append((layer + 1, unpacked))
            if unpackers[0].eof:
                break
    except zlib.error:
        pass
    return total


def _metadata(properties: dict[str, str]) -> dict[str, str]:
    """Return title, author and date (of creation), where the file has them."""
    values = {key: value.strip() for key, value in properties.items()}
    date = _DATE.match(values.get("CreationDate", ""))
    metadata = {
        "title": given_title(values.get("Title", "")),
        "author": values.get("Author"),
        "date": "-".join(number for number in date.groups() if number) if date else None,
    }
    return {key: value for key, value in metadata.items() if value}
