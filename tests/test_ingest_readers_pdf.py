"""The reader of PDF: pages, hyphens at the end of lines, metadata, and broken files."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path

import pytest

from serotine.errors import InputFileError
from serotine.ingest import read
from serotine.ingest.readers.hyphens import join_hyphenated
from serotine.ingest.readers.pdf import read_pdf


def write_pdf(
    path: Path, pages: list[str], *, title: str | None = None, password: str | None = None, author: str | None = None
) -> None:
    fpdf = pytest.importorskip("fpdf")
    pdf = fpdf.FPDF()
    pdf.set_creation_date(datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC))
    if author is not None:
        pdf.set_author(author)
    if title is not None:
        pdf.set_title(title)
    if password is not None:
        pdf.set_encryption(owner_password="owner", user_password=password)
    for content in pages:
        pdf.add_page()
        pdf.set_font("helvetica", size=12)
        if content:
            pdf.multi_cell(0, text=content)
        else:
            pdf.rect(20, 20, 60, 60, style="F")
    pdf.output(str(path))


def test_pdf_pages(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    file = tmp_path / "a.pdf"
    write_pdf(file, ["Bats fly\nlate", "", "é on the third page"], title="On bats")
    (document,) = read([file])
    # The title is not on its pages.
    assert document.text == "On bats\n\nBats fly\nlate\n\né on the third page"
    assert document.metadata["title"] == "On bats"
    write_pdf(tmp_path / "c.pdf", ["words"], title="Microsoft Word - bats.doc")
    assert "title" not in next(iter(read([tmp_path / "c.pdf"]))).metadata
    packed = tmp_path / "b.pdf.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert [packed_document.text for packed_document in read([packed])] == [document.text]


def test_broken_pdfs(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    sound = tmp_path / "sound.pdf"
    write_pdf(sound, ["words"])
    write_pdf(tmp_path / "locked.pdf", ["words"], password="secret")
    write_pdf(tmp_path / "images.pdf", ["", ""])
    (tmp_path / "cut.pdf").write_bytes(sound.read_bytes()[:200])
    (tmp_path / "other.pdf").write_bytes(b"<html>not found</html>")
    (tmp_path / "empty.pdf").touch()
    for name, message in (
        ("locked", "encrypted; save it without a password"),
        ("images", "contains no text on its 2 pages, only images; run OCR first"),
        ("cut", "damaged, or not a PDF"),
        ("other", "damaged, or not a PDF"),
        ("empty", "the file is empty"),
    ):
        with pytest.raises(InputFileError, match=rf"{name}\.pdf: {message}") as caught:
            list(read([tmp_path / f"{name}.pdf"]))
        assert "\n" not in str(caught.value)


def test_pdf_metadata(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    write_pdf(tmp_path / "a.pdf", ["words"], title="On bats", author="Anna")
    (document,) = read([tmp_path / "a.pdf"])
    assert document.metadata == {"title": "On bats", "author": "Anna", "date": "2026-11-24"}


def test_every_page_of_a_pdf_is_a_section_with_its_number(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    write_pdf(tmp_path / "a.pdf", ["Bats fly late", "", "Owls hunt"])
    extract = read_pdf((tmp_path / "a.pdf").read_bytes(), "a.pdf")
    assert [
        (extract.text[section.start : section.end], extract.passage_metadata(section.start, section.end, ())["page"])
        for section in extract.sections
    ] == [("Bats fly late", 1), ("Owls hunt", 3)]
    assert all(section.separate for section in extract.sections)
    assert extract.unread == {"pages without text": 1}


def test_words_broken_at_the_end_of_a_line_of_a_pdf(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    write_pdf(tmp_path / "a.pdf", ["This is self-\nevident infor-\nmation for every reader."])
    (document,) = read([tmp_path / "a.pdf"])
    assert document.text == "This is self-evident information for every reader."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The rest of the text decides.
        ("built-in and built\x02in", "built-in and built-in"),
        ("filename or file name, file\x02\r\nname", "filename or file name, filename"),
        ("co-op, coop, coop: co\x02op", "co-op, coop, coop: coop"),
        # Rules decide where the text has neither form.
        ("infor\x02mation", "information"),
        ("Anglo\x02American", "Anglo-American"),
        ("SSL\x02related", "SSL-related"),
        ("OP\x02TIONAL", "OPTIONAL"),
        ("COVID\x0219", "COVID-19"),
        ("e\x02mail", "e-mail"),
        ("state-of-the\x02art", "state-of-the-art"),
        ("self-evi\x02dent", "self-evident"),
        ("self\x02evident", "self-evident"),
        ("user-inter\x02face", "user-interface"),
        ("infor\x02mation-based", "information-based"),
        ("a first century: twenty-first\x02century", "a first century: twenty-first-century"),
        ("up-to\x02date", "up-to-date"),
        ("an evident rule, self-evi\x02\ndent", "an evident rule, self-evident"),
        ("a wall is no clock, a wall\x02clock", "a wall is no clock, a wall-clock"),
        ("GPS\ufffetracker.", "GPS-tracker."),
        # Not between letters.
        ("end \x02\r\nof", "end of"),
        ("infor\x02", "infor"),
    ],
)
def test_hyphens_at_the_end_of_a_line(text: str, expected: str) -> None:
    assert join_hyphenated(text) == expected
