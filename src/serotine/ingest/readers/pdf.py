"""PDF: its text, page by page, read by pdfium."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from serotine.errors import InputFileError, missing_extra, reason
from serotine.ingest.extract import Extract, Section

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

# pdfium is not thread-safe.
_PDFIUM_LOCK = threading.Lock()
# Written by pdfium where a word is hyphenated at the end of a line.
_HYPHENATED = re.compile("[\ufffe\x02]\r?\n?")
_LINE_END = re.compile(r"\r\n|\r")
_PAGE_SEPARATOR = "\n\n"


def read_pdf(data: bytes, name: str) -> Extract:
    """Return the text of a PDF; every page with text is a section.

    Raises:
        InputFileError: it is encrypted, damaged or without text, or pypdfium2 is not installed.
    """
    try:
        import pypdfium2
    except ImportError:
        raise InputFileError(f"{name}: {missing_extra('reading PDF', 'ingest')}") from None
    if not data:
        raise InputFileError(f"{name}: the file is empty; write it again")
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
            title = _clean(str(document.get_metadata_dict().get("Title") or "")).strip()
            pages = [_clean(_page(document, number, name)).strip() for number in range(len(document))]
        finally:
            document.close()
    sections: list[Section] = []
    texts: list[str] = []
    length = 0
    for number, text in enumerate(pages, 1):
        if text:
            length += len(_PAGE_SEPARATOR) if texts else 0
            texts.append(text)
            sections.append(Section(length, length + len(text), page=number))
            length += len(text)
    if not sections:
        count = len(pages)
        raise InputFileError(
            f"{name}: contains no text on its {count:,} page{'' if count == 1 else 's'}, only images; "
            "run OCR first, for example with ocrmypdf"
        )
    return Extract(_PAGE_SEPARATOR.join(texts), tuple(sections), {"title": title} if title else {})


def _page(document: PdfDocument, number: int, name: str) -> str:
    import pypdfium2

    try:
        page = document[number]
        try:
            textpage = page.get_textpage()
            try:
                return str(textpage.get_text_bounded())
            finally:
                textpage.close()
        finally:
            page.close()
    except pypdfium2.PdfiumError as error:
        raise InputFileError(f"{name}: page {number + 1} is damaged ({reason(error)}); write it again") from None


def _clean(text: str) -> str:
    text = _LINE_END.sub("\n", _HYPHENATED.sub("", text)).replace("\0", "")
    # Damaged fonts give lone surrogates.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
