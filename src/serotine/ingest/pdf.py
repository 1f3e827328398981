"""PDF, by pdfium: its text, page by page."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from serotine.errors import InputFileError
from serotine.ingest.extract import Extract, Section

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

# pdfium is not safe to enter from two threads.
_ONE_AT_A_TIME = threading.Lock()
# What pdfium writes where a word is hyphenated at the end of a line.
_HYPHENATED = re.compile("[\ufffe\x02]\r?\n?")
_LINE_END = re.compile(r"\r\n|\r")
_BETWEEN_PAGES = "\n\n"


def read_pdf(data: bytes, name: str) -> Extract:
    """The text of a PDF; every page with words is a section.

    Raises:
        InputFileError: it is encrypted, damaged or without text, or pypdfium2 is not installed.
    """
    try:
        import pypdfium2
    except ImportError:
        raise InputFileError(f"{name}: reading PDF needs pypdfium2; run: pip install 'serotine[ingest]'") from None
    if not data:
        raise InputFileError(f"{name}: is empty, and no PDF; write it again")
    with _ONE_AT_A_TIME:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            if "password" in str(error).lower():
                raise InputFileError(
                    f"{name}: is encrypted; save it without a password first, for example with qpdf --decrypt"
                ) from None
            raise InputFileError(f"{name}: is damaged or no PDF; write it again") from None
        try:
            title = _clean(str(document.get_metadata_dict().get("Title") or "")).strip()
            pages = [_clean(_page(document, number, name)).strip() for number in range(len(document))]
        finally:
            document.close()
    found: list[Section] = []
    parts: list[str] = []
    length = 0
    for number, text in enumerate(pages, 1):
        if text:
            length += len(_BETWEEN_PAGES) if parts else 0
            parts.append(text)
            found.append(Section(length, length + len(text), page=number))
            length += len(text)
    if not found:
        count = len(pages)
        raise InputFileError(
            f"{name}: has no text on its {count:,} page{'' if count == 1 else 's'}, only images; "
            "recognise it first, for example with ocrmypdf"
        )
    return Extract(_BETWEEN_PAGES.join(parts), tuple(found), {"title": title} if title else {})


def _page(document: PdfDocument, number: int, name: str) -> str:
    import pypdfium2

    try:
        page = document[number]
        try:
            words = page.get_textpage()
            try:
                return str(words.get_text_bounded())
            finally:
                words.close()
        finally:
            page.close()
    except pypdfium2.PdfiumError as error:
        raise InputFileError(f"{name}: page {number + 1} is damaged ({error}); write it again") from None


def _clean(text: str) -> str:
    text = _LINE_END.sub("\n", _HYPHENATED.sub("", text)).replace("\0", "")
    # Damaged fonts give halves of characters, which are no text.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
