"""Where an index can be created, and which files a new writer removes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.fakes import WordEncoder

from serotine import Index
from serotine.errors import IndexExistsError


def test_an_empty_folder_is_accepted_unless_it_is_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IndexExistsError, match="choose a new folder inside it"):
        Index.create(".", dim=2)
    Path("empty").mkdir()
    with Index.create("empty", dim=2) as index:
        assert len(index) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_the_current_folder_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Index.create("x", dim=2) as index:
        monkeypatch.chdir("/")
        index.add(ids=["a"], vectors=[np.ones((1, 2), np.float32)])
        assert "a" in index
    assert (tmp_path / "x").is_dir()


def test_a_value_that_is_not_an_encoder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"encoder: must be an encoder .* got int"):
        Index.create(tmp_path / "x", encoder=3)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_sweeping_removes_only_index_files(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        index.add(ids=["a"], texts=["alpha"])
    segments = tmp_path / "x" / "segments"
    (segment,) = segments.iterdir()
    stray_files = [f"{'0' * 32}.codes", f"{'1' * 32}.vectors.{'2' * 32}.tmp"]
    for name in stray_files:
        (segments / name).write_bytes(b"left by a dead writer")
    (segments / "notes.txt").write_text("mine")
    (segments / "folder").mkdir()
    with Index.open(tmp_path / "x", read_only=True) as reader:
        assert reader.verify().stray_files == tuple(stray_files)
    with Index.open(tmp_path / "x") as writer:
        assert writer.verify().stray_files == ()
    assert sorted(path.name for path in segments.iterdir()) == sorted([segment.name, "folder", "notes.txt"])
