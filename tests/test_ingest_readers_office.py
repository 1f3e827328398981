"""Readers of office documents, e-books and XML, and of damaged, encrypted and hostile ones."""

from __future__ import annotations

import datetime
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from serotine.errors import InputFileError
from serotine.ingest import SourceFile
from serotine.ingest.chunking import Chunker, Chunking
from serotine.ingest.extract import Extract
from serotine.ingest.file_types import TEXT_READERS

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc00000030101"
    "0018dd8db00000000049454e44ae426082"
)
DAY = datetime.datetime(2026, 11, 24, 10, 30)


def extract_of(suffix: str, data: bytes) -> Extract:
    return TEXT_READERS[suffix](data, f"a{suffix}")


def units(extract: Extract) -> list[dict[str, Any]]:
    found = []
    for section in extract.sections:
        metadata = extract.passage_metadata(section.start, section.end, section.headings)
        text = extract.text[section.start : section.end].strip()
        found.append({key: value for key, value in metadata.items() if key not in ("start", "end")} | {"text": text})
    return [{key: value for key, value in unit.items() if key not in extract.metadata} for unit in found]


def write_docx(**properties: Any) -> bytes:
    docx = pytest.importorskip("docx")
    document = docx.Document()
    for key, value in properties.items():
        setattr(document.core_properties, key, value)
    document.add_heading("On bats", 0)
    document.add_paragraph("They fly ").add_run("late.")
    document.add_heading("Food", 1)
    document.add_paragraph("Moths", style="List Bullet")
    document.add_paragraph("A\ttab and\na break")
    table = document.add_table(2, 2)
    for row, values in zip(table.rows, [("name", "weight"), ("Serotine", "25 g")], strict=True):
        for cell, value in zip(row.cells, values, strict=True):
            cell.text = value
    document.add_heading("Insects", 2)
    document.add_picture(io.BytesIO(PIXEL))
    document.add_paragraph("Beetles")
    document.sections[0].header.paragraphs[0].text = "Confidential"
    document.save(buffer := io.BytesIO())
    return buffer.getvalue()


def test_docx() -> None:
    extract = extract_of(".docx", write_docx(title="Bats", author="Anna", modified=DAY, language="en"))
    assert extract.metadata == {"title": "Bats", "author": "Anna", "date": "2026-11-24T10:30:00Z", "language": "en"}
    assert extract.unread == {"images": 1}
    assert units(extract) == [
        {"heading": "On bats", "text": "On bats\n\nThey fly late."},
        {
            "heading": "On bats > Food",
            "text": "Food\n\nMoths\n\nA\ttab and\na break\n\nname\tweight\nSerotine\t25 g",
        },
        {"heading": "On bats > Food > Insects", "text": "Insects\n\nBeetles\n\nConfidential"},
    ]
    assert extract_of(".docx", write_docx(title="")).metadata["title"] == "On bats"


W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def zipped(files: dict[str, str | bytes]) -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def office(main: str, xml: str, **parts: str) -> bytes:
    """Return a package of Office Open XML with a main part and others beside it, by the kind of their relation."""
    packages = "http://schemas.openxmlformats.org/package/2006/relationships"

    def relations(targets: dict[str, str]) -> str:
        items = "".join(
            f'<Relationship Id="{kind}" Type="{RELATIONS}/{kind}" Target="{to}"/>' for kind, to in targets.items()
        )
        return f'<Relationships xmlns="{packages}">{items}</Relationships>'

    folder, _, base = main.partition("/")
    return zipped(
        {
            "_rels/.rels": relations({"officeDocument": main}),
            main: xml,
            f"{folder}/_rels/{base}.rels": relations({kind: f"{kind}.xml" for kind in parts}),
            **{f"{folder}/{kind}.xml": content for kind, content in parts.items()},
        }
    )


def word(body: str, **parts: str) -> bytes:
    return office("word/document.xml", f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>', **parts)


def paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def test_docx_text_that_is_easily_lost() -> None:
    body = (
        f"<w:sdt><w:sdtContent>{paragraph('control')}</w:sdtContent></w:sdt>"
        "<w:p><w:hyperlink><w:r><w:t>link</w:t></w:r></w:hyperlink><w:ins><w:r><w:t> inserted</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>deleted</w:delText></w:r></w:del><w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
        '<w:p><w:r><w:t>noted</w:t><w:footnoteReference w:id="2"/></w:r></w:p>'
        f"<w:p><w:r><w:t>boxed</w:t><w:txbxContent>{paragraph('in a box')}</w:txbxContent></w:r></w:p>"
        f"<w:tbl><w:tr><w:tc>{paragraph('a')}{paragraph('b')}</w:tc><w:tc><w:tbl><w:tr><w:tc>{paragraph('inner')}</w:tc>"
        "</w:tr></w:tbl></w:tc></w:tr></w:tbl>"
    )
    notes = f'<w:footnotes xmlns:w="{W}"><w:footnote w:id="2">{paragraph("the note")}</w:footnote></w:footnotes>'
    comments = f'<w:comments xmlns:w="{W}"><w:comment w:id="0">{paragraph("why?")}</w:comment></w:comments>'
    extract = extract_of(".docx", word(body, footnotes=notes, comments=comments))
    assert extract.text.split("\n\n") == [
        "control",
        "link inserted",
        "noted",
        "the note",
        "boxed",
        "in a box",
        "a b\tinner",
    ]
    assert extract.unread == {"comments": 1}


def write_pptx() -> bytes:
    pptx = pytest.importorskip("pptx")
    presentation = pptx.Presentation()
    presentation.core_properties.author = "Anna"
    presentation.core_properties.modified = DAY
    presentation.core_properties.title = ""
    first = presentation.slides.add_slide(presentation.slide_layouts[0])
    first.shapes.title.text, first.placeholders[1].text = "On bats", "Anna"
    second = presentation.slides.add_slide(presentation.slide_layouts[1])
    second.shapes.title.text, second.placeholders[1].text = "Food", "Moths\nBeetles"
    second.notes_slide.notes_text_frame.text = "Say: they eat at night."
    presentation.slides.add_slide(presentation.slide_layouts[6]).shapes.add_picture(io.BytesIO(PIXEL), 0, 0)
    last = presentation.slides.add_slide(presentation.slide_layouts[5])
    last.shapes.title.text = "Weights"
    table = last.shapes.add_table(2, 2, 0, 0, 1_000_000, 1_000_000).table
    for i, values in enumerate((("name", "weight"), ("Serotine", "25 g"))):
        for j, value in enumerate(values):
            table.cell(i, j).text = value
    presentation.save(buffer := io.BytesIO())
    return buffer.getvalue()


def test_pptx() -> None:
    extract = extract_of(".pptx", write_pptx())
    assert extract.metadata == {"title": "On bats", "author": "Anna", "date": "2026-11-24T10:30:00Z"}
    assert extract.unread == {"images": 1}
    assert units(extract) == [
        {"heading": "On bats", "slide": 1, "text": "On bats\n\nAnna"},
        {"heading": "Food", "slide": 2, "text": "Food\n\nMoths\nBeetles\n\nSay: they eat at night."},
        {"heading": "Weights", "slide": 4, "text": "Weights\n\nname\tweight\nSerotine\t25 g"},
    ]
    assert all(section.separate for section in extract.sections)


def write_xlsx(sheets: dict[str, list[list[Any]]]) -> bytes:
    openpyxl = pytest.importorskip("openpyxl")
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for title, rows in sheets.items():
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(row)
    workbook.save(buffer := io.BytesIO())
    return buffer.getvalue()


def test_comments_of_cells_are_counted() -> None:
    openpyxl = pytest.importorskip("openpyxl")
    from openpyxl.comments import Comment

    workbook = openpyxl.Workbook()
    workbook.active.append(["Serotine", 25.5])
    workbook.active["A1"].comment = Comment("Late bats.", "Anna")
    workbook.active["B1"].comment = Comment("In grams.", "Anna")
    workbook.save(buffer := io.BytesIO())
    assert extract_of(".xlsx", buffer.getvalue()).unread == {"comments": 2}


def test_xlsx() -> None:
    rows = [["name", "weight", None, "seen"], ["Serotine", 25.5, "big", DAY], [None], ["Noctule", 30, None, DAY.date()]]
    data = write_xlsx({"Bats": rows, "Empty": [], "Plain": [["a", 1], [True, "=1+1"]]})
    extract = extract_of(".xlsx", data)
    assert extract.unread == {"formulas without a value": 1}
    assert units(extract) == [
        {
            "heading": "Bats",
            "sheet": "Bats",
            "row": 2,
            "last_row": 4,
            "text": "name: Serotine; weight: 25.5; big; seen: 2026-11-24T10:30:00\n"
            "name: Noctule; weight: 30; seen: 2026-11-24",
        },
        {"heading": "Plain", "sheet": "Plain", "row": 1, "last_row": 2, "text": "a\t1\nTrue"},
    ]


class WordEncoder:
    name = "words"
    dimension = 8


def test_passages_of_a_long_sheet_name_their_rows(tmp_path: Path) -> None:
    data = write_xlsx({"Bats": [["name", "note"], *([f"bat{i}", "flies late"] for i in range(2, 60))]})
    (tmp_path / "a.xlsx").write_bytes(data)
    chunker = Chunker(WordEncoder(), Chunking(32, 0))  # type: ignore[arg-type]
    passages = list(SourceFile.named(tmp_path / "a.xlsx", "a.xlsx").documents(chunker))
    assert len(passages) > 10
    for passage in passages:
        bats = [line for line in passage.text.splitlines() if "bat" in line]
        assert f"bat{passage.metadata['row']};" in bats[0]
        assert f"bat{passage.metadata.get('last_row', passage.metadata['row'])};" in bats[-1]


OFFICE = "urn:oasis:names:tc:opendocument:xmlns:office:1.0"
ODF_TEXT = "urn:oasis:names:tc:opendocument:xmlns:text:1.0"


def write_odt(body: str, manifest: str = "<manifest/>") -> bytes:
    spaces = f'xmlns:office="{OFFICE}" xmlns:text="{ODF_TEXT}" xmlns:table="t" xmlns:draw="d" xmlns:dc="c"'
    return zipped(
        {
            "content.xml": f"<office:document-content {spaces}><office:body><office:text>{body}</office:text>"
            "</office:body></office:document-content>",
            "meta.xml": f"<office:document-meta {spaces}><dc:creator>Anna</dc:creator><dc:date>2026-11-24</dc:date>"
            "</office:document-meta>",
            "META-INF/manifest.xml": manifest,
        }
    )


def test_odt() -> None:
    body = (
        '<text:h text:outline-level="1">On bats</text:h><text:p>They<text:s text:c="2"/>fly<text:tab/>late,'
        "<text:span> often<text:note><text:note-body><text:p>The note.</text:p></text:note-body></text:note>"
        "</text:span>"
        "<text:line-break/>and far.<office:annotation><text:p>why?</text:p></office:annotation></text:p>"
        "<text:table-of-content><text:p>On bats 1</text:p></text:table-of-content>"
        "<text:list><text:list-item><text:p>Moths</text:p></text:list-item><text:list-item><text:p>Beetles</text:p>"
        '</text:list-item></text:list><text:h text:outline-level="2">Weights</text:h><table:table><table:table-row>'
        "<table:table-cell><text:p>a</text:p></table:table-cell>"
        '<table:table-cell table:number-columns-repeated="9999"/>'
        "</table:table-row></table:table><text:p><draw:image/></text:p>"
    )
    extract = extract_of(".odt", write_odt(body))
    assert extract.metadata == {"title": "On bats", "author": "Anna", "date": "2026-11-24"}
    assert extract.unread == {"images": 1, "comments": 1}
    assert units(extract) == [
        {"heading": "On bats", "text": "On bats\n\nThey  fly\tlate, often\nand far.\n\nThe note.\n\nMoths\nBeetles"},
        {"heading": "On bats > Weights", "text": "Weights\n\na"},
    ]


def write_epub(encryption: str | None = None) -> bytes:
    files: dict[str, str | bytes] = {
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OEBPS/a.opf"/></rootfiles></container>',
        "OEBPS/a.opf": '<package xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><dc:title>On bats</dc:title>'
        "<dc:creator>Anna</dc:creator><dc:creator>Ben</dc:creator><dc:language>en</dc:language></metadata><manifest>"
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        '<item id="one" href="text/one%20a.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="two" href="text/two.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="cover" href="cover.png" media-type="image/png"/></manifest>'
        '<spine><itemref idref="nav"/><itemref idref="two"/><itemref idref="one"/></spine></package>',
        "OEBPS/nav.xhtml": "<html><body><p>Contents</p></body></html>",
        "OEBPS/text/one a.xhtml": "<html><body><h1>Food</h1><p>Moths</p></body></html>",
        "OEBPS/text/two.xhtml": "<html><body><h1>Flight</h1><h2>Night</h2><p>Late</p></body></html>",
    }
    if encryption is not None:
        files["META-INF/encryption.xml"] = f'<encryption><CipherReference URI="{encryption}"/></encryption>'
    return zipped(files)


def test_epub() -> None:
    pytest.importorskip("selectolax")
    for data in (write_epub(), write_epub("OEBPS/font.otf")):
        extract = extract_of(".epub", data)
        assert extract.metadata == {"title": "On bats", "author": "Anna, Ben", "language": "en"}
        assert extract.unread == {"images": 1}
        assert units(extract) == [
            {"heading": "Flight", "text": "Flight"},
            {"heading": "Flight > Night", "text": "Night\n\nLate"},
            {"heading": "Food", "text": "Food\n\nMoths"},
        ]


def test_xml() -> None:
    source = (
        '<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE book><book xml:lang="en"><title>On b\xe4ts</title>'
        "<author>Anna</author><chapter><title>Food</title><para>They eat <b>moths</b>,\n often.</para>"
        "<list><item>a</item>"
        "<item>b</item></list><!-- no --><empty/></chapter></book>"
    )
    extract = extract_of(".xml", source.encode("latin-1"))
    assert extract.metadata == {"title": "On bäts", "author": "Anna", "language": "en"}
    assert units(extract) == [
        {"heading": "On bäts", "text": "On bäts\nAnna"},
        {"heading": "On bäts > Food", "text": "Food\n\nThey eat moths, often.\na\nb"},
    ]


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("suffix", "data", "message"),
    [
        (".xml", f"{BOMB}<a>&b;</a>".encode(), "declares entities"),
        (".xml", b'<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><a>&a;</a>', "declares entities"),
        (".xml", b"<a>" * 5_000, "nested more than 256 deep"),
        (".xml", b"<a>\n<b></a>", "not valid XML"),
        (".xml", b"\xff\xfe\0\xd8", "not valid XML"),
        (".docx", word("").replace(b"PK", b"XX"), "damaged, or not a .docx file"),
        (".docx", b"", "damaged, or not a .docx file"),
        (".docx", zipped({"a.txt": "words"}), "damaged, or not a .docx file"),
        (".docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "encrypted, or of an older format than .docx"),
        (".docx", office("word/document.xml", f"{BOMB}<a>&b;</a>"), "declares entities"),
        (".docx", word(f"<w:p>{' ' * (1 << 27)}</w:p>"), "must unpack to at most 128 MiB; split it"),
        (".docx", word("<w:p>" * 1_000), "nested more than 256 deep"),
        (".pptx", zipped({"a.txt": "words"}), "damaged, or not a .pptx file"),
        (".xlsx", zipped({"a.txt": "words"}), "damaged, or not a .xlsx file"),
        (".xlsx", office("xl/workbook.xml", "<workbook/>"), "damaged, or not a .xlsx file"),
        (".xlsx", office("xl/workbook.xml", " " * (1 << 27)), "must unpack to at most 128 MiB; split it"),
        (".odt", zipped({"content.xml": "<a/>"}), "damaged, or not a .odt file"),
        (".odt", write_odt("", "<manifest><encryption-data/></manifest>"), "encrypted"),
        (".epub", zipped({"a.txt": "words"}), "damaged, or not a .epub file"),
        (".epub", write_epub("OEBPS/text/two.xhtml"), "encrypted"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_encrypted_and_hostile_files_are_one_message(suffix: str, data: bytes, message: str) -> None:
    if suffix == ".xlsx":
        pytest.importorskip("openpyxl")
    with pytest.raises(InputFileError, match=rf"^a\{suffix}[^\n]*: {message}[^\n]*$"):
        extract_of(suffix, data)


def test_truncated_files_are_one_message() -> None:
    makers = {
        ".docx": write_docx,
        ".pptx": write_pptx,
        ".xlsx": lambda: write_xlsx({"a": [["x"]]}),
        ".epub": write_epub,
    }
    for suffix, make in makers.items():
        data = make()
        for size in (10, len(data) // 2, len(data) - 5):
            with pytest.raises(InputFileError, match=r"damaged, or not"):
                extract_of(suffix, data[:size])
        # Bytes that no longer fit their checksum.
        broken = bytearray(data)
        broken[60 : len(data) // 2] = bytes(len(data) // 2 - 60)
        with pytest.raises(InputFileError, match=r"^a\.\w+[^\n]*$"):
            extract_of(suffix, bytes(broken))
