"""Disks that are not mounted: no other file takes the ids of their documents, and mounted again, nothing is missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder

from serotine import Index
from serotine.ingest import IngestReport, SourceFile, update

OWL, SWIFT = "owls hunt mice", "swifts eat midges"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    Path("m/disk").mkdir(parents=True)
    Path("m/other").mkdir()
    Path("m/other/n.txt").write_text("foxes dig")
    table("m/disk/list.csv", {"1": OWL, "2": SWIFT})
    with Index.create("i", encoder=WordEncoder()) as created:
        yield created


def table(name: str, rows: dict[str, str]) -> None:
    Path(name).write_text("".join(["id,text\n", *(f"{id_},{text}\n" for id_, text in rows.items())]))


def run(index: Index, *sources: str | SourceFile, **options: Any) -> IngestReport:
    report = update(index, sources or ["m"], **options)
    index.verify()
    return report


def unmount() -> None:
    Path("m/disk").rename("away")
    Path("m/disk").mkdir()


def mount() -> None:
    shutil.rmtree("m/disk", ignore_errors=True)
    Path("away").rename("m/disk")


def texts(index: Index) -> dict[str, str | None]:
    return {hit.id: hit.text for hit in index.get(index.ids()) if not hit.id.endswith(".txt")}


def test_a_table_that_numbers_its_rows_takes_no_id_of_a_disk_that_is_not_mounted(index: Index) -> None:
    run(index)
    unmount()
    table("m/other/list.csv", {"1": "carp", "2": "pike", "4": "trout"})
    report = run(index)
    assert (report.added, report.replaced, report.skipped_rows.count) == (3, 0, 0)
    expected: dict[str, str | None] = {"1": OWL, "2": SWIFT}
    new = {"1": "carp", "2": "pike", "4": "trout"}
    assert texts(index) == expected | {f"m/other/list.csv:{id_}": text for id_, text in new.items()}
    # Nor does it under another name.
    Path("m/other/list.csv").rename("m/other/renamed.csv")
    report = run(index)
    assert (report.files_added, report.removed, report.skipped_rows.count) == (1, 3, 0)
    expected |= {f"m/other/renamed.csv:{id_}": text for id_, text in new.items()}
    assert texts(index) == expected
    mount()
    report = run(index)
    assert (report.files_unchanged, report.added, report.skipped) == (3, 0, ())
    assert texts(index) == expected


@pytest.mark.parametrize("is_empty", [False, True], ids=["gone", "empty"])
def test_ids_of_a_source_that_is_not_mounted_stay(index: Index, is_empty: bool) -> None:
    sources = ("m/disk", "m/other")
    run(index, *sources)
    unmount()
    if not is_empty:
        Path("m/disk").rmdir()
    table("m/other/list.csv", {"1": "carp", "2": "pike"})
    run(index, *sources)
    expected = {"1": OWL, "2": SWIFT, "m/other/list.csv:1": "carp", "m/other/list.csv:2": "pike"}
    assert texts(index) == expected
    mount()
    assert run(index, *sources).files_unchanged == 3
    assert texts(index) == expected


def test_ids_of_a_disk_that_is_not_mounted_stay_where_other_files_are_updated(index: Index) -> None:
    run(index)
    unmount()
    table("m/other/list.csv", {"1": "carp", "2": "pike"})
    table("named.csv", {"1": "roach", "2": "perch"})
    run(index, "m/other/list.csv")
    run(index, SourceFile.named("named.csv", "upload.csv"))
    expected = {"1": OWL, "2": SWIFT, "m/other/list.csv:1": "carp", "m/other/list.csv:2": "pike"}
    assert texts(index) == expected | {"upload.csv:1": "roach", "upload.csv:2": "perch"}


def test_ids_that_are_no_row_numbers_are_reported(index: Index) -> None:
    table("m/disk/list.csv", {"owl": OWL, "swift": SWIFT})
    run(index)
    unmount()
    table("m/other/list.csv", {"owl": "carp", "pike": "pike"})
    (row,) = run(index).skipped_rows.first
    assert row.reason.startswith("id 'owl' is already in the index, from ")
    assert texts(index) == {"owl": OWL, "swift": SWIFT, "pike": "pike"}
    # Confirmed, the ids are free.
    run(index, allow_empty=True)
    assert texts(index) == {"owl": "carp", "pike": "pike"}


@pytest.mark.parametrize("text", ["carp", "bats fly late " * 400], ids=["short", "long"])
def test_a_file_whose_documents_were_replaced_is_read_again(index: Index, text: str) -> None:
    run(index)
    unmount()
    table("m/other/list.csv", {"1": text, "2": SWIFT})
    assert run(index, upsert=True).skipped_rows.count == 0
    assert OWL not in texts(index).values()
    mount()
    Path("m/other/list.csv").unlink()
    report = run(index)
    assert (report.added, report.skipped, report.skipped_rows.count) == (1, (), 0)
    assert texts(index) == {"1": OWL, "2": SWIFT}
    assert run(index).files_unchanged == 2


def test_ids_of_a_folder_that_is_gone_stay_where_another_is_updated(index: Index) -> None:
    run(index, "m/disk")
    Path("m/disk").rename("away")
    table("m/other/list.csv", {"1": "carp", "2": "pike"})
    assert run(index, "m/other/list.csv").replaced == 0
    assert texts(index) == {"1": OWL, "2": SWIFT, "m/other/list.csv:1": "carp", "m/other/list.csv:2": "pike"}


def test_a_table_that_was_moved_and_changed_keeps_its_ids(index: Index) -> None:
    table("m/disk/list.csv", {"1": OWL, "2": SWIFT, "3": "carp"})
    run(index, "m/disk")
    Path("m/disk").rename("m/moved")
    table("m/moved/list.csv", {"1": OWL, "2": SWIFT, "3": "carp changed"})
    (row,) = run(index, "m/moved").skipped_rows.first
    assert row.reason.startswith("id '3' is already in the index, from ")
    assert run(index, "m/moved", upsert=True).replaced == 1
    assert texts(index) == {"1": OWL, "2": SWIFT, "3": "carp changed"}


@pytest.mark.parametrize("root", ["m", "m2"], ids=["table", "folder"])
def test_a_renamed_table_with_row_numbers_is_prefixed_in_the_same_run(index: Index, root: str) -> None:
    table("m/other/list.csv", {"1": "carp", "2": "pike"})
    run(index)
    if root == "m":
        Path("m/other").rename("m/also")
    else:
        # Read first from now on.
        Path("m/other").rename("m/a")
        Path("m").rename(root)
    report = run(index, root)
    assert (report.skipped, report.skipped_rows.count, report.replaced) == ((), 0, 0)
    stored = texts(index)
    assert {"1": OWL, "2": SWIFT}.items() <= stored.items()
    folder = "m/also" if root == "m" else "m2/a"
    assert {f"{folder}/list.csv:1": "carp", f"{folder}/list.csv:2": "pike"}.items() <= stored.items()
    assert run(index, root).files_unchanged == 3


def test_documents_behind_a_link_to_a_folder_that_is_gone_stay_until_that_is_confirmed(index: Index) -> None:
    Path("m/disk").rename("away")
    Path("m/disk").symlink_to(Path("away").absolute())
    run(index)
    Path("away").rename("unmounted")
    report = run(index)
    assert [skipped.message.partition("; ")[0] for skipped in report.skipped] == [
        "m/disk: a link to a folder that does not exist now"
    ]
    assert (report.removed, texts(index)) == (0, {"1": OWL, "2": SWIFT})
    assert run(index, allow_empty=True).removed == 2
