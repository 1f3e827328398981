"""The report of an update says the same on the terminal and in JSON: every count that one has, the other has."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder
from test_cli import Shell, shell

from serotine import Index
from serotine.cli import ingestion
from serotine.cli.index import _ingest_result, _report
from serotine.coverage import CoverageReport
from serotine.ingest import Ignored, IngestReport, Plan, Skipped, SkippedRow, SkippedRows
from serotine.ingest.leftovers import Leftovers

__all__ = ["shell"]  # the fixture

# Scripts are named on the terminal, without their counts.
_JSON_ONLY = {"unknown_scripts"}


class ReportedIngest:
    """An update with a given plan and report."""

    restores_deleted = False

    def __init__(self, plan: Plan, report: IngestReport) -> None:
        self._plan = plan
        self._report = report

    def plan(self, *_: Any, **__: Any) -> Plan:
        return self._plan

    def apply(self, *_: Any, **__: Any) -> IngestReport:
        return self._report


def numbered_report() -> IngestReport:
    """Return a report with another number, from 101 on, in each of its counts."""
    numbers = count(101, 2)
    collisions = next(numbers)
    taken = SkippedRow("a.csv", next(numbers), f"{collisions} rows have ids that are taken", collisions)
    bad = SkippedRow("a.csv", next(numbers), "bad")
    of_folders: dict[str, Any] = {name: {"kind": next(numbers)} for name in ("suffixes", "folders", "generated")}
    of_folders |= {field.name: next(numbers) for field in dataclasses.fields(Ignored) if field.type == "int"}
    coverage = CoverageReport()
    # The numbers of the texts and of tokens are no counts of the report.
    coverage.texts, coverage.limit, coverage.first_tokens = 90, 91, 92
    coverage.truncated, coverage.unknown, coverage.scripts = next(numbers), next(numbers), Counter(Thai=93)
    of_fields: dict[str, Any] = {
        "skipped": (Skipped("broken.txt", "broken.txt: broken"),),
        "skipped_rows": SkippedRows(collisions + 1, next(numbers), (taken, bad)),
        "unread": {"pages without text": next(numbers)},
        "ignored": Ignored(**of_folders),
        "coverage": coverage,
        "deleted": {"b.txt": next(numbers)},
        "problems": SkippedRows(next(numbers), next(numbers), (SkippedRow("c.txt", next(numbers), "misread"),)),
        "moved": {"/d.txt": "/e.txt"},
        "restored": {"f.txt": next(numbers)},
        "copied": {"/old/g.txt": next(numbers)},
    }
    of_fields |= {
        field.name: next(numbers) for field in dataclasses.fields(IngestReport) if field.name not in of_fields
    }
    return IngestReport(**of_fields)


def numbers_in(value: Any, *, without: set[str]) -> set[int]:
    if isinstance(value, dict):
        return {n for key, item in value.items() if key not in without for n in numbers_in(item, without=without)}
    if isinstance(value, list):
        return {n for item in value for n in numbers_in(item, without=without)}
    return {value} if type(value) is int else set()


def test_every_count_is_on_the_terminal_and_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = numbered_report()
    plan = Plan(
        (), ("h.txt",), (), (), (), 0, 0, 0, 0,
        report.skipped_rows,
        unread=report.unread,
        ignored=report.ignored,
        deleted=report.deleted,
        problems=report.problems,
        moved=report.moved,
        restored=report.restored,
        copied=Leftovers(report.copied, "serotine delete"),
    )  # fmt: skip
    ingest: Any = ReportedIngest(plan, report)
    with Index.create(tmp_path / "i", encoder=WordEncoder()) as index:
        ingestion.plan_files(ingest, index)
        result = _ingest_result(index, ingestion.apply_plan(ingest, plan, index))
    _report(Path("i"), result, 0.0, str(tmp_path / "report.json"))
    output = capsys.readouterr()
    printed = {int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", output.out + output.err)}
    in_json = numbers_in(json.loads((tmp_path / "report.json").read_text()), without=_JSON_ONLY)
    unlisted = report.problems.count - len(report.problems.first)
    assert {number for number in in_json if number > 100} == {number for number in printed - {unlisted} if number > 100}
    assert len(in_json) > 30


def test_a_dry_run_reports_what_a_plan_knows_of_the_report(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Bats fly late.")
    report = shell.json("index", "a.txt", "-o", "i.serotine", "--dry-run")
    known, reported = ({field.name for field in dataclasses.fields(class_)} for class_ in (Plan, IngestReport))
    # Of a plan, these are files.
    assert known & reported - {"unchanged"} <= set(report)
    assert {name for name in report if name in IngestReport.total([]).to_json()} > known & reported - {"unchanged"}
