"""The pages of a PDF as pdfium reads them; a module of `reading_program`."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_MAX_VALUE = 1 << 20
_LINE_END = re.compile(r"\r\n|\r")
_AGAIN = "print it to a PDF again, or split it"


def prepare() -> None:
    """Import pdfium."""
    import pypdfium2  # noqa: F401


def read(data: bytes, characters: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield what a PDF has: {"pages": count, "metadata": dict}, then {"text": str, "comments": count} of each page.

    {"problem": str} is the last message about a file that cannot be read.

    Args:
        data: the file.
        characters: where its text is longer, it is cut to one more, and no page follows.
        seconds: of this thread's processor, after which no page is begun.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        encrypted = "encrypted; save it without a password first, for example with qpdf --decrypt"
        is_encrypted = "password" in str(error).lower()
        yield {"problem": encrypted if is_encrypted else "damaged, or not a PDF; write it again"}
        return
    try:
        document.init_forms()
        count = len(document)
        values = {key: _clean(str(value)) for key, value in document.get_metadata_dict().items() if value}
        yield {"pages": count, "metadata": values}
        latest = time.thread_time() + seconds
        for number in range(count):
            if time.thread_time() > latest:
                spent = f"its first {number:,} of {count:,} pages took more than {seconds:.0f} seconds"
                yield {"problem": f"{spent}; {_AGAIN}"}
                return
            try:
                text, comments = _page(document, number)
            except pypdfium2.PdfiumError as error:
                yield {"problem": f"page {number + 1} is damaged ({error}); write it again"}
                return
            yield {"text": text[: characters + 1], "comments": comments}
            characters -= len(text)
            if characters < 0:
                return
    finally:
        document.close()


def _page(document: PdfDocument, number: int) -> tuple[str, int]:
    """Return the text of a page, with the values of its form after it, and how many comments it has."""
    page = document[number]
    try:
        textpage = page.get_textpage()
        try:
            text = str(textpage.get_text_bounded())
        finally:
            textpage.close()
        values, comments = _read_annotations(document, page)
        return _clean("\n".join((text, *values))), comments
    finally:
        page.close()


def _clean(text: str) -> str:
    text = _LINE_END.sub("\n", text).replace("\0", "")
    # Damaged fonts give lone surrogates.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_annotations(document: PdfDocument, page: PdfPage) -> tuple[list[str], int]:
    """Return the values of the form fields of a page, "name: value", and how many comments it has.

    Args:
        document: after `init_forms`.
        page: of it.
    """
    import pypdfium2.raw as pdfium

    shown = (pdfium.FPDF_FORMFIELD_TEXTFIELD, pdfium.FPDF_FORMFIELD_COMBOBOX, pdfium.FPDF_FORMFIELD_LISTBOX)
    form = document.formenv
    values: list[str] = []
    comments = 0
    for annotation in _annotations(page):
        kind = pdfium.FPDFAnnot_GetSubtype(annotation)
        if kind == pdfium.FPDF_ANNOT_WIDGET and form is not None:
            if pdfium.FPDFAnnot_GetFormFieldType(form, annotation) not in shown:
                continue
            value = _string(pdfium.FPDFAnnot_GetFormFieldValue, form, annotation)
            name = _string(pdfium.FPDFAnnot_GetFormFieldAlternateName, form, annotation) or _string(
                pdfium.FPDFAnnot_GetFormFieldName, form, annotation
            )
            if value:
                values.append(f"{name}: {value}" if name else value)
        elif kind not in (pdfium.FPDF_ANNOT_LINK, pdfium.FPDF_ANNOT_POPUP):
            comments += bool(_string(pdfium.FPDFAnnot_GetStringValue, annotation, b"Contents"))
    return values, comments


def _annotations(page: PdfPage) -> Iterator[Any]:
    import pypdfium2.raw as pdfium

    for number in range(pdfium.FPDFPage_GetAnnotCount(page)):
        with _opened(page, number) as annotation:
            if annotation:
                yield annotation


@contextmanager
def _opened(page: PdfPage, number: int) -> Iterator[Any]:
    import pypdfium2.raw as pdfium

    annotation = pdfium.FPDFPage_GetAnnot(page, number)
    try:
        yield annotation
    finally:
        if annotation:
            pdfium.FPDFPage_CloseAnnot(annotation)


def _string(function: Callable[..., int], *arguments: Any) -> str:
    """Return the string that a function of pdfium writes to a buffer, as UTF-16 that ends with a NUL."""
    import pypdfium2.raw as pdfium

    length = min(function(*arguments, None, 0), _MAX_VALUE)
    buffer = ctypes.create_string_buffer(max(length, 2))
    function(*arguments, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), length)
    return buffer.raw.decode("utf-16-le", "replace").partition("\0")[0].strip()
