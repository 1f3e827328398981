"""Ids that move between the files of one update: they are free as soon as their file no longer has them."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder
from test_crash import content

from serotine import Index
from serotine.index.store import sql
from serotine.ingest import Fields, FileSelection, Ingest, IngestReport, commits, update


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    with Index.create(tmp_path / "i", encoder=WordEncoder()) as created:
        yield created


def write(**files: dict[str, str]) -> None:
    Path("m").mkdir(exist_ok=True)
    for name, rows in files.items():
        lines = [f"{id_},{text}\n" for id_, text in rows.items()]
        Path("m", f"{name}.csv").write_text("".join(["id,text\n", *lines]))


def run(index: Index, **named: Any) -> IngestReport:
    report = update(index, ["m"], **named)
    index.verify()
    return report


def texts(index: Index) -> dict[str, str | None]:
    return {hit.id: hit.text for hit in index.get(index.ids())}


def require_complete(index: Index, *files: dict[str, str]) -> None:
    """Check that the index has the rows of the files, and that the next run has nothing to do."""
    expected = {id_: text for rows in files for id_, text in rows.items()}
    assert texts(index) == expected
    again = run(index)
    assert (again.files_unchanged, again.added, again.removed, again.skipped_rows.count) == (len(files), 0, 0, 0)
    assert texts(index) == expected


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_a_row_that_moves_to_another_file_of_the_run_stays(index: Index, first: str, second: str) -> None:
    write(**{first: {"1": "bat", "2": "owl"}, second: {"3": "fox"}})
    run(index)
    rows = {"1": "bat"}, {"3": "fox", "2": "owl"}
    write(**dict(zip((first, second), rows, strict=True)))
    report = run(index)
    assert (report.files_replaced, report.unchanged, report.removed, report.skipped_rows.count) == (2, 3, 0, 0)
    require_complete(index, *rows)


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_an_id_that_its_file_gave_up_is_free_in_the_same_run(index: Index, first: str, second: str) -> None:
    write(**{first: {"1": "bat", "2": "owl"}, second: {"3": "fox"}})
    run(index)
    rows = {"7": "bat", "2": "owl"}, {"3": "fox", "1": "emu"}
    write(**dict(zip((first, second), rows, strict=True)))
    assert run(index).skipped_rows.count == 0
    require_complete(index, *rows)


def test_files_that_exchange_ids_are_updated_in_one_run(index: Index) -> None:
    write(a={"1": "bat"}, b={"2": "owl"}, c={"3": "fox"})
    run(index)
    rows = {"2": "bat"}, {"3": "owl"}, {"1": "fox"}
    write(**dict(zip("abc", rows, strict=True)))
    plan = Ingest(["m"], index.encoder).plan(index)
    assert (plan.skipped, plan.to_store) == ((), 3)
    report = run(index)
    assert (report.files_replaced, report.skipped, report.removed) == (3, (), 0)
    require_complete(index, *rows)


def test_an_id_that_its_file_still_has_stays_with_it(index: Index) -> None:
    write(a={"9": "hen"}, b={"1": "bat", "2": "owl"})
    run(index)
    write(a={"9": "hen", "1": "emu"}, b={"1": "bat changed"})
    (row,) = run(index).skipped_rows.first
    assert row.message.startswith("m/a.csv:3: duplicate id '1', also in m/b.csv, which keeps it")
    assert texts(index) == {"9": "hen", "1": "bat changed"}
    # A file that cannot be read keeps its documents.
    Path("m/b.csv").write_bytes(b"\0\0\0")
    assert run(index).skipped_rows.count == 1
    assert texts(index) == {"9": "hen", "1": "bat changed"}


def test_a_file_that_is_left_out_from_now_on_frees_its_ids(index: Index) -> None:
    write(a={"9": "hen"}, b={"1": "bat"})
    run(index)
    write(a={"9": "hen", "1": "emu"})
    report = run(index, selection=FileSelection(exclude=["b.csv"]))
    assert (report.files_removed, report.skipped_rows.count) == (1, 0)
    assert texts(index) == {"9": "hen", "1": "emu"}


def test_a_record_that_is_cut_keeps_its_id(index: Index) -> None:
    long = "bats fly late " * 200
    write(a={"9": "hen"}, b={"1": long, "2": "owl"})
    run(index)
    assert "1#2" in index.ids()
    write(a={"9": "hen", "1": "emu"}, b={"1": "short", "2": "owl"})
    assert run(index).skipped_rows.count == 1
    assert texts(index) == {"9": "hen", "1": "short", "2": "owl"}
    rows = {"9": "hen", "1": "emu"}, {"3": "short", "2": "owl"}
    write(**dict(zip("ab", rows, strict=True)))
    run(index)
    require_complete(index, *rows)


def write_table(name: str, rows: list[tuple[str, str]]) -> None:
    objects = [{"id": id_, "text": text} for id_, text in rows]
    if name.endswith(".json"):
        Path(name).write_text(json.dumps(objects))
    elif name.endswith(".jsonl"):
        Path(name).write_text("\n".join(map(json.dumps, objects)))
    elif name.endswith(".parquet"):
        table = pytest.importorskip("pyarrow").Table.from_pylist(objects)
        pytest.importorskip("pyarrow.parquet").write_table(table, name)
    elif name.endswith(".xlsx"):
        book = pytest.importorskip("openpyxl").Workbook()
        for row in [("id", "text"), *rows]:
            book.active.append(row)
        book.save(name)
    else:
        delimiter = "\t" if name.endswith(".tsv") else ","
        Path(name).write_text("".join(f"{delimiter.join(row)}\n" for row in [("id", "text"), *rows]))


@pytest.mark.parametrize("upsert", [False, True])
@pytest.mark.parametrize("text", ["bat", "bats fly late " * 400], ids=["short", "long"])
@pytest.mark.parametrize("type_", ["json", "jsonl", "csv", "tsv", "parquet", "xlsx"])
def test_repeated_ids_are_reported_alike_in_every_run(index: Index, type_: str, text: str, upsert: bool) -> None:
    """Within a file, among files, and both; once the first run has stored them, the second finds them in the index."""
    names = [f"{name}.{type_}" for name in ("a", "b")]
    write_table(names[0], [("1", text), ("2", "owl"), ("1", "emu")])
    write_table(names[1], [("1", "gnu"), ("3", "fox"), ("1", text), ("3", text), ("2", "owl")])
    fields = Fields(id="id", text="text")
    first = update(index, names, fields=fields, upsert=upsert)
    stored = texts(index)
    assert (first.skipped_rows.count, first.skipped_rows.files) == (5, 2)
    assert {id_.partition("#")[0] for id_ in stored} == {"1", "2", "3"}
    for _ in range(2):
        again = update(index, names, fields=fields, upsert=upsert)
        assert (again.skipped_rows, again.skipped) == (first.skipped_rows, ())
        assert (again.files_unchanged, again.added, again.removed) == (2, 0, 0)
        assert texts(index) == stored


@pytest.mark.filterwarnings("ignore::serotine.errors.UnfinishedUpdateWarning")
@pytest.mark.parametrize("size", [1, 12])
def test_killed_at_any_commit_no_row_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.chdir(tmp_path)
    # So small that the files are staged in several commits.
    monkeypatch.setattr(commits, "_FIRST_COMMIT", 2)
    monkeypatch.setattr(commits, "_MAX_COMMIT", 2)
    owned = [{f"{file}{n}": f"{file} text {n}" for n in range(size)} for file in "abc"]
    write(**dict(zip("abc", owned, strict=True)))
    with Index.create("original", encoder=WordEncoder()) as index:
        run(index)
    before = content(tmp_path / "original")
    # Every file takes the ids of the next one; a new file takes some rows of the first.
    rows = [dict(zip(owned[(i + 1) % 3], owned[i].values(), strict=True)) for i in range(3)]
    rows.append({"new": "a new row"})
    write(**dict(zip("abcd", rows, strict=True)))
    after = {id_: text for file in rows for id_, text in file.items()}
    commit = sql.commit
    for kill_at in itertools.count():
        path = tmp_path / f"killed-{kill_at}"
        shutil.copytree("original", path)
        child = os.fork()
        if child == 0:
            counter = itertools.count()

            def killing(connection: Any, counter: Any = counter, kill_at: int = kill_at) -> None:
                if next(counter) == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                commit(connection)

            monkeypatch.setattr(sql, "commit", killing)
            with Index.open(path, encoder=WordEncoder()) as opened:
                update(opened, ["m"])
            os._exit(0)
        _, status = os.waitpid(child, 0)
        state = content(path)
        assert {id_ for file in owned for id_ in file} <= set(state)
        # The files exchange their rows in one step.
        assert {id_: text for id_, text in state.items() if id_ != "new"} in (
            before,
            {id_: text for id_, text in after.items() if id_ != "new"},
        )
        with Index.open(path, encoder=WordEncoder()) as opened:
            run(opened)
            require_complete(opened, *rows)
        if status == 0:
            break
    assert kill_at >= (2 if size == 1 else 6)


def test_a_row_with_an_endless_id_is_skipped(index: Index) -> None:
    write(a={"1": "bat", "x" * 70_000: "owl", "y" * 60_000: "fox"})
    report = run(index)
    assert (report.added, report.skipped_rows.count) == (2, 1)
    assert "'id' must be at most 65,536 bytes with the name of its file, got 70,000 characters" in str(report.to_json())


@pytest.mark.parametrize("id_", ["x" * 65_537, "\u00e4" * 40_000])
def test_an_endless_id_is_refused(index: Index, id_: str) -> None:
    with pytest.raises(ValueError, match=r"ids\[1\]: must be at most 65,536 bytes of UTF-8, got .*; store"):
        index.add(ids=["a", id_], texts=["bat", "owl"])
    index.add(ids=["x" * 65_536], texts=["bat"])
    assert len(index) == 1
