"""Long records of a file are cut into passages, and updates leave no stale passage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import ShortEncoder

from serotine import Index
from serotine.errors import TruncatedTextWarning, UnknownTextWarning
from serotine.ingest import Chunking, IngestReport, update

LONG = " ".join(f"word{i}" for i in range(60)) + " zebra"
CHUNKING = Chunking(20, 0)
CUT = ["a#1", "a#2", "a#3", "a#4"]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "index", encoder=ShortEncoder()) as opened:
        yield opened


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def run(index: Index, *files: Path, upsert: bool = False, chunking: Chunking = CHUNKING) -> IngestReport:
    return update(index, list(files), chunking=chunking, upsert=upsert)


def test_a_long_record_becomes_passages_with_its_id_and_offsets(index: Index, tmp_path: Path) -> None:
    long = {"id": "a", "text": LONG, "lang": "en", "end": "note"}
    file = write(tmp_path / "r.jsonl", long, {"id": "b", "text": "bats"})
    report = run(index, file)
    assert (report.added, report.cut_records, report.coverage.truncated) == (5, 1, 0)
    assert index.ids() == [*CUT, "b"]
    for hit in index.get(CUT):
        assert hit.text == LONG[hit.metadata["start"] : hit.metadata["end"]]
        assert hit.metadata["document"] == "a"
        assert hit.metadata["lang"] == "en"
        assert hit.metadata["document_end"] == "note"
    assert index.search("zebra", k=1)[0].id == "a#4"
    assert run(index, file).files_unchanged == 1


def test_a_csv_row_is_cut_too(index: Index, tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text(f"id,text\na,{LONG}\n")
    run(index, file)
    assert index.ids() == CUT


def test_a_record_that_changes_its_length_leaves_no_passage_behind(index: Index, tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", {"id": "a", "text": LONG}, {"id": "b", "text": "bats"})
    run(index, file)
    for text, ids in [(" ".join(LONG.split()[:30]), ["a#1", "a#2"]), ("short", ["a"]), (LONG, CUT)]:
        write(file, {"id": "a", "text": text}, {"id": "b", "text": "bats"})
        run(index, file)
        assert sorted(index.ids()) == [*ids, "b"]
    index.verify()


def test_no_chunk_stores_records_whole_and_counts_what_is_truncated(index: Index, tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", {"id": "a", "text": LONG}, {"id": "b", "text": "bats"})
    with pytest.warns(TruncatedTextWarning, match=r"documents: 1 of 2 longer than .* the first is 'a' with 61"):
        report = run(index, file, chunking=Chunking(None))
    assert (report.cut_records, report.coverage.truncated) == (0, 1)
    assert index.stats().truncated == 1
    run(index, file)
    assert sorted(index.ids()) == [*CUT, "b"]
    assert index.stats().truncated == 0


def test_records_outside_the_vocabulary_warn_once_a_run(index: Index, tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", {"id": "a", "text": "qqq qqq"}, {"id": "b", "text": "bats"})
    with pytest.warns(UnknownTextWarning, match=r"^documents: 1 of 2 more than 20% .*\(Latin\), the first") as caught:
        report = run(index, file)
    assert len(caught) == 1
    assert report.coverage.unknown == 1
    assert (index.stats().unknown, index.stats().unknown_scripts) == (1, {"Latin": 1})


def test_the_same_record_from_elsewhere_is_a_conflict_and_upsert_replaces_all_of_it(
    index: Index, tmp_path: Path
) -> None:
    index.add(ids=["a", "c"], texts=["an older a", LONG], long_texts="split")
    file = write(tmp_path / "r.jsonl", {"id": "a", "text": LONG}, {"id": "c", "text": "short"})
    report = run(index, file)
    assert "2 rows have ids that are already in the index (the first: 'a')" in report.skipped[0].message
    assert "a#1" not in index
    report = run(index, file, upsert=True)
    assert sorted(index.ids()) == [*CUT, "c"]
    assert report.removed == 5
    index.verify()


def test_ids_of_passages_are_unique_in_the_file(index: Index, tmp_path: Path) -> None:
    others = {"id": "a#2", "text": "bats"}, {"id": "a", "text": "x"}
    file = write(tmp_path / "r.jsonl", {"id": "a", "text": LONG}, *others)
    report = run(index, file)
    assert index.ids() == CUT
    assert [row.line for row in report.skipped_rows.first] == [2, 3]


def test_a_large_record_may_span_commits(index: Index, tmp_path: Path) -> None:
    text = " ".join(f"word{i}" for i in range(4000))
    file = write(tmp_path / "r.jsonl", {"id": "a", "text": text})
    run(index, file)
    assert len(index) > 192
    assert " ".join(hit.text or "" for hit in index.get(index.ids())) == text
    assert run(index, file).files_unchanged == 1


class CountingEncoder(ShortEncoder):
    """An encoder that counts the texts it encodes."""

    encoded = 0

    def encode_documents(self, texts: Any) -> Any:
        self.encoded += len(texts)
        return super().encode_documents(texts)


def test_a_record_names_its_file_and_line_also_where_it_has_such_fields(index: Index, tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "bats"}, {"id": "b", "text": "owls", "line": 7, "source": "the web"}]
    file = write(tmp_path / "r.jsonl", *rows)
    run(index, file)
    assert [hit.metadata for hit in index.get(["a", "b"])] == [
        {"source": file.as_posix(), "line": 1},
        {"source": file.as_posix(), "line": 2, "document_line": 7, "document_source": "the web"},
    ]


def test_declared_fields_of_these_names_have_their_declared_type(tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", {"id": "a", "text": "bats"})
    declared: dict[str, type] = {"line": str, "source": str}
    with Index.create(tmp_path / "declared", encoder=ShortEncoder(), filterable=declared) as index:
        assert not run(index, file).skipped_rows
        assert index.get(["a"])[0].metadata == {"source": file.as_posix()}


def test_another_line_or_other_metadata_are_stored_without_encoding(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    first, second = {"id": "a", "text": LONG, "lang": "en"}, {"id": "b", "text": "bats"}
    file = write(tmp_path / "r.jsonl", first, second)
    with Index.create(tmp_path / "counted", encoder=encoder) as index:
        run(index, file)
        # As an earlier version stored them, without a place.
        for hit in index.get(index.ids()):
            bare = {name: value for name, value in hit.metadata.items() if name not in ("source", "line")}
            index.update_metadata([hit.id], [bare], replace=True)
        before = encoder.encoded
        assert run(index, file).changed_metadata == 0
        write(file, {"id": "new", "text": "owls"}, {**first, "lang": "fr"}, second)
        report = run(index, file)
        assert (report.added, report.unchanged, report.changed_metadata) == (1, 5, 5)
        assert encoder.encoded - before == 1
        assert {hit.metadata["line"] for hit in index.get(CUT)} == {2}
        assert {hit.metadata["lang"] for hit in index.get(CUT)} == {"fr"}
        assert index.get(["b"])[0].metadata == {"source": file.as_posix(), "line": 3}
        assert [hit.id for hit in index.search("bats", where={"line": 3}, k=1)] == ["b"]
        index.verify()


def test_a_document_of_the_callers_is_not_changed_by_a_file_unless_it_is_equal(index: Index, tmp_path: Path) -> None:
    index.add(["a", "b"], ["bats", "owls"], metadata=[{}, {"source": "a book"}])
    report = run(index, write(tmp_path / "r.jsonl", {"id": "a", "text": "bats"}))
    assert (report.unchanged, report.changed_metadata, report.skipped) == (1, 1, ())
    report = run(index, write(tmp_path / "s.jsonl", {"id": "b", "text": "owls"}))
    assert [skipped.conflict for skipped in report.skipped] == [True]
    assert index.get(["b"])[0].metadata == {"source": "a book"}
