"""The catalog: damage is reported, and a reader without write permission sees every commit."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder

from serotine import Index
from serotine.errors import IndexDamagedError
from serotine.index.store import connection as catalog_connection
from serotine.index.store.settings import decoded_metadata


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
    # An index of an earlier version has no checksum of its rows.
    connection.executescript("DELETE FROM meta WHERE key = 'record_checksums'; DELETE FROM segments")
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
    monkeypatch.setattr(catalog_connection.os, "access", lambda *_: False)
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


def change(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path / "catalog.sqlite")
    assert connection.execute(statement, values).rowcount > 0
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE passages_fts_docsize SET sz = x'05' WHERE id = 2",
        "DELETE FROM passages_fts_docsize WHERE id = 2",
        "UPDATE passages_fts_data SET block = x'0909' WHERE id = 1",
        "INSERT INTO passages_fts (rowid, text) VALUES (3, 'more words')",
        "INSERT INTO passages_fts (passages_fts, rowid, text) VALUES ('delete', 1, 'unusual text 0')",
    ],
)
def test_verify_detects_a_changed_word_index(tmp_path: Path, statement: str) -> None:
    change(create(tmp_path / "x"), statement)
    with (
        Index.open(tmp_path / "x", read_only=True) as index,
        pytest.raises(IndexDamagedError, match="the word index does not match the texts"),
    ):
        index.verify()


def test_a_flipped_bit_of_the_word_index_is_detected_or_changes_no_hit(tmp_path: Path) -> None:
    path = create(tmp_path / "x", 40)
    connection = sqlite3.connect(path / "catalog.sqlite")
    rows = connection.execute("SELECT id, block FROM passages_fts_data WHERE id > 10").fetchall()
    connection.close()
    number, block = max(rows, key=lambda row: len(row[1]))

    def hits(index: Index) -> list[tuple[str, float]]:
        queries = ["unusual", *(f"text {i}" for i in range(0, 40, 3))]
        return [(hit.id, hit.score) for query in queries for hit in index.search(query, mode="bm25", k=40)]

    with Index.open(path, read_only=True) as index:
        expected = hits(index)
    positions = range(0, len(block), max(len(block) // 24, 1))
    detected = 0
    for position in positions:
        changed = bytearray(block)
        changed[position] ^= 1
        change(path, "UPDATE passages_fts_data SET block = ? WHERE id = ?", bytes(changed), number)
        with Index.open(path, read_only=True) as index:
            try:
                index.verify()
            except IndexDamagedError:
                detected += 1
            else:
                assert hits(index) == expected, position
    assert detected > len(positions) / 2
    change(path, "UPDATE passages_fts_data SET block = ? WHERE id = ?", block, number)
    with Index.open(path, read_only=True) as index:
        assert index.verify().documents == 40


def test_the_word_index_of_changed_documents_is_intact(tmp_path: Path) -> None:
    with Index.open(create(tmp_path / "x", 9), encoder=WordEncoder()) as index:
        index.delete(["id1", "id2"])
        german = "Die schnellen Fledermäuse fliegen abends über die alten Gärten der Städte"
        texts = ["other text", german, "\u30c6\u30b9\u30c8 \u6771\u4eac"]
        index.add(ids=["id3", "later", "kana"], texts=texts, upsert=True)
        assert index.verify().documents
        index.compact()
        assert index.verify().documents == 9
        index.delete(index.ids())
        assert index.verify().deleted == 9
        index.compact()
        assert index.verify().documents == 0


@pytest.mark.parametrize("value", ["false", "tru", "[", ""])
def test_a_changed_setting_is_refused(tmp_path: Path, value: str) -> None:
    change(create(tmp_path / "x"), "UPDATE meta SET value = ? WHERE key = 'keep_vectors'", value)
    with pytest.raises(IndexDamagedError, match="the settings do not match their checksum"):
        Index.open(tmp_path / "x")


def test_settings_without_a_checksum_are_an_earlier_version_s(tmp_path: Path) -> None:
    change(create(tmp_path / "x"), "DELETE FROM meta WHERE key IN ('settings_checksum', 'record_checksums')")
    with Index.open(tmp_path / "x") as index:
        assert index.verify().documents == 2
    change(tmp_path / "x", "UPDATE meta SET value = '{' WHERE key = 'keep_vectors'")
    with pytest.raises(IndexDamagedError, match="the setting 'keep_vectors' is damaged"):
        Index.open(tmp_path / "x")


@pytest.mark.parametrize("metadata", ["{", "[]", b"\xff\xfe", ""])
def test_damaged_metadata_is_an_error_of_the_index(tmp_path: Path, metadata: str | bytes) -> None:
    path = create(tmp_path / "x")
    change(path, "UPDATE documents SET metadata = CAST(? AS TEXT) WHERE id = 'id1'", metadata)
    with Index.open(path, read_only=True) as index:
        with pytest.raises(IndexDamagedError, match=r"restore it from a backup"):
            index.get("id1")
        with pytest.raises(IndexDamagedError, match=r"restore it from a backup"):
            index.verify()


@pytest.mark.parametrize("stored", ["{", "[]", "{}{}", '"a"', "", 5, None])
def test_damaged_metadata_is_an_error_that_names_the_document(stored: Any) -> None:
    with pytest.raises(IndexDamagedError, match="the metadata of document 'd1' is damaged"):
        decoded_metadata(stored, Path("catalog.sqlite"), "d1")


@pytest.mark.parametrize("stored", ["{}", ' {"a": [1]}\n'])
def test_metadata_may_have_white_space_around_it(stored: str) -> None:
    assert decoded_metadata(stored, Path("catalog.sqlite"), "d1") == json.loads(stored)
