"""How texts were cut: kept by later runs over the same files, and by new files, until a run says otherwise."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.fakes import WordEncoder
from test_cli import Shell, shell

from serotine import Index
from serotine.index import SourceRecord
from serotine.ingest import (
    Chunking,
    Ingest,
    IngestReport,
    SourceFile,
    file_chunkings,
    previous_chunking,
    recorded_chunking,
    update,
)

__all__ = ["shell"]  # the fixture

LONG = "Bats hunt late in the evening above the river. " * 12
FIRST, SECOND = Chunking(32, 4), Chunking(16, 2)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    monkeypatch.chdir(tmp_path)
    for name in ("small", "notes"):
        (tmp_path / name).mkdir()
        for file in "ab":
            (tmp_path / name / f"{file}.txt").write_text(LONG)
    with Index.create(tmp_path / "i", encoder=WordEncoder()) as created:
        yield created


def counts(report: IngestReport) -> tuple[int, int, int]:
    """Return the numbers of new, changed and unchanged files."""
    return report.files_added, report.files_replaced, report.files_unchanged


def cut(index: Index, name: str) -> str:
    """Return how the file of this name was cut."""
    return next(record.splitting for key, record in index.sources.all().items() if key.endswith(name))


@pytest.fixture
def cut_otherwise(index: Index) -> Index:
    """An index of two folders, the first of which was cut otherwise later."""
    update(index, ["small"], chunking=FIRST)
    update(index, ["notes"])
    assert cut(index, "notes/a.txt") == str(FIRST)
    assert counts(update(index, ["small"], chunking=SECOND)) == (0, 2, 0)
    return index


def test_a_run_keeps_how_its_files_were_cut(cut_otherwise: Index) -> None:
    index = cut_otherwise
    for _ in range(2):
        assert counts(update(index, ["small"])) == (0, 0, 2)
        assert counts(update(index, ["notes"])) == (0, 0, 2)
    Path("notes/c.txt").write_text(LONG)
    assert counts(update(index, ["notes"])) == (1, 0, 2)
    assert cut(index, "notes/c.txt") == str(FIRST)
    # A run without options says nothing about others.
    assert recorded_chunking(index) == SECOND


def test_every_source_of_a_run_keeps_how_its_files_were_cut(cut_otherwise: Index) -> None:
    index = cut_otherwise
    (Path("small") / "deep").mkdir()
    for name in ("small/c.txt", "small/deep/d.txt", "notes/c.txt", "e.txt"):
        Path(name).write_text(LONG)
    report = update(index, ["notes", "small", "small/deep", "e.txt"])
    assert counts(report) == (4, 0, 4)
    names = ("notes/c.txt", "small/c.txt", "small/deep/d.txt", "e.txt")
    assert [cut(index, name) for name in names] == [str(FIRST), str(SECOND), str(SECOND), str(SECOND)]
    plan = Ingest(["notes", "small"], WordEncoder()).plan(index)
    assert (plan.to_store, len(plan.unchanged)) == (0, 7)
    rows = [json.dumps({"_id": name, "text": LONG}) for name in ("x", "y")]
    Path("notes/rows.jsonl").write_text("\n".join(rows))
    update(index, ["small", "notes"])
    ends = [index[id_].metadata["end"] for id_ in ("x#1", "notes/a.txt#1", "small/a.txt#1")]
    assert ends[0] == ends[1] > ends[2]
    # Options cut all of them.
    assert counts(update(index, ["small", "notes"], chunking=Chunking(64, 0))) == (0, 8, 0)
    index.verify()


def test_new_files_are_cut_as_the_last_run_said(cut_otherwise: Index, tmp_path: Path) -> None:
    index = cut_otherwise
    for name in ("more", "upload"):
        (tmp_path / name).write_text(LONG)
    update(index, [SourceFile.named(tmp_path / "upload", "upload.txt")])
    assert cut(index, "upload.txt") == str(SECOND)
    # Also where it found nothing to do, and where its files are gone.
    assert counts(update(index, ["notes"], chunking=FIRST)) == (0, 0, 2)
    index.delete(index.ids())
    update(index, [SourceFile.named(tmp_path / "more", "more.txt")])
    assert cut(index, "more.txt") == str(FIRST)
    assert previous_chunking(index, WordEncoder(), [SourceFile.named("other", "upload.txt")]) == SECOND
    index.verify()


def test_a_plan_says_nothing(cut_otherwise: Index) -> None:
    Ingest(["small"], WordEncoder(), chunking=FIRST).plan(cut_otherwise)
    assert recorded_chunking(cut_otherwise) == SECOND


def test_an_interrupted_run_is_continued(cut_otherwise: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index = cut_otherwise
    whole = Chunking(None)
    for file in ("c", "d", "e"):
        Path(f"small/{file}.txt").write_text(LONG)
    update(index, ["small"])

    def stop(done: int, _: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("serotine.ingest.commits._FIRST_COMMIT_BYTES", 1)
    with pytest.raises(KeyboardInterrupt):
        update(index, ["small"], chunking=whole, on_progress=stop)
    # Most of its files are still as they were.
    assert sum(cut(index, f"small/{file}.txt") == "whole" for file in "abcde") == 1
    assert counts(update(index, ["small"])) == (0, 4, 1)


def test_indexes_of_earlier_versions_and_new_ones(index: Index) -> None:
    assert recorded_chunking(index) is None
    assert previous_chunking(index, WordEncoder(), ["small"]) == Chunking(256, 32)
    update(index, ["small"])
    assert index.sources.splitting() is None
    assert recorded_chunking(index) == Chunking(256, 32)


def test_info_names_the_files_that_are_cut_otherwise(shell: Shell, tmp_path: Path) -> None:
    for name in ("small", "notes"):
        (tmp_path / f"{name}.txt").write_text(LONG)
    shell("index", "small.txt", "-o", "i.serotine", "--chunk-tokens", "32")
    shell("add", "i.serotine", "notes.txt")
    # One option changes nothing else.
    shell("index", "small.txt", "-o", "i.serotine", "--overlap", "7")
    output = shell("info", "i.serotine")
    assert "  Texts     cut into passages of at most 32 tokens, about 7 of them shared" in output
    assert "            1 file otherwise: cut into passages of at most 32 tokens, about 4 of them shared" in output
    values = shell.json("info", "i.serotine")
    assert values["other_chunkings"] == [{"files": 1, "tokens": 32, "overlap": 4, "late": False}]
    assert "1 unchanged" in shell("index", "small.txt", "-o", "i.serotine")


def test_as_many_sources_as_files_take_linear_time() -> None:
    names = [f"/notes/{i}.txt" for i in range(20_000)]
    records = {name: SourceRecord(name, "", "", str(FIRST)) for name in names}
    index = SimpleNamespace(sources=SimpleNamespace(all=lambda: records))
    started = time.process_time()
    assert file_chunkings(index, names) == {FIRST: 20_000}  # type: ignore[arg-type]
    assert file_chunkings(index, ["/notes"]) == {FIRST: 20_000}  # type: ignore[arg-type]
    assert file_chunkings(index, ["/note", SourceFile.named("x", names[0])]) == {FIRST: 1}  # type: ignore[arg-type]
    assert time.process_time() - started < 5
