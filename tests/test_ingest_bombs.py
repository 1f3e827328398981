"""Small files that stand for much: repeated, shared or nested content is bounded, or refused in one line."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from helpers.office_cases import CORPUS, SHEET, odt, xlsx

from serotine.errors import InputFileError
from serotine.ingest.fields import Fields
from serotine.ingest.file_types import RECORD_READERS, TEXT_READERS
from serotine.ingest.readers import xlsx as xlsx_reader
from serotine.ingest.readers.front_matter import FrontMatter, read_front_matter


def _refusal(content: bytes | str, name: str) -> str:
    with pytest.raises(InputFileError) as caught:
        TEXT_READERS[Path(name).suffix](content.encode() if isinstance(content, str) else content, name)
    return str(caught.value)


def _workbook(sheets: int, rows: str, text: str = "", parts: int | None = None) -> bytes:
    """Return a workbook of equal sheets in so many parts, one each by default, with a shared text."""
    main = SHEET.replace(":x", "")
    types = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    parts = parts or sheets
    changed = {
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{types}"><sheets>'
        + "".join(f'<sheet name="s{i}" sheetId="{i + 1}" r:id="s{i % parts}"/>' for i in range(sheets))
        + "</sheets></workbook>",
    }
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(CORPUS / "sample.xlsx") as sample,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in sample.namelist():
            content = changed.get(name, sample.read(name).decode())
            if name == "xl/_rels/workbook.xml.rels":
                relation = f'<Relationship Id="s{{0}}" Type="{types}/worksheet" Target="worksheets/s{{0}}.xml"/></R'
                content = content.replace("</R", "".join(relation.format(i)[:-3] for i in range(parts)) + "</R")
            elif name == "[Content_Types].xml":
                kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
                content = content.replace(
                    "</Types", f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types'
                )
            archive.writestr(name, content)
        archive.writestr("xl/sharedStrings.xml", f"<sst {main}><si><t>{text}</t></si></sst>")
        for i in range(parts):
            archive.writestr(f"xl/worksheets/s{i}.xml", f"<worksheet {main}><sheetData>{rows}</sheetData></worksheet>")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (xlsx('<row r="1000000000000000"/>'), "has a row of a number above 1,048,576; remove what is far down"),
        (_workbook(6, '<row r="100000"/>'), "up to sheet 's5' it has more than 500,000 blank cells beside few "),
        (_workbook(2, '<row r="1"><c t="str"><v>bat</v></c></row>', parts=1), "damaged, or not a .xlsx file"),
        (
            _workbook(1, '<row r="1">' + '<c t="s"><v>0</v></c>' * 70 + "</row>", "bat " * (1 << 18)),
            "a.xlsx:1: a row must be at most 64 MiB",
        ),
        # Blank rows are left out, but not without their cost.
        (
            _workbook(1, '<row><c t="s"><v>0</v></c></row>' * 70, "    " * (1 << 18)),
            "its rows must have at most 67,108,864 characters together",
        ),
    ],
    ids=["row number", "blank rows", "one part", "shared text", "shared blank text"],
)
def test_a_sheet_cannot_stand_for_more_than_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str
) -> None:
    pytest.importorskip("openpyxl")
    if "blank cells" in reason:
        monkeypatch.setattr(xlsx_reader, "_MAX_BLANK", 500_000)
    assert reason in _refusal(content, "a.xlsx")
    path = tmp_path / "a.xlsx"
    path.write_bytes(content)
    with pytest.raises(InputFileError) as caught:
        for _ in RECORD_READERS[".xlsx"](path, "a.xlsx", Fields(all_fields=True)):
            pass
    assert reason in str(caught.value)


def test_a_sheet_may_end_at_the_last_row() -> None:
    pytest.importorskip("openpyxl")
    rows = '<row r="1"><c r="A1" t="str"><v>bat</v></c></row><row r="1048576"><c t="str"><v>owl</v></c></row>'
    extract = TEXT_READERS[".xlsx"](xlsx(rows), "a.xlsx")
    assert extract.text.startswith("bat\nowl\n\n")
    assert list(extract.positions[1].values[:2]) == [1, 1048576]


def test_what_is_nested_in_a_page_is_written_once() -> None:
    pytest.importorskip("selectolax")
    read = TEXT_READERS[".html"]
    drawing = "<svg><text>a<text>b</text></text><foreignObject><p>c</p>" * 3
    assert read(f"<p>x</p>{drawing}".encode(), "a.html").text == "x" + "\n\nab\n\nc" * 3
    headings = read(("<h1><div><h2>" * 3 + "owl</h2></div></h1>" * 3 + "<h3>bat</h3>moth").encode(), "a.html")
    assert [section.headings for section in headings.sections] == [("owl",), ("owl", "bat")]
    noscript = "<p>x</p><noscript><p>a<noscript><p>enable scripts</p></noscript></p></noscript><noscript>b</noscript>"
    assert read(noscript.encode(), "a.html").text == "x\n\nb"


@pytest.mark.parametrize("part", ["a", '"\\""', "'a.b'", "a .\t a"])
def test_keys_of_toml_have_a_few_parts(part: str) -> None:
    def read(count: int) -> FrontMatter:
        return read_front_matter(f"+++\nx = {{{'.'.join([part] * count)} = 1}}\n+++\nbat")

    assert read(7).end > 0
    (problem,) = read(20).problems
    assert "a key of more than 16 parts, such as a.b.c" in problem[1]
    assert read_front_matter("+++\ntitle = 'v1.2.3'\n+++\nbat").metadata == {"title": "v1.2.3"}


@pytest.mark.parametrize("rows", [1, 20])
def test_repeated_cells_are_bounded_together(rows: int) -> None:
    cell = f'<t:table-cell t:number-columns-repeated="100"><t:p>{"q" * 79_000}</t:p></t:table-cell>'
    row = f"<t:table-row>{cell * (20 // rows)}</t:table-row>"
    tracemalloc.start()
    try:
        assert "the text must be at most 8 MiB" in _refusal(odt(f"<t:table>{row * rows}</t:table>"), "a.odt")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_table_in_a_cell_is_read_once() -> None:
    def table(cell: str) -> str:
        row = f"<t:table-row><t:table-cell>{cell}</t:table-cell><t:table-cell><t:p>b</t:p></t:table-cell></t:table-row>"
        return f"<t:table>{row}</t:table>"

    assert TEXT_READERS[".odt"](odt(table(table(table("<t:p>a</t:p>")))), "a.odt").text == "a b b\tb"
