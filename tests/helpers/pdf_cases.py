"""Small PDF files, ordinary and hostile, written as plain bytes."""

from __future__ import annotations


def document(*objects: bytes) -> bytes:
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, content) for number, content in enumerate(objects, 1))
    return b"%%PDF-1.4\n%strailer<</Root 1 0 R/Size %d>>\n%%%%EOF" % (body, len(objects) + 1)


def stream(content: bytes, dictionary: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>\nstream\n%s\nendstream" % (dictionary, len(content), content)


CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
FONT = b"/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>"


def text_pdf(text: bytes = b"Bats eat moths", pages: int = 2) -> bytes:
    return document(
        CATALOG,
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (b"3 0 R " * pages, pages),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<<%s>>>>" % FONT,
        stream(b"BT /F 12 Tf 10 100 Td (%s) Tj ET" % text),
    )


def nested_forms(levels: int) -> bytes:
    """Return a page that draws four forms, each of which draws four, and so on."""
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Resources<</XObject<</A %d 0 R>>%s>>"
    draws = b"/A Do " * 4
    return document(
        CATALOG,
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<</XObject<</A 5 0 R>>>>>>",
        stream(draws),
        *(stream(draws, form % (number, b"")) for number in range(6, 5 + levels)),
        stream(b"BT /F 12 Tf (a) Tj ET", form % (1, FONT)),
    )
