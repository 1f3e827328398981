"""Office files with content of a test's, in the place of that of the samples in torture/corpus."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

CORPUS = Path(__file__).parents[1] / "torture" / "corpus"
WORD, PRESENTATION, SHEET = (
    f'xmlns:x="http://schemas.openxmlformats.org/{name}/2006/main"'
    for name in ("wordprocessingml", "presentationml", "spreadsheetml")
)
OPEN = " ".join(f'xmlns:{name[0]}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "text"))


def packed(suffix: str, **parts: str) -> bytes:
    """Return the sample of a ZIP-based format with other content in some of its files."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(CORPUS / f"sample{suffix}") as sample,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        changed = {
            name: next((text for end, text in parts.items() if Path(name).stem == end), None)
            for name in sample.namelist()
        }
        assert sum(text is not None for text in changed.values()) == len(parts), sample.namelist()
        for name, text in changed.items():
            archive.writestr(name, sample.read(name) if text is None else text)
    return buffer.getvalue()


def docx(body: str) -> bytes:
    return packed(".docx", document=f"<x:document {WORD}><x:body>{body}</x:body></x:document>")


def odt(body: str) -> bytes:
    return packed(".odt", content=f"<o:document {OPEN}><o:body><o:text>{body}</o:text></o:body></o:document>")


def xlsx(rows: str) -> bytes:
    return packed(".xlsx", sheet1=f"<worksheet {SHEET.replace(':x', '')}><sheetData>{rows}</sheetData></worksheet>")
