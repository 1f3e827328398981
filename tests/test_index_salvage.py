"""Salvage: what checksums prove good is in the new index, and everything else is listed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.small_engine import THRESHOLDS
from test_cli import Shell, shell

from serotine import Index
from serotine.errors import IndexDamagedError, IndexExistsError, IndexLockedError
from serotine.index.files import SEGMENT_FOLDER

__all__ = ["shell"]  # a fixture, used by its name

CODED = [f"s{i}" for i in range(12)]
HEAD = ["h0", "h1"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)


def create(path: Path, *, keep_vectors: bool = True) -> None:
    """An index with one coded segment, of which a document is deleted, and one of vectors."""
    with Index.create(path, encoder=WordEncoder(), keep_vectors=keep_vectors) as index:
        index.add(ids=CODED, texts=[f"seen bat {i} {i * i}" for i in range(12)], metadata=[{"n": i} for i in range(12)])
        index.delete(["s3"])
        index.add(ids=HEAD, texts=["owl one", "owl two"])
        assert len(index) == 13


def flip(path: Path, kind: str) -> None:
    file = max((path / SEGMENT_FOLDER).glob(f"*.{kind}"), key=lambda file: file.stat().st_size)
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)


def statement(sql: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path / "catalog.sqlite")) as connection, connection:
            connection.execute(sql)

    return run


def salvaged(path: Path) -> tuple[list[str], list[str | None], list[str]]:
    report = Index.salvage(path, path.with_name("new"))
    with Index.open(path.with_name("new"), encoder=WordEncoder()) as index:
        assert index.verify().documents == report.documents == len(index)
        ids = index.ids()
        assert {hit.id for hit in index.search("bat owl", k=20)} == set(ids)
        assert all(index[id_].metadata == {"n": int(id_[1:])} for id_ in ids if id_.startswith("s"))
        # It grows and is compacted like any other.
        index.add(ids=["later"], texts=["a later bat"])
        index.compact()
        assert index.verify().documents == len(ids) + 1
        assert index.search("later", k=1, mode="bm25")[0].id == "later"
    return ids, [document.id for document in report.lost], list(report.rebuilt)


ALL = [*(id_ for id_ in CODED if id_ != "s3"), *HEAD]


@pytest.mark.parametrize("keep_vectors", [True, False])
def test_an_intact_index_is_saved_whole(tmp_path: Path, keep_vectors: bool) -> None:
    create(tmp_path / "x", keep_vectors=keep_vectors)
    assert salvaged(tmp_path / "x") == (ALL, [], [])


def test_an_index_that_is_open_for_writing_is_not_saved(tmp_path: Path) -> None:
    create(tmp_path / "x")
    with (
        Index.open(tmp_path / "x", encoder=WordEncoder()),
        pytest.raises(IndexLockedError, match="x: a writer has this index open; close it, and try again"),
    ):
        Index.salvage(tmp_path / "x", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("keep_vectors", "kind", "saved", "rebuilt"),
    [
        # Either of the two files of a segment gives its documents.
        (True, "codes", ALL, []),
        (True, "vectors", ALL, ALL[:-2]),
        (True, "codebook", ALL, []),
        (False, "codes", HEAD, []),
        (False, "codebook", HEAD, []),
    ],
)
def test_a_damaged_file_costs_only_what_no_other_file_holds(
    tmp_path: Path, keep_vectors: bool, kind: str, saved: list[str], rebuilt: list[str]
) -> None:
    create(tmp_path / "x", keep_vectors=keep_vectors)
    flip(tmp_path / "x", kind)
    with pytest.raises(IndexDamagedError), Index.open(tmp_path / "x", read_only=True) as index:
        index.verify()
    assert salvaged(tmp_path / "x") == (saved, [id_ for id_ in ALL if id_ not in saved], rebuilt)


@pytest.mark.parametrize(
    ("sql", "lost"),
    [
        ("UPDATE documents SET text = 'forged' WHERE id = 's5'", ["s5"]),
        ("UPDATE documents SET metadata = '{' WHERE id = 's5'", ["s5"]),
        ("UPDATE documents SET text = CAST(x'ff' AS TEXT) WHERE id = 's5'", [None]),
        ("DELETE FROM documents WHERE id = 's5'", [None]),
    ],
)
def test_a_damaged_row_costs_one_document(tmp_path: Path, sql: str, lost: list[str | None]) -> None:
    create(tmp_path / "x")
    statement(sql)(tmp_path / "x")
    assert salvaged(tmp_path / "x") == ([id_ for id_ in ALL if id_ != "s5"], lost, [])


@pytest.mark.parametrize("last", ["1 << 60", "'x'", "0"])
def test_the_last_number_of_a_document_may_be_damaged(tmp_path: Path, last: str) -> None:
    create(tmp_path / "x")
    statement(f"UPDATE sqlite_sequence SET seq = {last} WHERE name = 'documents'")(tmp_path / "x")  # noqa: S608
    with pytest.raises(IndexDamagedError, match="last number 'documents': not what was written"):
        Index.open(tmp_path / "x")
    assert salvaged(tmp_path / "x") == (ALL, [], [])


def test_the_numbers_of_documents_may_be_far_apart(tmp_path: Path) -> None:
    create(tmp_path / "x", keep_vectors=False)
    # Live in the catalog, and in no segment.
    statement("UPDATE documents SET number = 1 << 60 WHERE id = 'h1'")(tmp_path / "x")
    report = Index.salvage(tmp_path / "x", tmp_path / "new")
    assert [(row.number, row.id) for row in report.lost] == [(14, None), (1 << 60, "h1")]
    assert report.documents == 12


def test_unreadable_pages_of_documents_cost_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with Index.create(path, dim=2) as index:
        texts = [f"{number} " * 100 for number in range(300)]
        index.add(ids=[f"d{i}" for i in range(300)], texts=texts, vectors=[np.eye(2)] * 300)
    catalog = path / "catalog.sqlite"
    data = bytearray(catalog.read_bytes())
    size = int.from_bytes(data[16:18], "big")
    for text in (texts[50], texts[250]):
        page = data.index(text.encode()) // size * size
        data[page : page + size] = bytes(size)
    catalog.write_bytes(data)
    report = Index.salvage(path, tmp_path / "new")
    assert 0 < len(report.lost) < 60
    assert report.documents + len(report.lost) == 300
    with Index.open(tmp_path / "new") as index:
        assert index.verify().documents == report.documents


def test_a_missing_file_and_an_unreadable_list_of_segments(tmp_path: Path) -> None:
    create(tmp_path / "x", keep_vectors=False)
    for file in (tmp_path / "x" / SEGMENT_FOLDER).glob("*.vectors"):
        file.unlink()
    assert salvaged(tmp_path / "x") == (ALL[:-2], HEAD, [])
    with pytest.raises(IndexExistsError):
        Index.salvage(tmp_path / "x", tmp_path / "new")
    statement("UPDATE meta SET value = '9' WHERE key = 'dim'")(tmp_path / "x")
    with pytest.raises(IndexDamagedError, match="settings do not match"):
        Index.salvage(tmp_path / "x", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_two_segments_with_the_same_documents(tmp_path: Path) -> None:
    """As a second writer without the lock once left them."""
    with Index.create(tmp_path / "x", dim=2) as index:
        for id_ in "ab":
            index.add(ids=[id_], vectors=[np.eye(2)])
    copy = f"{'0' * 32}.vectors"
    statement(
        f"UPDATE segments SET (vectors_file, vectors_bytes, vectors_checksum) = ('{copy}', (SELECT vectors_bytes FROM "  # noqa: S608
        "segments WHERE segment = 1), (SELECT vectors_checksum FROM segments WHERE segment = 1)) WHERE segment = 2"
    )(tmp_path / "x")
    with closing(sqlite3.connect(tmp_path / "x" / "catalog.sqlite")) as connection:
        (name,) = connection.execute("SELECT vectors_file FROM segments WHERE segment = 1").fetchone()
    files = tmp_path / "x" / SEGMENT_FOLDER
    (files / copy).write_bytes((files / name).read_bytes())
    report = Index.salvage(tmp_path / "x", tmp_path / "new")
    assert [document.id for document in report.lost] == ["b"]
    with Index.open(tmp_path / "new") as index:
        assert (index.ids(), index.verify().documents) == (["a"], 1)


def test_repair_on_the_command_line(shell: Shell) -> None:
    create(Path("i.serotine"))
    statement("UPDATE documents SET text = 'forged' WHERE id = 's5'")(Path("i.serotine"))
    assert "or save what is intact with `serotine verify --repair -o NEW`" in shell.fails("verify", "i.serotine")
    assert "must be given together" in shell.fails("verify", "i.serotine", "--repair", status=2)
    output = shell("verify", "i.serotine", "--repair", "-o", "new")
    assert "12 documents of i.serotine saved, 1 lost" in output
    assert "lost: 's5', its row does not match its checksum" in output
    assert "sound; 12 documents" in shell("verify", "new")
    result = shell.json("verify", "i.serotine", "--repair", "-o", "again")
    assert result["lost"] == [{"number": 6, "id": "s5", "reason": "its row does not match its checksum"}]
