"""Write the corpus of `fuzzing`: one small file of every type that a reader takes, from the samples of the tests.

`sample` is one text, and `records` many documents.
"""

from __future__ import annotations

import datetime
import io
import json
import sys
import tempfile
from pathlib import Path

import openpyxl
import pyarrow
import pyarrow.parquet
from openpyxl.comments import Comment

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_ingest_readers_contract import sample
from test_ingest_readers_office import write_odt

from serotine.ingest.file_types import RECORD_READERS, TEXT_READERS

_ROWS = [{"id": str(i), "text": f"bat {i}", "tags": ["owl"] * i} for i in range(4)]
_ODT = (
    '<text:h text:outline-level="2">Bats<text:note><text:note-body><text:p>late</text:p></text:note-body></text:note>'
    "</text:h>"
    '<text:list><text:list-item><text:p>Moths<text:s text:c="3"/></text:p></text:list-item></text:list>'
    '<table:table><table:table-row><table:table-cell table:number-columns-repeated="2"><text:p>a</text:p>'
    "</table:table-cell></table:table-row></table:table><text:p><draw:frame><draw:text-box><text:p>boxed</text:p></draw:text-box>"
    "<draw:image/></draw:frame><office:annotation><text:p>why</text:p></office:annotation></text:p>"
)
_MESSAGE = "From a@b Tue Nov 24 10:00:00 2026\nSubject: Bats\nFrom: a@b\n\nThey eat moths.\n\n"


def records(suffix: str) -> bytes:
    """Return a small file of records."""
    if suffix == ".xlsx":
        return _workbook()
    if suffix == ".parquet":
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(_ROWS), sink, row_group_size=2)
        return sink.getvalue()
    separator = "\t" if suffix == ".tsv" else ","
    table = "".join(separator.join((row["id"], f'"{row["text"]}"')) + "\n" for row in _ROWS)
    contents = {
        ".jsonl": "".join(json.dumps(row) + "\n" for row in _ROWS),
        ".json": json.dumps(_ROWS),
        ".csv": f"id{separator}text\n{table}",
        ".tsv": f"id{separator}text\n{table}",
        ".mbox": _MESSAGE * 2,
    }
    return contents[suffix].encode()


def _workbook() -> bytes:
    """Return sheets with dates, formulas, comments, merged cells and a hidden sheet."""
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.append(["id", "text", "seen", "weight"])
    for row in _ROWS:
        sheet.append([row["id"], row["text"], datetime.datetime(2026, 11, 24, 10, 30), 25.5])
    sheet.append(["5", "=1+1", datetime.date(2026, 11, 24), True])
    sheet["A2"].comment = Comment("Late bats.", "Anna")
    sheet["D2"].number_format = "[h]:mm"
    sheet.merge_cells("A7:B8")
    hidden = workbook.create_sheet("Owls")
    hidden.append(["text", "text", None, "#N/A"])
    hidden.append(["owl", datetime.time(4, 30), None, "#REF!"])
    hidden.sheet_state = "hidden"
    workbook.save(buffer := io.BytesIO())
    return buffer.getvalue()


def main() -> None:
    """Write the files."""
    corpus = Path(__file__).with_name("corpus")
    corpus.mkdir(exist_ok=True)
    for suffix in TEXT_READERS:
        with tempfile.TemporaryDirectory() as folder:
            (corpus / f"sample{suffix}").write_bytes(sample(suffix, Path(folder)))
    (corpus / "marked_up.odt").write_bytes(write_odt(_ODT))
    for suffix in RECORD_READERS:
        (corpus / f"records{suffix}").write_bytes(records(suffix))


if __name__ == "__main__":
    main()
