"""Documents of files that were deleted from an index stay deleted until somebody asks for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.fakes import WordEncoder
from test_cli import Shell, shell, write_jsonl

from serotine import Index
from serotine.ingest import Chunking, Ingest, update

__all__ = ["shell"]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    text = "\n\n".join(f"Bats of kind {n} hunt moths over water at night." for n in range(12))
    (tmp_path / "notes" / "bats.txt").write_text(text, encoding="utf-8")
    (tmp_path / "notes" / "owls.txt").write_text("Owls hear well.", encoding="utf-8")
    return tmp_path / "notes"


def test_deleted_passages_stay_deleted_and_are_reported(notes: Path, tmp_path: Path) -> None:
    chunking = Chunking(16, 0)
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        update(index, [notes], chunking=chunking)
        ids = list(index)
        gone = [id_ for id_ in ids if "bats.txt" in id_][:2]
        index.delete(gone)
        bats = (notes / "bats.txt").as_posix()
        report = update(index, [notes], chunking=chunking)
        assert (report.files_unchanged, report.added, dict(report.deleted)) == (2, 0, {bats: 2})
        # Also where only the times of the file changed, and after the tombstones are gone.
        (notes / "bats.txt").touch()
        index.compact()
        assert dict(update(index, [notes], chunking=chunking).deleted) == {bats: 2}
        plan = Ingest([notes], index.encoder, chunking=chunking, restore_deleted=True).plan(index)
        assert (plan.to_store, dict(plan.deleted)) == (2, {})
        report = update(index, [notes], chunking=chunking, restore_deleted=True)
        assert (report.added, dict(report.deleted)) == (2, {})
        assert set(index) == set(ids)
        assert dict(update(index, [notes], chunking=chunking).deleted) == {}
        index.verify()


def test_documents_that_a_file_no_longer_has_are_not_deleted_ones(notes: Path, tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        update(index, [notes])
        (notes / "bats.txt").write_text("A bat.", encoding="utf-8")
        update(index, [notes])
        index.add(ids=[next(iter(index))], texts=["replaced"], upsert=True)
        index.add(ids=["own"], texts=["of no file"])
        index.delete(["own"])
        assert dict(update(index, [notes]).deleted) == {}


def test_the_command_line_says_so_and_restores_them(shell: Shell, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "corpus.jsonl", {"bat": "A bat.", "cat": "A cat.", "fish": "A fish."})
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    shell("delete", "i.serotine", "cat", "fish")
    report = shell.json("index", "corpus.jsonl", "-o", "i.serotine")
    assert report["deleted"] == {"corpus.jsonl": 2}
    expected = "deleted from the index, and not stored again: 2 documents of 1 unchanged file (the first: corpus.jsonl)"
    assert f"warning: {expected}; --restore-deleted stores them" in shell.err
    assert shell.json("info", "i.serotine")["documents"] == 1
    for command in (("add", "i.serotine", "corpus.jsonl"), ("index", "corpus.jsonl", "-o", "i.serotine")):
        shell(*command, "--restore-deleted")
        assert "deleted" not in shell.err
        assert shell.json("info", "i.serotine")["documents"] == 3
        shell("delete", "i.serotine", "cat")


def test_an_index_of_an_earlier_version_counts_from_now_on(notes: Path, tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        update(index, [notes])
        with index._store.catalog.transaction() as connection:
            connection.execute("ALTER TABLE sources DROP COLUMN deleted")
        assert dict(update(index, [notes]).deleted) == {}
        index.delete([id_ for id_ in index if "owls" in id_])
        assert dict(update(index, [notes]).deleted) == {(notes / "owls.txt").as_posix(): 1}


def test_deleted_documents_that_a_changed_or_moved_file_brings_back_are_reported(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "kk").mkdir()
    rows = {"bat": "A bat.", "cat": "A cat."}
    write_jsonl(tmp_path / "kk" / "rows.jsonl", rows)
    (tmp_path / "kk" / "g.txt").write_text("Owls hear well.", encoding="utf-8")
    shell("index", "kk", "-o", "i.serotine")
    shell("delete", "i.serotine", "cat", "kk/g.txt")
    write_jsonl(tmp_path / "kk" / "rows.jsonl", {**rows, "bat": "A changed bat.", "cat": "A cat."})
    (tmp_path / "kk" / "g.txt").rename(tmp_path / "kk" / "gg.txt")
    report = shell.json("index", "kk", "-o", "i.serotine")
    assert report["restored"] == {"kk/gg.txt": 1, "kk/rows.jsonl": 1}
    expected = "up to 2 documents of 2 files that changed or moved (the first: kk/gg.txt)"
    assert f"warning: deleted from the index before, and stored again: {expected}" in shell.err
    # A change that brings nothing back is none.
    shell("delete", "i.serotine", "cat")
    write_jsonl(tmp_path / "kk" / "rows.jsonl", {"bat": "Another bat."})
    assert shell.json("index", "kk", "-o", "i.serotine")["restored"] == {}
    assert "stored again" not in shell.err
