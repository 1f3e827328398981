"""Bad rows of files with many documents: skipped, counted and named, or an error if strict."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder
from test_cli import Shell, ids, shell

from serotine import Index
from serotine.ingest import Fields, Ingest, IngestReport, read, update
from serotine.ingest import metadata as ingest_metadata

__all__ = ["shell"]  # the fixture

ROWS = """\
{"_id": 1, "text": "bat", "year": NaN}
{"_id": 2, "text": null}
{"_id": 3, "text": NaN, "title": "owl"}
not json
["list"]
{"_id": 1, "text": "again"}
{"_id": 4, "text": "fox", "year": "n/a"}
{"_id": 5, "text": "emu", "year": 2020.0}
{"_id": 6, "text": "gnu", "year": "2021.0"}
"""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    with Index.create(tmp_path / "i", encoder=WordEncoder(), filterable={"year": int}) as created:
        yield created


def rows(report: IngestReport) -> list[tuple[str, int, str]]:
    return [(row.file, row.line, row.reason) for row in report.skipped_rows.first]


def test_bad_rows_are_skipped_and_named(index: Index) -> None:
    Path("a.jsonl").write_text(ROWS)
    report = update(index, ["a.jsonl"])
    expected = [
        (2, "'text' must be a string, got null"),
        (4, "not valid JSON"),
        (5, "must be a JSON object, got list"),
        (6, "duplicate id '1'; ids must be unique"),
        (7, "field 'year' of '4' must be a 64-bit int, got 'n/a'"),
    ]
    assert (report.skipped, report.skipped_rows.count, report.skipped_rows.files) == ((), 5, 1)
    for (file, line, reason), (number, start) in zip(rows(report), expected, strict=True):
        assert (file, line) == ("a.jsonl", number)
        assert reason.startswith(start)
    assert {hit.id: (hit.text, hit.metadata["year"]) for hit in index.get(["1", "5", "6"])} == {
        "1": ("bat", None),
        "5": ("emu", 2020),
        "6": ("gnu", 2021),
    }
    assert index.get(["3"])[0].text == "owl"


def test_an_update_that_does_not_read_a_file_still_reports_its_bad_rows(index: Index) -> None:
    Path("a.jsonl").write_text(ROWS)
    first = update(index, ["a.jsonl"])
    again = update(index, ["a.jsonl"])
    assert (again.files_unchanged, again.added) == (1, 0)
    assert again.skipped_rows == first.skipped_rows
    Path("a.jsonl").write_text('{"_id": 1, "text": "bat"}\n')
    assert not update(index, ["a.jsonl"]).skipped_rows
    assert not update(index, ["a.jsonl"]).skipped_rows


def test_strict_rejects_the_file_also_when_it_is_unchanged(index: Index) -> None:
    Path("a.jsonl").write_text(ROWS)
    report = update(index, ["a.jsonl"], strict=True)
    assert [skipped.message for skipped in report.skipped] == ["a.jsonl:2: 'text' must be a string, got null"]
    assert len(index) == 0
    assert update(index, ["a.jsonl"]).added == 4
    plan = Ingest(["a.jsonl"], index.encoder, strict=True).plan(index)
    assert (len(plan.skipped), plan.unchanged, len(index)) == (1, (), 4)


def test_the_first_ten_of_all_files_are_named(index: Index) -> None:
    for name in "ab":
        Path(f"{name}.csv").write_text("id,text\n" + f"{name},good\n" + "1,2,3\n" * 7)
    report = update(index, ["a.csv", "b.csv"])
    assert (report.skipped_rows.count, report.skipped_rows.files) == (14, 2)
    assert [(file, line) for file, line, _ in rows(report)] == [
        *(("a.csv", line) for line in range(3, 10)),
        *(("b.csv", line) for line in range(3, 6)),
    ]


def test_a_file_without_a_valid_row_is_skipped_and_keeps_its_documents(index: Index) -> None:
    Path("a.jsonl").write_text('{"_id": 1, "text": "bat"}\n')
    update(index, ["a.jsonl"])
    Path("a.jsonl").write_text("{\n{\n{\n")
    report = update(index, ["a.jsonl"])
    assert report.skipped[0].message.startswith("a.jsonl:1: not valid JSON")
    assert report.skipped[0].message.endswith(
        "(and 2 more: the file has no valid row); what the index has of it stays searchable"
    )
    assert not report.skipped_rows
    assert list(index.ids()) == ["1"]


def test_an_index_of_an_earlier_version_gains_the_column(index: Index, tmp_path: Path) -> None:
    Path("a.jsonl").write_text(ROWS)
    update(index, ["a.jsonl"])
    index.close()
    with sqlite3.connect(tmp_path / "i" / "catalog.sqlite") as connection:
        connection.execute("ALTER TABLE sources DROP COLUMN report")
    connection.close()
    with Index.open(tmp_path / "i", read_only=True, encoder=WordEncoder()) as reader:
        assert [record.report for record in reader.sources.all().values()] == [""]
    with Index.open(tmp_path / "i", encoder=WordEncoder()) as opened:
        assert not update(opened, ["a.jsonl"]).skipped_rows
        Path("a.jsonl").write_text(ROWS + "{\n")
        assert update(opened, ["a.jsonl"]).skipped_rows.count == 6
        assert update(opened, ["a.jsonl"]).skipped_rows.count == 6


def test_a_broken_quote_does_not_swallow_the_rows_after_it(index: Index) -> None:
    Path("a.csv").write_text('id,text\n1,"open\n2,two\n3,"a"b\n4,"four\nlines"\n5,"open again\n6,six\n7,seven\n')
    report = update(index, ["a.csv"])
    assert [(line, reason.split(" (")[0]) for _, line, reason in rows(report)] == [
        (2, "not valid CSV"),
        (4, "not valid CSV"),
        (7, "not valid CSV"),
    ]
    assert {hit.id: hit.text for hit in index.get(index.ids())} == {
        "2": "two",
        "4": "four\nlines",
        "6": "six",
        "7": "seven",
    }


def test_blank_rows_and_empty_cells_at_the_end_are_nothing_lost(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,lang\n,\nx,en,,\n , \n")
    assert [(d.id, d.text, d.metadata) for d in read([file])] == [(f"{file}:3", "x", {"lang": "en"})]


@pytest.mark.parametrize(("delimiter", "name"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs")])
def test_nan_in_a_table_is_no_value(delimiter: str, name: str, index: Index, tmp_path: Path) -> None:
    """As in JSON and Parquet. A row without text is bad; of one with too many cells the message names the delimiter."""
    file = tmp_path / "a.csv"
    lines = ["id,text,year,place", "a,bat,NaN,nan", "b,NaN,2020,Nancy", "c,owl,2021,Nan", "d,owl"]
    file.write_text("\n".join(line.replace(",", delimiter) for line in lines))
    report = update(index, [file])
    assert [(d.id, d.metadata) for d in index.documents()] == [
        ("a", {"year": None, "place": None, "source": str(file), "line": 2}),
        ("c", {"year": 2021, "place": "Nan", "source": str(file), "line": 4}),
    ]
    assert [row[1] for row in rows(report)] == [3, 5]
    assert f'put fields that contain {name} in "quotes"' in rows(report)[1][2]


def test_the_command_line_warns_counts_and_exits_with_0(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,bat\n2,owl,extra\n2,owl\n")
    output = shell("index", "a.csv", "-o", "i.serotine")
    assert "files: 1 new; rows: 1 skipped;" in output
    assert shell.err == (
        "warning: skipped row: a.csv:3: must have 2 columns like the header, got 3; "
        'put fields that contain commas in "quotes"\n'
    )
    result = shell.json("index", "a.csv", "-o", "i.serotine")
    assert result["files"]["unchanged"] == 1
    assert result["skipped_rows"]["count"] == 1
    assert result["skipped_rows"]["first"][0]["line"] == 3
    (tmp_path / "b.csv").write_text("id,text\n" + "x\n" * 12 + "b,bee\n")
    shell("add", "i.serotine", "b.csv")
    warnings = shell.err.splitlines()
    assert len(warnings) == 11
    assert warnings[-1] == ("warning: 12 bad rows of 1 file skipped, 2 of them not listed; --strict rejects such files")
    assert ids() == {"1", "2", "b"}


def test_strict_exits_with_1_and_indexes_the_other_files(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,bat\n2,owl,extra\n")
    (tmp_path / "b.csv").write_text("id,text\n3,fox\n")
    shell("index", "a.csv", "b.csv", "-o", "i.serotine", "--strict", status=1)
    assert "skipped: a.csv:3: must have 2 columns" in shell.err
    assert "files: 1 new, 1 skipped" in shell.out
    assert ids() == {"3"}
    shell("add", "i.serotine", "a.csv", "--strict", status=1)
    assert ids() == {"3"}


def test_ten_thousand_bad_rows_cost_no_memory(tmp_path: Path, index: Index) -> None:
    Path("a.jsonl").write_text('{"_id": "a", "text": "good"}\n' + "{\n" * 10_000)
    report = update(index, ["a.jsonl"])
    assert (report.added, report.skipped_rows.count, len(report.skipped_rows.first)) == (1, 10_000, 10)
    assert len(json.dumps(report.skipped_rows.to_json())) < 5_000


@pytest.mark.parametrize(
    "content",
    [
        "id;text;lang\n1;bats, late;en\n",
        "ID; Text ;lang\n1;bats, late;en\n",
        "sep=;\nid;text;lang\n1;bats, late;en\n",
        '"sep=|"\r\nid|TEXT|lang\r\n1|bats, late|en\r\n',
        "id\ttext\tlang\n1\tbats, late\ten\n",
        "\ufeffid|text|lang\n1|bats, late|en\n",
        '_id,text,lang\n1,"bats, late",en\n',
    ],
)
def test_dialects_of_csv(tmp_path: Path, content: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(content, encoding="utf-8", newline="")
    assert [(d.id, d.text, d.metadata) for d in read([file])] == [("1", "bats, late", {"lang": "en"})]


def test_only_the_rows_with_ids_of_another_file_are_skipped(index: Index) -> None:
    Path("a.csv").write_text("id,text\n1,bat\n2,owl\n")
    Path("b.csv").write_text("id,text\n2,fox\n3,emu\n")
    report = update(index, ["a.csv", "b.csv"])
    assert (report.added, report.files_added, report.skipped) == (3, 2, ())
    assert rows(report)[0][:2] == ("b.csv", 2)
    assert rows(report)[0][2].startswith("duplicate id '2', also in a.csv, which keeps it; ids must be unique: ")
    assert {hit.id: hit.text for hit in index.get(index.ids())} == {"1": "bat", "2": "owl", "3": "emu"}
    again = update(index, ["a.csv", "b.csv"])
    assert (again.added, again.files_unchanged, again.skipped_rows) == (0, 2, report.skipped_rows)
    # What is free later is indexed, although the file has not changed.
    Path("a.csv").write_text("id,text\n1,bat\n")
    update(index, ["a.csv"])
    later = update(index, ["a.csv", "b.csv"])
    assert (later.added, later.files_replaced, later.skipped_rows.count) == (1, 1, 0)
    assert index.get("2").text == "fox"
    strict = Ingest(["a.csv", "b.csv"], index.encoder, strict=True).plan()
    assert (len(strict.new), strict.skipped) == (2, ())


def test_rows_with_ids_that_the_index_has_from_elsewhere_are_skipped(index: Index) -> None:
    index.add(["2"], ["mine"])
    Path("b.csv").write_text("id,text\n2,fox\n3,emu\n")
    report = update(index, ["b.csv"])
    assert (report.added, report.skipped) == (1, ())
    assert rows(report)[0][2].startswith("id '2' is already in the index; pass Fields(prefix_ids=True), or ")
    assert index.get("2").text == "mine"
    plan = Ingest(["b.csv"], index.encoder, strict=True).plan(index)
    assert [skipped.file for skipped in plan.conflicts] == ["b.csv"]


@pytest.mark.parametrize("text", ["", "  ", "\u2003\n"])
def test_rows_with_an_empty_text_are_bad(index: Index, text: str) -> None:
    records = [{"id": "1", "text": text}, {"id": "2", "text": text, "title": "Bats"}, {"id": "3", "text": "owl"}]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, records)))
    Path("b.json").write_text(json.dumps([{**record, "id": f"b{record['id']}"} for record in records]))
    Path("c.csv").write_text(f'id,title,text\nc1,,"{text}"\nc2,Bats,"{text}"\nc3,,owl\n')
    Path("d.csv").write_text("sku,name,price\nx1,,\nx2,chair,3\n")
    report = update(index, ["a.jsonl", "b.json", "c.csv"])
    reason = "'text' is empty; give it a text, or remove the row"
    assert rows(report) == [("a.jsonl", 1, reason), ("b.json", 1, reason), ("c.csv", 2, reason)]
    assert sorted(index.ids()) == ["2", "3", "b2", "b3", "c2", "c3"]
    report = update(index, ["d.csv"], fields=Fields(id="sku", all_fields=True))
    assert rows(report) == [("d.csv", 2, "every field is empty; give it a text, or remove the row")]


def test_prefixed_ids_never_collide_and_are_remembered(index: Index) -> None:
    for name in ("a.csv", "b.csv"):
        Path(name).write_text(f"id,text\n1,{name}\n")
    report = update(index, ["a.csv", "b.csv"], fields=Fields(prefix_ids=True))
    assert (report.added, report.skipped_rows.count) == (2, 0)
    assert set(index.ids()) == {"a.csv:1", "b.csv:1"}
    assert update(index, ["a.csv", "b.csv"]).files_unchanged == 2


@pytest.mark.parametrize(
    ("sources", "kept"), [(["data"], "data/a.csv"), (["data/b/1.csv", "data/a.csv"], "data/b/1.csv")]
)
def test_the_first_file_by_command_and_path_keeps_an_id(index: Index, sources: list[str], kept: str) -> None:
    Path("data/b").mkdir(parents=True)
    # Neither by age nor in the order of the folder.
    for name in ("data/z.csv", "data/b/1.csv", "data/a.csv"):
        Path(name).write_text(f"id,text\n1,{name}\n2{name},other\n")
    report = update(index, sources)
    assert index["1"].text == kept
    assert all(f"also in {kept}, which keeps it; " in row[2] for row in rows(report))
    assert len(rows(report)) == report.files_added - 1


def test_two_files_with_the_same_ids_are_both_named(index: Index) -> None:
    for name in ("a.csv", "b.csv"):
        Path(name).write_text(f"id,text\nk1,{name}\n")
    report = update(index, ["a.csv", "b.csv"])
    assert (report.added, len(report.skipped)) == (1, 1)
    message = report.skipped[0].message
    assert message.startswith("b.csv:2: duplicate id 'k1', also in a.csv, which keeps it; ids must be unique: ")
    for name in ("c.csv", "d.csv"):
        Path(name).write_text(f"number,text\n1,{name}\n")
    assert update(index, ["c.csv", "d.csv"]).added == 2
    assert {"c.csv:2", "d.csv:2"} <= set(index.ids())


def numbered(name: str, numbers: range, *, wrong: bool = False) -> None:
    lines = [f"k{number},{name} {number}" for number in numbers]
    Path(name).write_text("\n".join(["id,text", *(["only one cell"] if wrong else []), *lines]) + "\n")


def test_ids_of_another_file_are_one_line_a_file(index: Index) -> None:
    numbered("a.csv", range(1, 9))
    numbered("b.csv", range(5, 25))
    numbered("c.csv", range(3, 30), wrong=True)
    report = update(index, ["a.csv", "b.csv", "c.csv"])
    unique = "ids must be unique: pass Fields(prefix_ids=True), or Fields(id=...) with another field"
    assert rows(report)[:2] == [
        ("b.csv", 2, f"4 rows have ids that are also in a.csv, which keeps them (the first: 'k5'); {unique}"),
        (
            "c.csv",
            3,
            f"22 rows have ids that are also in a.csv and 1 other file, which keep them (the first: 'k3'); {unique}",
        ),
    ]
    assert rows(report)[2][:2] == ("c.csv", 2)
    assert [row.collisions for row in report.skipped_rows.first] == [4, 22, 0]
    assert (report.skipped_rows.count, report.skipped_rows.files, report.added) == (27, 2, 29)
    # The same words for what an earlier run stored, whichever file is read first.
    again = update(index, ["c.csv", "b.csv", "a.csv"])
    assert {row[2] for row in rows(again)} == {row[2] for row in rows(report)}


def test_a_file_whose_ids_are_all_taken_names_the_other_in_every_run(index: Index) -> None:
    numbered("a.csv", range(10))
    numbered("b.csv", range(10))
    first = update(index, ["a.csv", "b.csv"])
    assert [skipped.reason for skipped in first.skipped] == [
        "line 2: 10 rows have ids that are also in a.csv, which keeps them (the first: 'k0'); "
        "ids must be unique: pass Fields(prefix_ids=True), or Fields(id=...) with another field"
    ]
    assert update(index, ["a.csv", "b.csv"]).skipped == first.skipped
    (alone,) = update(index, ["b.csv"]).skipped
    assert "10 rows have ids that are already in the index, from " in alone.reason
    assert alone.reason.endswith("or pass upsert=True to replace the documents")


def test_ids_that_are_taken_are_reported_first(shell: Shell) -> None:
    numbered("a.csv", range(10))
    numbered("y.csv", range(5, 25))
    numbered("z.csv", range(10))
    for number in range(20):
        Path(f"broken{number}.csv").write_text("name,price\nchair,3\n")
    files = [f"broken{number}.csv" for number in range(20)]
    shell("index", "a.csv", *files, "y.csv", "z.csv", "-o", "i")
    lines = shell.err.splitlines()
    assert lines[0].startswith(
        "warning: skipped rows: y.csv:2: 5 rows have ids that are also in a.csv, which keeps them (the first: 'k5')"
    )
    assert lines[1].startswith(
        "warning: skipped: z.csv:2: 10 rows have ids that are also in a.csv, which keeps them (the first: 'k0')"
    )
    assert len([line for line in lines if "broken" in line]) == 10


def test_bad_rows_are_named_in_the_order_of_their_lines(index: Index) -> None:
    lines = [f'{{"_id": "{number}", "text": "bat"}}' for number in range(20)]
    # Found after the lines that are not JSON, which come later.
    lines[5] = lines[3]
    Path("b.jsonl").write_text("\n".join([*lines, *(["{"] * 12)]))
    Path("a.jsonl").write_text("{\n" + '{"_id": "x", "text": "owl"}')
    report = update(index, ["a.jsonl", "b.jsonl"])
    assert [row[:2] for row in rows(report)] == [
        ("a.jsonl", 1),
        ("b.jsonl", 6),
        *(("b.jsonl", 21 + i) for i in range(8)),
    ]


def test_ids_that_number_the_rows_of_several_files_get_the_file_as_prefix(index: Index) -> None:
    def write(name: str, first: str) -> None:
        Path(name).write_text(f"id,text\n1,{first}\n2,{name} two\n")

    for name in ("a.csv", "b.csv"):
        write(name, f"{name} one")
    Path("c.jsonl").write_text('{"id": 1, "text": "c one"}\n{"id": 2, "text": "c two"}\n')
    report = update(index, ["a.csv", "b.csv", "c.jsonl"])
    assert (report.added, report.skipped, report.skipped_rows.count) == (6, (), 0)
    assert sorted(index) == ["1", "2", "b.csv:1", "b.csv:2", "c.jsonl:1", "c.jsonl:2"]
    assert [row.message for row in report.problems.first] == [
        f"{name}:{line}: its ids number its rows, as those of a.csv do, and are stored as {name}:1; "
        "Fields(id=...) names another field"
        for name, line in (("b.csv", 2), ("c.jsonl", 1))
    ]
    # They stay so, whatever becomes of the first file; it is said until they change.
    again = update(index, ["a.csv", "b.csv", "c.jsonl"])
    assert (again.files_unchanged, again.problems) == (3, report.problems)
    Path("a.csv").unlink()
    write("b.csv", "changed")
    assert update(index, ["b.csv"], fields=Fields(text="text")).added == 1
    assert index["b.csv:1"].text == "changed"
    # Another file of the type whose ids are free keeps them, and so does one that names its id.
    Path("d.csv").write_text("id,text\n7,seven\n")
    update(index, ["d.csv"])
    assert "7" in index
    # Ids of other kinds, or of a copy, of which few are taken, or which were named, are those of documents.
    Path("e.csv").write_text(Path("d.csv").read_text())
    Path("f.csv").write_text("id,text\n7,other\n8,eight\n9,nine\n")
    assert [update(index, [name]).problems.count for name in ("e.csv", "f.csv")] == [0, 0]
    Path("g.csv").write_text("id,text\n7,other\n")
    assert len(update(index, ["g.csv"], fields=Fields(id="id")).skipped) == 1
    assert len(update(index, ["g.csv"], strict=True).skipped) == 1
    assert update(index, ["g.csv"]).added == 1
    assert "g.csv:7" in index


@pytest.mark.parametrize("numbers", [(1, 2, 3), (0, 1, 2, 3), (7, 1, 3)], ids=str)
def test_ids_that_number_the_rows_may_begin_at_another_number_than_those_of_another_file(
    index: Index, numbers: tuple[int, ...]
) -> None:
    Path("a.csv").write_text("id,text\n0,owl\n1,swift\n")
    Path("b.csv").write_text("".join(["id,text\n", *(f"{number},tree {number}\n" for number in numbers)]))
    report = update(index, ["a.csv", "b.csv"])
    assert (report.added, report.skipped_rows.count) == (2 + len(numbers), 0)
    assert sorted(index) == sorted(["0", "1", *(f"b.csv:{number}" for number in numbers)])
    assert report.problems.count == 1


def test_a_copy_of_a_table_is_called_one(index: Index) -> None:
    for name in ("a.csv", "b.csv"):
        Path(name).write_text("id,text\n1,owl\n2,swift\n")
    for _ in range(2):
        (skipped,) = update(index, ["a.csv", "b.csv"]).skipped
        assert skipped.message.startswith("b.csv:2: 2 rows have ids that are also in a.csv, which keeps them")
        assert skipped.message.endswith("(a copy of a.csv)")
    assert sorted(index) == ["1", "2"]


def test_ids_that_number_the_rows_are_reported_once(shell: Shell) -> None:
    for name in ("a.csv", "b.csv"):
        Path(name).write_text(f"id,text\n1,{name}\n")
    command = ("index", "a.csv", "b.csv", "-o", "i")
    shell(*command)
    assert shell.err.count("its ids number its rows") == 1
    problems = shell.json(*command)["problems"]
    assert (problems["count"], shell.err) == (1, "")


def test_a_row_that_is_bad_now_is_removed_with_its_document(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    content = '{"_id": 1, "text": "bat"}\n{"_id": 2, "text": "owl", "note": "%s"}\n'
    Path("a.jsonl").write_text(content % ("x" * 1000))
    update(index, ["a.jsonl"])
    # As by an older version, which had no limit.
    monkeypatch.setattr(ingest_metadata, "_MAX_CHARACTERS", 500)
    assert update(index, ["a.jsonl"]).removed == 0, "a file that is unchanged is not read"
    Path("a.jsonl").write_text(content % ("x" * 1000) + '{"_id": 3, "text": "fox"}\n')
    report = update(index, ["a.jsonl"])
    assert (report.added, report.removed, index.ids()) == (1, 1, ["1", "3"])
    ((_, line, reason),) = rows(report)
    assert line == 2
    assert reason.endswith("the longest field is 'note': make it a part of the text, or leave it out")
