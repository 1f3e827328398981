"""What a page of a PDF has beside its content: the values of form fields, and comments."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_MAX_LENGTH = 1 << 20


def read_annotations(document: PdfDocument, page: PdfPage) -> tuple[list[str], int]:
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

    length = min(function(*arguments, None, 0), _MAX_LENGTH)
    buffer = ctypes.create_string_buffer(max(length, 2))
    function(*arguments, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), length)
    return buffer.raw.decode("utf-16-le", "replace").partition("\0")[0].strip()
