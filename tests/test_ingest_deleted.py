"""Documents of files that were deleted from an index stay deleted until somebody asks for them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.fakes import WordEncoder
from test_cli import Shell, shell, write_jsonl
from test_ingest_update import KILLED

from serotine import Index
from serotine.cli.output import plural
from serotine.errors import DuplicateIdError
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


def test_the_name_of_a_file_stands_for_its_passages(notes: Path, tmp_path: Path, shell: Shell) -> None:
    bats, owls = ((notes / name).as_posix() for name in ("bats.txt", "owls.txt"))
    (notes / "bats.txt#old.txt").write_text("Bats, as they were.", encoding="utf-8")
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        update(index, [notes], chunking=Chunking(16, 0))
        passages = [id_ for id_ in index if id_.startswith(f"{bats}#") and not id_.endswith("old.txt")]
        assert len(passages) > 2
        assert bats in index
        text = (notes / "bats.txt").read_text(encoding="utf-8")
        assert (index[bats].text, index[bats].metadata) == (text, {"source": bats})
        assert len(index.vectors(bats)) == sum(len(index.vectors(id_)) for id_ in passages)
        with pytest.raises(ValueError, match=r"metadata\[0\]\['source'\]: says which part of its document the passage"):
            index.update_metadata([bats], [{"source": "elsewhere"}])
        index.update_metadata([bats], [{"kind": "bat"}], replace=True)
        assert index[bats].metadata == {"source": bats, "kind": "bat"}
        with pytest.raises(DuplicateIdError, match="is already in the index"):
            index.add([bats], ["a bat"])
        rest = [id_ for id_ in index if id_ not in passages]
        assert len(rest) == 2
    assert shell.json("delete", tmp_path / "index", bats)["deleted"] == len(passages)
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as index:
        assert list(index) == rest
        assert update(index, [notes], chunking=Chunking(16, 0)).deleted[bats] == len(passages)
        assert list(index) == rest
    # A file of one document.
    assert shell.json("delete", tmp_path / "index", owls)["deleted"] == 1


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
    expected = "deleted from the index, and not stored again: 2 documents of 1 file (the first: corpus.jsonl)"
    assert f"warning: {expected}; --restore-deleted stores them" in shell.err
    assert shell.json("info", "i.serotine")["documents"] == 1
    commands = (("add", "i.serotine", "corpus.jsonl"), ("index", "corpus.jsonl", "-o", "i.serotine"))
    for command, restored in zip(commands, (2, 1), strict=True):
        output = shell(*command, "--restore-deleted", "--json", "report.json")
        report = json.loads(Path("report.json").read_text(encoding="utf-8"))
        assert (report["deleted"], report["restored"]) == ({}, {"corpus.jsonl": restored})
        assert "deleted" not in shell.err
        assert f"; {plural(restored, 'deleted document')} stored again" in output
        assert shell.json("info", "i.serotine")["documents"] == 3
        shell("delete", "i.serotine", "cat")


def test_an_index_of_an_earlier_version_counts_from_now_on(notes: Path, tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        update(index, [notes])
        with index._store.catalog.transaction() as connection:
            assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'deleted'").fetchall()
            connection.execute("ALTER TABLE sources ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0")
        assert dict(update(index, [notes]).deleted) == {}
        index.delete([id_ for id_ in index if "owls" in id_])
        assert dict(update(index, [notes]).deleted) == {(notes / "owls.txt").as_posix(): 1}


def test_documents_of_changed_and_moved_files_stay_deleted(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "kk").mkdir()
    rows = {"bat": "A bat.", "cat": "A cat."}
    write_jsonl(tmp_path / "kk" / "rows.jsonl", rows)
    (tmp_path / "kk" / "g.txt").write_text("Owls hear well.", encoding="utf-8")
    shell("index", "kk", "-o", "i.serotine")
    shell("delete", "i.serotine", "cat", "kk/g.txt")
    # Another line, and a file of another name.
    write_jsonl(tmp_path / "kk" / "rows.jsonl", {"new": "A new row.", "bat": "A changed bat.", "cat": "A cat."})
    (tmp_path / "kk" / "g.txt").rename(tmp_path / "kk" / "gg.txt")
    report = shell.json("index", "kk", "-o", "i.serotine")
    assert (report["deleted"], report["restored"]) == ({"kk/gg.txt": 1, "kk/rows.jsonl": 1}, {})
    expected = "deleted from the index, and not stored again: 2 documents of 2 files (the first: kk/gg.txt)"
    assert f"warning: {expected}; --restore-deleted stores them" in shell.err
    assert shell.json("info", "i.serotine")["documents"] == 2
    assert shell.json("index", "kk", "-o", "i.serotine")["deleted"] == report["deleted"]
    report = shell.json("index", "kk", "-o", "i.serotine", "--restore-deleted")
    assert (report["added"], report["restored"]) == (2, {"kk/gg.txt": 1, "kk/rows.jsonl": 1})
    assert shell.json("index", "kk", "-o", "i.serotine", "--restore-deleted")["restored"] == {}
    assert shell.json("index", "kk", "-o", "i.serotine")["deleted"] == {}
    # A changed text is a new one.
    shell("delete", "i.serotine", "cat")
    write_jsonl(tmp_path / "kk" / "rows.jsonl", {"bat": "A bat.", "cat": "Another cat."})
    report = shell.json("index", "kk", "-o", "i.serotine")
    assert (report["deleted"], report["restored"]) == ({}, {"kk/rows.jsonl": 1})
    assert "stored again with other texts: up to 1 document of 1 file (the first: kk/rows.jsonl)" in shell.err
    # A change that brings nothing back is none, and what the file lost is no longer counted.
    shell("delete", "i.serotine", "cat")
    write_jsonl(tmp_path / "kk" / "rows.jsonl", {"bat": "A bat.", "dog": "A dog."})
    report = shell.json("index", "kk", "-o", "i.serotine")
    assert (report["deleted"], report["restored"]) == ({}, {})
    assert "stored again" not in shell.err


def texts(index: Index) -> list[str]:
    return sorted(hit.text or "" for hit in index.get(list(index)))


def test_a_deleted_passage_stays_deleted_where_its_number_changes(notes: Path, tmp_path: Path) -> None:
    chunking = Chunking(16, 0)
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        update(index, [notes], chunking=chunking)
        victim = next(hit for hit in index.get(list(index)) if "kind 5 " in (hit.text or ""))
        index.delete([victim.id])
        before = texts(index)
        file = notes / "bats.txt"
        file.write_text(
            f"A paragraph that is new comes before all others here.\n\n{file.read_text()}", encoding="utf-8"
        )
        plan = Ingest([notes], index.encoder, chunking=chunking).plan(index)
        report = update(index, [notes], chunking=chunking)
        assert dict(plan.deleted) == dict(report.deleted) == {file.as_posix(): 1}
        assert victim.text not in texts(index)
        assert set(before) < set(texts(index))
        index.compact()
        index.snapshot(tmp_path / "copy")
    with Index.open(tmp_path / "copy", encoder=WordEncoder()) as copy:
        file.rename(notes / "moved.txt")
        report = update(copy, [notes], chunking=chunking)
        assert dict(report.deleted) == {(notes / "moved.txt").as_posix(): 1}
        assert victim.text not in texts(copy)
        assert copy.verify().documents == len(copy)


def test_of_equal_passages_as_many_stay_deleted_as_were_deleted(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text\nsame\nother\nsame\n", encoding="utf-8")
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        update(index, [file])
        index.delete([next(iter(index))])
        file.write_text("text\nfirst\nsame\nother\nsame\n", encoding="utf-8")
        assert dict(update(index, [file]).deleted) == {file.as_posix(): 1}
        assert texts(index) == ["first", "other", "same"]


def test_a_document_that_is_added_again_is_not_deleted(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", {"bat": "A bat.", "cat": "A cat."})
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        update(index, [tmp_path / "a.jsonl"])
        index.delete(["cat"])
        assert index.sources.deleted_counts() == {str(tmp_path / "a.jsonl"): 1}
        index.add(ids=["cat"], texts=["A cat."], upsert=True)
        assert index.sources.deleted_counts() == {}


def test_files_of_a_renamed_folder_are_indexed_after_the_old_ones_were_deleted(notes: Path, tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        update(index, [notes])
        documents = len(index)
        notes.rename(tmp_path / "papers")
        index.delete(where={"source": {"in": [(notes / name).as_posix() for name in ("bats.txt", "owls.txt")]}})
        assert dict(update(index, [tmp_path / "papers"]).deleted) == {}
        assert len(index) == documents


def killed_copies(tmp_path: Path, original: Path, notes: Path, program: str) -> list[Path]:
    """Run a program that is killed at every durable operation; return the indexes that it left."""
    (tmp_path / "killed").mkdir()
    places = {"folder": str(tmp_path / "killed"), "original": str(original), "notes": str(notes)}
    program = program.format(tests=str(Path(__file__).parent), step=1, **places)
    completed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False
    )
    assert (completed.returncode, completed.stdout) == (0, "finished\n"), completed.stderr
    copies = sorted((tmp_path / "killed").iterdir())
    assert len(copies) > 3
    return copies


def test_killed_while_a_changed_and_a_moved_file_are_stored(notes: Path, tmp_path: Path) -> None:
    chunking = Chunking(32, 8)
    write_jsonl(notes / "rows.jsonl", {"bat": "A bat.", "cat": "A cat."})
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        update(index, [notes], chunking=chunking)
        passages = [id_ for id_ in index if "bats.txt" in id_]
        deleted = index.get([passages[0], passages[2]])
        index.delete([hit.id for hit in deleted] + ["cat"])
    write_jsonl(notes / "rows.jsonl", {"new": "A new row.", "bat": "A changed bat.", "cat": "A cat."})
    (notes / "bats.txt").rename(notes / "moved.txt")
    for path in killed_copies(tmp_path, tmp_path / "index", notes, KILLED):
        with Index.open(path, encoder=WordEncoder()) as index:
            for _ in range(2):
                assert "A cat." not in texts(index), path.name
                assert not {hit.text for hit in deleted} & set(texts(index)), path.name
                report = update(index, [notes], chunking=chunking)
            assert dict(report.deleted) == {(notes / "moved.txt").as_posix(): 2, (notes / "rows.jsonl").as_posix(): 1}
            index.verify()


def test_killed_while_documents_are_deleted(notes: Path, tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        update(index, [notes])
        before = len(index)
    program = KILLED.replace("update(index, [{notes!r}], chunking=Chunking(32, 8))", "index.delete(list(index))")
    assert program != KILLED
    for path in killed_copies(tmp_path, tmp_path / "index", notes, program):
        with Index.open(path, encoder=WordEncoder()) as index:
            # Deleted and recorded, or neither.
            assert sum(index.sources.deleted_counts().values()) == before - len(index)
            assert len(index) in (0, before)
