"""Small indexes in small parts, their snapshots at URLs, and what these answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.fakes import WordEncoder
from helpers.small_engine import THRESHOLDS
from serotine import Index
from serotine.index.repository import filesystem, manifest, transfer

PART = 2048


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)
    for module in (manifest, transfer):
        monkeypatch.setattr(module, "PART_BYTES", PART)
    monkeypatch.setattr(filesystem, "_WAIT", 0.01)


def grow(index: Index, first: int, count: int) -> None:
    ids = [f"n{i}" for i in range(first, first + count)]
    index.add(ids=ids, texts=[f"text {i % 5} of number {i}" for i in range(first, first + count)])


@contextmanager
def growing(path: Path, commits: int) -> Iterator[threading.Event]:
    """Add documents to a new index on another thread, one a commit; yield the event that is set after the last."""
    Index.create(path, encoder=WordEncoder()).close()
    finished = threading.Event()

    def write() -> None:
        with Index.open(path, encoder=WordEncoder()) as index:
            for number in range(commits):
                grow(index, number, 1)
                if number % 10 == 9:
                    index.compact()
        finished.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield finished
    finally:
        writer.join()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        grow(index, 0, 12)
        yield index


@pytest.fixture
def backup(tmp_path: Path) -> str:
    return f"file://{tmp_path}/backup"


def answers(index: Index) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in index.search("number 7", k=20)]


def restored(url: str, path: Path, **options: Any) -> tuple[list[str], list[tuple[str, float]]]:
    """Restore a snapshot, check it, and return its ids and answers."""
    Index.restore(url, path, **options)
    with Index.open(path, encoder=WordEncoder()) as copy:
        assert copy.verify().stray_files == ()
        return list(copy.ids()), answers(copy)
