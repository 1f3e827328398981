"""PDF: its text, page by page, read by pdfium."""

from __future__ import annotations

import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from serotine.errors import InputFileError, MissingExtraError, reason
from serotine.ingest.extract import Extract, NoTextError, Positions, Section
from serotine.ingest.limits import check_text, reading_limits, size
from serotine.ingest.readers.hyphens import join_hyphenated
from serotine.ingest.readers.pdf_annotations import read_annotations
from serotine.ingest.readers.titles import given_title

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

# pdfium is not thread-safe.
_PDFIUM_LOCK = threading.Lock()
_LINE_END = re.compile(r"\r\n|\r")
_PAGE_SEPARATOR = "\n\n"
# Separates the pages while hyphens are joined; no text of a PDF has it.
_PAGE_MARK = "\0"
_STREAM = re.compile(rb"\bstream\r?\n")
_SHORT_FILTER = re.compile(rb"/Fl\b")
_IMAGE = re.compile(rb"/(?:Subtype|S)\s*+/Image\b")
# Before the word "stream"; and bytes that are unpacked at a time.
_MAX_DICTIONARY = 2048
_PIECE = 1 << 16
# Processor seconds that the pages of a PDF may take, and more for every MiB of it. Pages may share one content, so that
# many of a small file take seconds each; thousands of ordinary ones take less than a minute.
_SECONDS, _SECONDS_PER_MIB = 120.0, 20.0
_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?")


def read_pdf(data: bytes, name: str, on_part: Callable[[float], None] = lambda _: None) -> Extract:
    """Return the text of a PDF with the values of its forms; every page with text is a section, a passage is of one.

    Only a page of a few words, such as a title page, joins the next. `on_part` is called with the part of the pages
    that is read so far, from 0 to 1.

    Raises:
        InputFileError: it is encrypted, damaged or without text, or pypdfium2 is not installed.
    """
    try:
        import pypdfium2
    except ImportError:
        raise MissingExtraError(name, "reading PDF", "ingest") from None
    if not data:
        raise InputFileError(f"{name}: the file is empty; write it again")
    _check_streams(data, name)
    with _PDFIUM_LOCK:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            if "password" in str(error).lower():
                raise InputFileError(
                    f"{name}: encrypted; save it without a password first, for example with qpdf --decrypt"
                ) from None
            raise InputFileError(f"{name}: damaged, or not a PDF; write it again") from None
        try:
            document.init_forms()
            metadata = _metadata(document)
            page_texts: list[str] = []
            length = comments = 0
            latest = time.thread_time() + _SECONDS + _SECONDS_PER_MIB * len(data) / (1 << 20)
            for number in range(len(document)):
                if time.thread_time() > latest:
                    raise InputFileError(
                        f"{name}: its first {number:,} of {len(document):,} pages took more than "
                        f"{_SECONDS:.0f} seconds; print it to a PDF again, or split it"
                    )
                page_text, page_comments = _page(document, number, name)
                page_texts.append(_clean(page_text))
                comments += page_comments
                length += len(page_texts[-1])
                if length > reading_limits().text_bytes:
                    check_text("".join(page_texts), name)
                on_part((number + 1) / len(document))
            marked = _PAGE_MARK.join(page_texts)
        finally:
            document.close()
    pages = [page.strip() for page in join_hyphenated(marked).split(_PAGE_MARK)]
    sections: list[Section] = []
    numbers: list[int] = []
    texts: list[str] = []
    length = 0
    for number, text in enumerate(pages, 1):
        if text:
            length += len(_PAGE_SEPARATOR) if texts else 0
            texts.append(text)
            sections.append(Section(length, length + len(text), separate=True))
            numbers.append(number)
            length += len(text)
    if not sections:
        count = len(pages)
        raise NoTextError(
            f"{name}: contains no text on its {count:,} page{'' if count == 1 else 's'}, only images; "
            "run OCR first, for example with ocrmypdf"
        )
    positions = Positions("page", [section.start for section in sections], numbers)
    unread = Counter({"pages without text": len(pages) - len(texts), "comments": comments})
    return Extract(_PAGE_SEPARATOR.join(texts), tuple(sections), metadata, (positions,), unread=+unread)


def _check_streams(data: bytes, name: str) -> None:
    """Raise InputFileError for a PDF with a stream that unpacks to more than `ReadingLimits.stream_bytes`.

    pdfium unpacks the content of a page whole, and a few bytes may be gigabytes of it. Images are not unpacked.
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


def _metadata(document: PdfDocument) -> dict[str, Any]:
    """Return title, author and date (of creation), where the file has them."""
    values = {key: _clean(str(value)).strip() for key, value in document.get_metadata_dict().items() if value}
    date = _DATE.match(values.get("CreationDate", ""))
    metadata = {
        "title": given_title(values.get("Title", "")),
        "author": values.get("Author"),
        "date": "-".join(number for number in date.groups() if number) if date else None,
    }
    return {key: value for key, value in metadata.items() if value}


def _page(document: PdfDocument, number: int, name: str) -> tuple[str, int]:
    """Return the text of a page, with the values of its form after it, and how many comments it has."""
    import pypdfium2

    try:
        page = document[number]
        try:
            textpage = page.get_textpage()
            try:
                text = str(textpage.get_text_bounded())
            finally:
                textpage.close()
            values, comments = read_annotations(document, page)
            return "\n".join((text, *values)), comments
        finally:
            page.close()
    except pypdfium2.PdfiumError as error:
        raise InputFileError(f"{name}: page {number + 1} is damaged ({reason(error)}); write it again") from None


def _clean(text: str) -> str:
    text = _LINE_END.sub("\n", text).replace("\0", "")
    # Damaged fonts give lone surrogates.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
