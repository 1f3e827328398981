"""Snapshots and restores: consistent while a writer runs, complete or absent, and noticed by open readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.small_engine import THRESHOLDS
from helpers.snapshot_cases import grow, growing
from test_cli import Shell, shell

from serotine import Index
from serotine.errors import (
    IndexDamagedError,
    IndexExistsError,
    IndexLockedError,
    IndexReplacedError,
    NotAnIndexError,
)
from serotine.index.files import SEGMENT_FOLDER
from serotine.index.store import replacement

__all__ = ["shell"]  # a fixture, used by its name


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)


def create(path: Path, *, keep_vectors: bool = True) -> Index:
    index = Index.create(path, encoder=WordEncoder(), keep_vectors=keep_vectors)
    grow(index, 0, 12)
    index.delete(["n3"])
    return index


@pytest.mark.parametrize("hard_links", [False, True])
@pytest.mark.parametrize("keep_vectors", [False, True])
def test_a_snapshot_answers_like_the_index(tmp_path: Path, hard_links: bool, keep_vectors: bool) -> None:
    with create(tmp_path / "x", keep_vectors=keep_vectors) as index:
        copied = index.snapshot(tmp_path / "s", hard_links=hard_links)
        files = sorted(path.name for path in (tmp_path / "s" / SEGMENT_FOLDER).iterdir())
        assert (copied.documents, copied.files) == (11, len(files))
        assert not (tmp_path / "s" / "catalog.sqlite-wal").exists()
        expected = {mode: index.search("number 7", k=5, mode=mode) for mode in ("late", "bm25", "hybrid")}
        before = index.ids()
        index.delete(["n7"])
        index.compact()
    with Index.open(tmp_path / "s", encoder=WordEncoder()) as copy:
        assert copy.ids() == before
        for mode, hits in expected.items():
            assert [(h.id, h.score) for h in copy.search("number 7", k=5, mode=mode)] == [(h.id, h.score) for h in hits]
        assert copy.verify().stray_files == ()
        grow(copy, 100, 3)
        assert copy.verify().documents == 14


def test_snapshots_are_consistent_while_a_writer_runs(tmp_path: Path) -> None:
    """Every snapshot is the state after some commit: the documents 0 to n, without gaps."""
    path = tmp_path / "x"
    sizes: list[int] = []
    with growing(path, 40) as finished:
        while not finished.is_set():
            target = tmp_path / f"s{len(sizes)}"
            with Index.open(path, read_only=True, encoder=WordEncoder()) as reader:
                reader.snapshot(target, hard_links=len(sizes) % 2 == 0)
            with Index.open(target, read_only=True, encoder=WordEncoder()) as copy:
                assert copy.verify().stray_files == ()
                assert copy.ids() == [f"n{i}" for i in range(len(copy))]
                sizes.append(len(copy))
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 2


def test_a_damaged_file_is_not_copied(tmp_path: Path) -> None:
    with create(tmp_path / "x") as index:
        damaged = next((tmp_path / "x" / SEGMENT_FOLDER).glob("*.codes"))
        data = bytearray(damaged.read_bytes())
        data[100] ^= 1
        damaged.write_bytes(data)
        with pytest.raises(IndexDamagedError, match=f"x: the checksum of {damaged.name}"):
            index.snapshot(tmp_path / "s")
    with pytest.raises(IndexDamagedError, match=f"x: the checksum of {damaged.name}"):
        Index.restore(tmp_path / "x", tmp_path / "s")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_names_that_do_not_fit_are_said_in_the_words_of_copies(tmp_path: Path, shell: Shell) -> None:
    with (
        create(tmp_path / "x") as index,
        pytest.raises(IndexExistsError, match=r"x: already exists; choose another path$"),
    ):
        index.snapshot(tmp_path / "x")
    with pytest.raises(NotAnIndexError, match=r"nope: no such snapshot; check the path$"):
        Index.restore(tmp_path / "nope", tmp_path / "y")
    assert "nope: no such snapshot; check the path" in shell.fails("restore", "nope", "-o", "y")
    assert "already exists; choose another path" in shell.fails("snapshot", tmp_path / "x", "-o", tmp_path / "x")


@pytest.mark.parametrize("exchange", [True, False])
def test_restore_replaces_an_index_and_readers_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(replacement, "_exchange", lambda first, second: False)
    path = tmp_path / "x"
    with create(path) as index:
        index.snapshot(tmp_path / "s")
        grow(index, 50, 2)
        with pytest.raises(IndexLockedError):
            Index.restore(tmp_path / "s", path, overwrite=True)
    reader = Index.open(path, read_only=True, encoder=WordEncoder())
    assert "n50" in reader
    with pytest.raises(IndexExistsError, match="pass overwrite=True to replace it"):
        Index.restore(tmp_path / "s", path)
    with pytest.raises(ValueError, match="must not be the snapshot itself"):
        Index.restore(path, path, overwrite=True)
    assert Index.restore(tmp_path / "s", path, overwrite=True).documents == 11
    with pytest.raises(IndexReplacedError, match="was replaced by another index; open it again"):
        reader.search("number 7")
    reader.close()
    with Index.open(path, encoder=WordEncoder()) as restored:
        assert "n50" not in restored
        assert restored.verify().documents == 11
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["s", "x"]


def test_restore_refuses_what_is_no_index(tmp_path: Path) -> None:
    create(tmp_path / "x").close()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    with pytest.raises(NotAnIndexError, match="so it is not replaced"):
        Index.restore(tmp_path / "x", tmp_path / "other", overwrite=True)
    with pytest.raises(NotAnIndexError):
        Index.restore(tmp_path / "other", tmp_path / "y")
    assert not (tmp_path / "y").exists()
    with Index.open(tmp_path / "x") as index, pytest.raises(IndexExistsError):
        index.snapshot(tmp_path / "other")


def test_vectors_without_an_encoder_and_an_empty_index(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", dim=2) as index:
        assert index.snapshot(tmp_path / "empty").documents == 0
        index.add(ids=["a"], vectors=[np.eye(2)])
        assert index.snapshot(tmp_path / "one").documents == 1
    with Index.open(tmp_path / "empty") as empty:
        assert empty.verify().documents == 0


def test_snapshot_and_restore_on_the_command_line(shell: Shell) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    documents = shell.json("info", "i.serotine")["documents"]
    assert f"s: {documents} documents, 1 file of" in shell("snapshot", "i.serotine", "-o", "s")
    assert "pass --overwrite to replace it" in shell.fails("restore", "s", "-o", "i.serotine")
    assert shell.json("restore", "s", "-o", "i.serotine", "--overwrite")["documents"] == documents
    assert "sound; " in shell("verify", "i.serotine")
    assert "already exists" in shell.fails("snapshot", "i.serotine", "-o", "s")
