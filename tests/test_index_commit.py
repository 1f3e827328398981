"""Changes that fail or race: interrupted commits, full disks, searches during a commit."""

from __future__ import annotations

import errno
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder

from serotine import Index
from serotine.errors import SerotineError
from serotine.index.files import durable
from serotine.index.store import sql, store

real_commit = sql.commit


def content(path: Path) -> dict[str, str | None]:
    with Index.open(path, read_only=True, encoder=WordEncoder()) as index:
        index.verify()
        return {hit.id: hit.text for hit in index.get(index.ids())}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        index.add(ids=["a", "b"], texts=["alpha", "beta"])
    return tmp_path / "x"


@pytest.mark.parametrize("committed", [True, False])
def test_an_interrupt_at_the_commit(small: Path, monkeypatch: pytest.MonkeyPatch, committed: bool) -> None:
    def interrupted(connection: sqlite3.Connection) -> None:
        if committed:
            real_commit(connection)
        raise KeyboardInterrupt

    with Index.open(small, encoder=WordEncoder()) as index:
        with monkeypatch.context() as patch:
            patch.setattr(sql, "commit", interrupted)
            with pytest.raises(KeyboardInterrupt):
                index.add(ids=["b", "c"], texts=["beta changed", "gamma"], upsert=True)
        after = {"a": "alpha", "b": "beta changed", "c": "gamma"}
        expected = after if committed else {"a": "alpha", "b": "beta"}
        # The writer and every reader see what is on disk.
        assert {hit.id: hit.text for hit in index.search("beta")} == expected
        assert content(small) == expected
        index.add(ids=["b", "c"], texts=["beta changed", "gamma"], upsert=True)
        assert content(small) == after
    with Index.open(small) as index:
        assert index.verify().stray_files == ()


@pytest.mark.parametrize("operation", ["write", "sync", "rename"])
def test_a_full_disk_leaves_no_files(small: Path, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted((small / "segments").iterdir())
    with Index.open(small, encoder=WordEncoder()) as index:
        with monkeypatch.context() as patch:
            patch.setattr(durable, operation, full)
            with pytest.raises(OSError, match="No space left on device; the disk is full") as caught:
                index.add(ids=["c"], texts=["gamma"])
            assert Path(caught.value.filename).parent == small / "segments"
        assert sorted((small / "segments").iterdir()) == before
        index.add(ids=["c"], texts=["gamma"])
    assert content(small) == {"a": "alpha", "b": "beta", "c": "gamma"}


def test_sqlite_errors_are_translated(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with Index.open(small) as index:
        monkeypatch.setattr(sql, "commit", failing)
        with pytest.raises(SerotineError, match=r"SQLite failed \(database or disk is full\)"):
            index.delete(["a"])
        assert len(index) == 2


def test_a_search_that_refreshes_during_a_commit_does_not_hide_it(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, resume = threading.Event(), threading.Event()
    load = store.load_snapshot

    def slow(*arguments: Any) -> Any:
        snapshot = load(*arguments)
        loaded.set()
        assert resume.wait(10)
        return snapshot

    with (
        Index.open(small, encoder=WordEncoder()) as index,
        Index.open(small, read_only=True, encoder=WordEncoder()) as reader,
    ):
        index.delete(["a"])
        monkeypatch.setattr(store, "load_snapshot", slow)
        searching = threading.Thread(target=lambda: len(index))
        searching.start()
        assert loaded.wait(10)
        adding = threading.Thread(target=index.add, kwargs={"ids": ["c"], "texts": ["gamma"]})
        adding.start()
        while "c" not in reader:
            time.sleep(0.001)
        resume.set()
        searching.join()
        adding.join()
        assert {hit.id for hit in index.search("x")} == {"b", "c"}
