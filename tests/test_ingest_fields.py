"""Tables with column names of their own: which are text, title, id and metadata, and what the index remembers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder
from test_cli import Shell, shell

from serotine import Index
from serotine.ingest import Fields, IngestReport, update

__all__ = ["shell"]  # the fixture

CSV = "SKU;Name;Body;Notes;Year\nx1;Bat;flies at dusk;;2020\nx2;Owl;hunts mice;silent wings;2021\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    with Index.create(tmp_path / "i", encoder=WordEncoder()) as created:
        yield created


def stored(index: Index) -> dict[str, tuple[str | None, dict[str, Any]]]:
    places = {"source", "line"}
    return {
        hit.id: (hit.text, {name: value for name, value in hit.metadata.items() if name not in places})
        for hit in index.get(list(index.ids()))
    }


def messages(report: IngestReport) -> list[str]:
    return [skipped.message for skipped in report.skipped] + [row.message for row in report.skipped_rows.first]


def test_columns_are_named_in_any_case_and_texts_joined_by_a_blank_line(index: Index) -> None:
    Path("a.csv").write_text(CSV)
    fields = Fields(text=["body", "NOTES"], id="sku", title="name", metadata="year")
    assert not messages(update(index, ["a.csv"], fields=fields))
    assert stored(index) == {
        "x1": ("Bat flies at dusk", {"Year": "2020"}),
        "x2": ("Owl hunts mice\n\nsilent wings", {"Year": "2021"}),
    }


def test_all_fields_are_lines_of_name_and_value(index: Index) -> None:
    Path("a.csv").write_text(CSV)
    Path("b.json").write_text(json.dumps([{"id": 7, "name": "Fox", "age": 3, "tags": ["red"], "none": None}]))
    update(index, ["a.csv"], fields=Fields(id="sku", all_fields=True))
    update(index, ["b.json"], fields=Fields(all_fields=True))
    found = stored(index)
    assert found["x1"][0] == "Name: Bat\nBody: flies at dusk\nYear: 2020"
    assert found["x2"][1] == {"Name": "Owl", "Body": "hunts mice", "Notes": "silent wings", "Year": "2021"}
    assert found["7"][0] == 'name: Fox\nage: 3\ntags: ["red"]'


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_every_table_is_read_by_the_named_fields(index: Index, suffix: str) -> None:
    row = {"key": "k", "body": "a brown bat", "text": "other", "year": "2020"}
    path = Path(f"a.{suffix}")
    if suffix == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pyarrow.parquet = pytest.importorskip("pyarrow.parquet")
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    elif suffix in ("csv", "tsv"):
        delimiter = "," if suffix == "csv" else "\t"
        path.write_text(f"{delimiter.join(row)}\n{delimiter.join(row.values())}\n")
    else:
        path.write_text(json.dumps(row if suffix == "jsonl" else [row]) + "\n")
    assert not messages(update(index, [path], fields=Fields(text="body", id="key")))
    assert stored(index) == {"k": ("a brown bat", {"text": "other", "year": "2020"})}


def test_a_table_without_text_names_its_columns_and_the_options(index: Index) -> None:
    Path("a.csv").write_text("Name;Age\nBat;3\n")
    (message,) = messages(update(index, ["a.csv"]))
    assert message.startswith("a.csv:1: the header must name a column 'text', got Name, Age; ")
    assert "name the text, Fields(text=...)" in message
    assert "Fields(all_fields=True)" in message


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (Fields(text=("bdoy",)), "a.csv:1: the header must name a column 'bdoy', got SKU, Name, Body, Notes, Year"),
        (Fields(text=("body",), id="key"), "a.csv:1: the header must name a column 'key', got SKU"),
        (Fields(all_fields=True, metadata=("yaer",)), "a.csv:1: the header must name a column 'yaer', got SKU"),
    ],
)
def test_a_column_that_is_not_there_is_named(index: Index, fields: Fields, reason: str) -> None:
    Path("a.csv").write_text(CSV)
    (message,) = messages(update(index, ["a.csv"], fields=fields))
    assert message.startswith(reason)


def test_a_record_without_a_named_field_is_a_bad_row(index: Index) -> None:
    rows = [{"k": "1", "body": "bat"}, {"k": "2", "other": "owl"}, {"body": "fox"}, {"k": "4", "body": ["x"]}]
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = update(index, ["a.jsonl"], fields=Fields(text=("body",), id="k"))
    assert [(row.line, row.reason.partition(";")[0]) for row in report.skipped_rows.first] == [
        (2, "has no field 'body' for the text, only other"),
        (3, "has no field 'k' for the id, only body"),
        (4, "'body' must be a string, got a list"),
    ]
    assert list(index.ids()) == ["1"]


def test_the_index_remembers_the_fields_of_its_tables(index: Index) -> None:
    Path("a.csv").write_text(CSV)
    fields = Fields(text=("body",), id="sku")
    update(index, ["a.csv"], fields=fields)
    assert update(index, ["a.csv"]).files_unchanged == 1
    assert update(index, ["a.csv"], fields=fields).files_unchanged == 1
    Path("a.csv").write_text(CSV + "x3;Fox;eats grapes;;2022\n")
    Path("b.csv").write_text(CSV.replace("x", "y"))
    Path("c.jsonl").write_text('{"_id": "z", "text": "gnu"}\n')
    Path("d.txt").write_text("plain")
    report = update(index, ["a.csv", "b.csv", "c.jsonl", "d.txt"])
    assert (messages(report), report.added, report.replaced) == ([], 5, 0)
    assert stored(index)["y2"][0] == "hunts mice"
    report = update(index, ["a.csv"], fields=Fields(text=("name",), id="sku"))
    assert (report.files_replaced, report.replaced) == (1, 3)
    assert stored(index)["x3"][0] == "Fox"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"text": ("",)}, "text: must be the name of a field"),
        ({"id": ""}, "id: must be the name of a field"),
        ({"delimiter": ";;"}, "delimiter: must be one character"),
        ({"text": ("a",), "all_fields": True}, "all_fields: must be False where"),
    ],
)
def test_fields_that_make_no_sense_are_errors(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Fields(**arguments)


def test_fields_are_what_was_recorded() -> None:
    fields = Fields(("a", "b"), "i", "t", "\t", ("m",))
    assert Fields.parse(json.loads(str(fields) or "{}")) == fields
    assert Fields.parse(json.loads(str(Fields(metadata=())))) == Fields(metadata=())
    assert str(Fields()) == ""
    assert Fields.parse({"id": "a", "later": 1}) == Fields(id="a")


def test_the_options_of_the_command_line(shell: Shell, tmp_path: Path) -> None:
    Path("a.csv").write_text("sku^body^note^year\nx1^a bat^at dusk^2020\n")
    options = ("--text-field", "body", "--text-field", "note", "--id-field", "sku", "--delimiter", "^")
    shell("index", "a.csv", "-o", "i", *options, "--metadata-fields", "year, body")
    with Index.open("i", read_only=True) as opened:
        hit = opened.get(["x1"])[0]
        assert hit.text == "a bat\n\nat dusk"
        assert hit.metadata["year"] == "2020"
        assert "note" not in hit.metadata
    assert shell.json("add", "i", "a.csv")["unchanged"] == 0
    # Remembered options do not fit a new file.
    Path("plain.csv").write_text("id^text\np^an owl\n")
    message = shell.fails("add", "i", "plain.csv", "--delimiter", "^", "--text-field", "body")
    assert (
        "a column 'body', got id, text; correct its name, or name the columns of this file with --text-field" in message
    )
    assert "--all-fields: must be" in shell.fails("add", "i", "a.csv", *options, "--all-fields", status=2)
    assert "--delimiter: must be one character" in shell.fails("add", "i", "a.csv", "--delimiter", ";;", status=2)


def test_a_record_is_not_indexed_by_its_title_alone_where_another_field_has_the_text(index: Index) -> None:
    rows = [
        {"_id": "1", "title": "Bat", "Content": "flies at dusk", "year": 2020},
        {"_id": "2", "title": "Owl", "year": 2021},
        {"_id": "3", "title": "Fox", "description": ""},
        {"_id": "4", "title": "Emu", "text": "runs", "body": "again"},
        {"_id": "5", "message": "gnu"},
    ]
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = update(index, ["a.jsonl"])
    assert [(row.line, row.reason) for row in report.skipped_rows.first] == [
        (
            1,
            "has no 'text', only title, Content, year; name the text: Fields(text='Content')",
        ),
        (
            5,
            "has neither 'text' nor 'title', only message; name the text, Fields(text=...), "
            "or index all fields, Fields(all_fields=True)",
        ),
    ]
    assert sorted(index.ids()) == ["2", "3", "4"]
    Path("b.csv").write_text("id,title,Body\n1,Bat,flies\n")
    (message,) = messages(update(index, ["b.csv"]))
    assert message.startswith("b.csv:1: the header must name a column 'text', got id, title, Body; ")


def test_an_id_of_another_file_of_the_index_names_both_and_the_way_out(index: Index) -> None:
    for name in ("a.csv", "b.csv"):
        Path(name).write_text(f"id,sku,text\nk1,{name[0]},{name}\n")
    update(index, ["a.csv"])
    (message,) = messages(update(index, ["b.csv"]))
    assert message.startswith("b.csv:2: id 'k1' is already in the index, from ")
    assert "/a.csv; pass Fields(prefix_ids=True), or Fields(id=...) with another field, or pass upsert=True" in message
    assert not messages(update(index, ["b.csv"], fields=Fields(id="sku")))
    assert sorted(index.ids()) == ["b", "k1"]


def test_a_spreadsheet_is_a_table_where_fields_are_named(index: Index) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    workbook = openpyxl.Workbook()
    first = workbook.active
    first.title = "2020"
    for row in [("SKU", "Name", "Body", "Year"), ("x1", "Bat", "flies at dusk", 2020), ("x2", None, None, 2021)]:
        first.append(row)
    second = workbook.create_sheet("2021")
    for row in [("sku", "name", "body"), (7, "Fox", "digs")]:
        second.append(row)
    workbook.create_sheet("empty")
    workbook.create_sheet("notes").append(("nothing", "here"))
    workbook.save("a.xlsx")
    report = update(index, ["a.xlsx"], fields=Fields(text=["body"], id="sku", title="name"))
    assert report.skipped == ()
    assert [(row.line, row.reason) for row in report.skipped_rows.first] == [
        (
            1,
            "sheet 'notes' must have a column 'body', got nothing, here; correct its name, "
            "or pass fields=Fields(...) for this file",
        ),
        (3, "'body' must be a string, got null"),
    ]
    metadata = {hit.id: (hit.text, hit.metadata) for hit in index.get(index.ids())}
    assert metadata == {
        "x1": ("Bat flies at dusk", {"title": "Bat", "sheet": "2020", "Year": 2020, "source": "a.xlsx", "line": 2}),
        "7": ("Fox digs", {"title": "Fox", "sheet": "2021", "source": "a.xlsx", "line": 2}),
    }
    # Remembered; and without an id every row has one of its own.
    assert update(index, ["a.xlsx"]).files_unchanged == 1
    update(index, ["a.xlsx"], fields=Fields(text="body"))
    assert set(index.ids()) == {"a.xlsx:2", "a.xlsx:2021:2"}


def test_a_spreadsheet_without_the_named_columns_is_skipped_and_is_a_text_without_names(index: Index) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    workbook = openpyxl.Workbook()
    for row in [("item", "price"), ("chair", 3)]:
        workbook.active.append(row)
    workbook.save("a.xlsx")
    (message,) = messages(update(index, ["a.xlsx"], fields=Fields(text="body")))
    assert message.startswith("a.xlsx:1: sheet 'Sheet' must have a column 'body', got item, price")
    update(index, ["a.xlsx"])
    assert index.get("a.xlsx").text == "item: chair; price: 3"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet", "xlsx"])
def test_the_title_of_a_row_is_metadata_as_that_of_a_file(index: Index, suffix: str) -> None:
    row = {"_id": "k", "Title": "On bats", "text": "They fly at dusk.", "tags": "night", "date": "2026-11-03"}
    path = Path(f"a.{suffix}")
    if suffix == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pyarrow.parquet = pytest.importorskip("pyarrow.parquet")
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    elif suffix == "xlsx":
        book = pytest.importorskip("openpyxl").Workbook()
        book.active.append(list(row))
        book.active.append(list(row.values()))
        book.save(path)
    elif suffix == "csv":
        path.write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    else:
        path.write_text(json.dumps(row if suffix == "jsonl" else [row]) + "\n")
    fields = Fields(text="text") if suffix == "xlsx" else None
    report = update(index, [path], fields=fields)
    assert not messages(report)
    assert not report.problems
    for where in ({"title": "On bats"}, {"tags": "night"}, {"date": "2026-11-03"}):
        (hit,) = index.search("dusk", k=3, where=where)
        assert hit.text == "On bats They fly at dusk."


def test_a_named_title_takes_the_name_title_and_the_own_field_of_that_name_is_renamed(index: Index) -> None:
    rows = [
        {"id": "1", "name": "Bat", "title": "Dr", "text": "flies"},
        {"id": "2", "name": "Owl", "title": "Owl", "text": "hunts"},
        {"id": "3", "name": "Fox", "text": "runs", "metadata": {"title": "Ms"}},
        {"id": "4", "name": "", "text": "swims"},
    ]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = update(index, ["a.jsonl"], fields=Fields(title="name"))
    assert {id_: metadata for id_, (_, metadata) in stored(index).items()} == {
        "1": {"title": "Bat", "document_title": "Dr"},
        "2": {"title": "Owl"},
        "3": {"title": "Fox", "document_title": "Ms"},
        "4": {},
    }
    (problem,) = report.problems.first
    assert problem.message == (
        "a.jsonl:1: records have fields of their own named 'title' (2), which are 'document_title' in the metadata; "
        "rename them"
    )


def test_titles_are_metadata_only_where_metadata_fields_name_them(index: Index) -> None:
    Path("a.csv").write_text("Name;Body;Year\nBat;flies;2020\n")
    for metadata, expected in (("year", {"Year": "2020"}), (("name", "year"), {"title": "Bat", "Year": "2020"})):
        update(index, ["a.csv"], fields=Fields(text="body", title="name", metadata=metadata))
        assert [values for _, values in stored(index).values()] == [expected]


def test_a_second_spelling_of_a_field_with_a_meaning_is_reported(index: Index) -> None:
    rows = [
        {"_id": "1", "text": "a bat", "TEXT": "an owl", "id": 7},
        {"_id": "2", "text": "a fox", "Text ": "a hen", "Title": "a", "TITLE": "b"},
    ]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = update(index, ["a.jsonl"])
    assert [row.message for row in report.problems.first] == [
        "a.jsonl:1: records have fields named 'TITLE' (1), 'Title' (1) which mean the same; each is only metadata; "
        "rename them",
        "a.jsonl:1: records have fields named 'id' (1) beside '_id', which is used; they are only metadata; "
        "rename them",
        "a.jsonl:1: records have fields named 'TEXT' (1), 'Text ' (1) beside 'text', which is used; they are only "
        "metadata; rename them",
    ]
    assert stored(index)["1"] == ("a bat", {"TEXT": "an owl", "id": 7})
    # Reported again while the file is unchanged, and by the columns that were named.
    assert update(index, ["a.jsonl"]).problems == report.problems
    Path("b.csv").write_text("Body,BODY,text\na hare,a frog,other\n")
    (problem,) = update(index, ["b.csv"], fields=Fields(text="body")).problems.first
    assert "fields named 'BODY' (1) beside 'Body', which is used" in problem.reason


def test_reports_of_renamed_fields_have_the_names_that_are_stored(index: Index) -> None:
    """Also where the new name is taken, and for the fields of passages."""
    text = " ".join(f"word{i}" for i in range(400))
    rows = [{"id": "1", "text": text, "source": "a", "document_source": "b", "start": 3}]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (problem,) = update(index, ["a.jsonl"]).problems.first
    assert problem.reason == (
        "records have fields of their own named 'source' (1), 'start' (1), which are 'document_document_source', "
        "'document_start' in the metadata; rename them"
    )
    metadata = index["1#1"].metadata
    assert (metadata["document_document_source"], metadata["document_source"]) == ("a", "b")
    assert (metadata["document_start"], metadata["start"]) == (3, 0)


def test_a_moved_file_is_reported_with_both_names(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for name, text in (("a.txt", "a bat"), ("b.txt", "an owl"), ("c.jsonl", '{"_id": "k", "text": "a fox"}\n')):
        (folder / name).write_text(text)
    assert update(index, ["notes"]).moved == {}
    (folder / "a.txt").rename(folder / "z.txt")
    (folder / "c.jsonl").rename(folder / "y.jsonl")
    (folder / "b.txt").unlink()
    (folder / "new.txt").write_text("a hen")
    report = update(index, ["notes"])
    moved = {f"{folder}/a.txt": f"{folder}/z.txt", f"{folder}/c.jsonl": f"{folder}/y.jsonl"}
    assert report.moved == report.to_json()["moved"] == moved
    # Only what has its path as id is encoded again.
    assert (report.added, report.unchanged) == (2, 1)


def test_the_command_line_reports_moved_files(shell: Shell) -> None:
    Path("n").mkdir()
    Path("n/a.txt").write_text("a bat")
    shell("index", "n", "-o", "i", "--encoder", "fake")
    Path("n/a.txt").rename("n/b.txt")
    assert "files: 1 new, 1 gone (moved: n/a.txt -> n/b.txt)" in shell("index", "n", "-o", "i")
