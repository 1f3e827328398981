"""The catalog: damage is reported, and a reader without write permission sees every commit."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from helpers.fakes import WordEncoder

from serotine import Index
from serotine.errors import IndexDamagedError
from serotine.index.store import catalog


def create(path: Path, count: int = 2) -> Path:
    with Index.create(path, encoder=WordEncoder()) as index:
        index.add(ids=[f"id{i}" for i in range(count)], texts=[f"unusual text {i}" for i in range(count)])
    return path


@pytest.mark.parametrize(("old", "new"), [(b"unusual text 1", b"unusual test 1"), (b"id1", b"id7")])
def test_verify_detects_a_changed_text_or_id(tmp_path: Path, old: bytes, new: bytes) -> None:
    file = create(tmp_path / "x") / "catalog.sqlite"
    file.write_bytes(file.read_bytes().replace(old, new))
    with (
        Index.open(tmp_path / "x", read_only=True) as index,
        pytest.raises(IndexDamagedError, match="do not match their checksum"),
    ):
        index.verify()


def test_verify_detects_a_missing_segment_row(tmp_path: Path) -> None:
    connection = sqlite3.connect(create(tmp_path / "x") / "catalog.sqlite")
    connection.execute("DELETE FROM segments")
    connection.commit()
    connection.close()
    with (
        Index.open(tmp_path / "x", read_only=True) as index,
        pytest.raises(IndexDamagedError, match="2 documents of the catalog are in no segment"),
    ):
        index.verify()


def test_a_document_missing_from_the_catalog_is_reported(tmp_path: Path) -> None:
    connection = sqlite3.connect(create(tmp_path / "x") / "catalog.sqlite")
    connection.execute("DELETE FROM documents WHERE id = 'id0'")
    connection.commit()
    connection.close()
    with Index.open(tmp_path / "x", encoder=WordEncoder()) as index:
        with pytest.raises(IndexDamagedError, match="a document that a segment holds is not in the catalog"):
            index.search("text")
        with pytest.raises(IndexDamagedError, match="1 documents of segments are not in the catalog"):
            index.verify()


def test_overwritten_pages_are_reported(tmp_path: Path) -> None:
    file = create(tmp_path / "x", 3000) / "catalog.sqlite"
    data = bytearray(file.read_bytes())
    for page in range(8, len(data) // 4096 - 1):
        data[page * 4096 : page * 4096 + 60] = bytes(range(1, 61))
    file.write_bytes(data)
    with pytest.raises(IndexDamagedError, match=r"cannot be read .*malformed"):
        Index.open(tmp_path / "x", read_only=True)


def test_a_reader_without_write_permission_sees_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = create(tmp_path / "x")
    # As if the folder were on a read-only mount: root may write anywhere else.
    monkeypatch.setattr(catalog.os, "access", lambda *_: False)
    with Index.open(path, read_only=True, encoder=WordEncoder()) as reader:
        assert sorted(file.name for file in path.iterdir()) == ["catalog.sqlite", "segments", "writer.lock"]
        assert len(reader) == 2
        with Index.open(path, encoder=WordEncoder()) as writer:
            assert len(reader) == 2
            writer.add(ids=["later"], texts=["text"])
            assert len(reader) == 3
            writer.delete(["id0"])
            assert {hit.id for hit in reader.search("text")} == {"id1", "later"}
        assert len(reader) == 2


def test_a_segment_truncated_while_open_is_reported(tmp_path: Path) -> None:
    path = create(tmp_path / "x")
    (segment,) = (path / "segments").iterdir()
    with Index.open(path, read_only=True) as index:
        os.truncate(segment, 100)
        with pytest.raises(IndexDamagedError, match="checksum"):
            index.verify()
        segment.unlink()
        with pytest.raises(IndexDamagedError, match="cannot be read"):
            index.verify()
