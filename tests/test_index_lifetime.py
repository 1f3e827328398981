"""Dropping the last reference to an index releases its writer lock and its files at once."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serotine import Index
from serotine.errors import IndexLockedError


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def open_files(folder: Path) -> list[str]:
    targets = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [str(target) for target in targets if folder in target.parents]


@pytest.mark.usefixtures("no_garbage_collector")
def test_a_dropped_new_index_can_be_opened(tmp_path: Path) -> None:
    Index.create(tmp_path / "x", dim=64)
    with Index.open(tmp_path / "x") as index:
        with pytest.raises(IndexLockedError):
            Index.open(tmp_path / "x")
        assert len(index) == 0


@pytest.mark.usefixtures("no_garbage_collector")
def test_a_dropped_writer_releases_its_lock(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "x", dim=2)
    index.add(ids=["a", "b"], vectors=[np.eye(2)] * 2)
    index.delete(["b"])
    assert [hit.id for hit in index.search(np.eye(2), exact=True)] == ["a"]
    index.compact()
    index.verify()
    index.stats()
    del index
    with Index.open(tmp_path / "x") as index:
        assert index.ids() == ["a"]


@pytest.mark.usefixtures("no_garbage_collector")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_dropped_reader_closes_its_files(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", dim=2) as index:
        index.add(ids=["a"], vectors=[np.eye(2)])
    reader = Index.open(tmp_path / "x", read_only=True)
    assert [hit.id for hit in reader.search(np.eye(2))] == ["a"]
    assert open_files(tmp_path)
    del reader
    assert not open_files(tmp_path)


def test_an_index_is_opened_in_each_process_instead_of_pickled(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", dim=2) as index, pytest.raises(TypeError) as raised:
        pickle.dumps(index)
    assert str(raised.value) == (
        f"index: cannot be pickled or copied; in each process, open it with Index.open({str(tmp_path / 'x')!r})"
    )
