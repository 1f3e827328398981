"""The catalog's small tables have checksums: a changed bit is refused, found by `verify`, or changes no answer."""

from __future__ import annotations

import random
import sqlite3
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.small_engine import THRESHOLDS

from serotine import Index
from serotine.errors import IndexDamagedError, NotAnIndexError
from serotine.index.files import SEGMENT_FOLDER

TABLES = ("segments", "codebooks", "meta", "sqlite_sequence")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with segments of two codebooks and of none, whose numbers are those of a stream that goes on."""
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)
    with Index.create(tmp_path / "x", encoder=WordEncoder(), keep_vectors=False) as index:
        index.add_batches(batches(0, 100))
        with pytest.raises(KeyboardInterrupt):
            index.add_batches(interrupted(), expected_documents=900)
        index.add(ids=["last"], texts=["owl one"])
    return tmp_path / "x"


def batches(first: int, end: int) -> Iterator[dict[str, Any]]:
    for start in range(first, end, 20):
        numbers = range(start, start + 20)
        yield {"ids": [f"d{i}" for i in numbers], "texts": [f"seen bat {i} {i * i}" for i in numbers]}


def interrupted() -> Iterator[dict[str, Any]]:
    yield from batches(100, 120)
    raise KeyboardInterrupt


def answers(path: Path) -> Any:
    with Index.open(path, read_only=True, encoder=WordEncoder()) as index:
        queries = ("seen bat 4", "owl", "bat 9 81 120")
        return index.ids(), [[(hit.id, hit.score) for hit in index.search(query, k=9)] for query in queries]


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path / "catalog.sqlite", isolation_level=None)) as connection:
        connection.execute(statement)


def test_every_byte_of_the_small_tables_counts(path: Path) -> None:
    expected = answers(path)
    catalog = path / "catalog.sqlite"
    # Leaves no bytes of removed rows.
    change(path, "VACUUM")
    original = catalog.read_bytes()
    rng = random.Random(5)
    outcomes: Counter[str] = Counter()
    for position in list(rows_of(catalog, original))[::2]:
        changed = bytearray(original)
        changed[position] ^= 1 << rng.randrange(8)
        catalog.write_bytes(changed)
        outcomes[outcome(path, expected)] += 1
    assert set(outcomes) <= {"refused", "found by verify()", "same answers"}, outcomes
    # What only counts commits, and the name of the row of the checksums, may change.
    assert outcomes["refused"] > 10 * outcomes["same answers"], outcomes


def outcome(path: Path, expected: Any) -> str:
    try:
        found = answers(path)
    except (IndexDamagedError, NotAnIndexError):
        return "refused"
    try:
        with Index.open(path, read_only=True, encoder=WordEncoder()) as index:
            index.verify()
    except IndexDamagedError:
        return "found by verify()"
    return "same answers" if found == expected else "other answers"


def rows_of(catalog: Path, data: bytes) -> Iterator[int]:
    """Yield the positions of the bytes of all rows of `TABLES`, which fit a page each."""
    (size,) = struct.unpack_from(">H", data, 16)
    with closing(sqlite3.connect(catalog)) as connection:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"))
    for table in TABLES:
        start = (roots[table] - 1) * size
        kind, cells, content = struct.unpack_from(">B2xHH", data, start)
        assert kind in (10, 13), f"{table} has several pages"
        assert cells, table
        yield from range(start + content, start + size)


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("UPDATE segments SET codebook = 3 - codebook WHERE segment = {0}", "segment {0}"),
        ("UPDATE segments SET vectors_file = codes_file, codes_file = NULL WHERE segment = {0}", "segment {0}"),
        ("UPDATE segments SET segment = 999 WHERE segment = {0}", "segment {0}, segment 999"),
        ("DELETE FROM segments WHERE segment = {0}", "segment {0}"),
        ("UPDATE codebooks SET tokens = tokens + 1 WHERE codebook = 2", "codebook 2"),
        ("UPDATE meta SET value = '4' WHERE key = 'expected_tokens'", "value 'expected_tokens'"),
        ("UPDATE meta SET value = '{{' WHERE key = 'record_checksums'", "value 'record_checksums'"),
        ("UPDATE sqlite_sequence SET seq = 3 WHERE name = 'documents'", "last number 'documents'"),
    ],
)
def test_changed_rows_are_named(path: Path, statement: str, rows: str) -> None:
    segment, _ = first_segment(path, 2)
    rows = rows.format(segment)
    with Index.open(path, encoder=WordEncoder()) as reader:
        change(path, statement.format(segment))
        # A writer that has read the rows before does not give the changed ones a checksum.
        for use in (reader.verify, lambda: reader.add(ids=["new"], texts=["bat"]), lambda: reader.search("bat")):
            with pytest.raises(IndexDamagedError, match=rows):
                use()
    pattern = f"catalog.sqlite: {rows}: not what was written, by their checksums; restore it"
    files = sorted((path / SEGMENT_FOLDER).iterdir())
    with pytest.raises(IndexDamagedError, match=pattern):
        Index.open(path)
    # Not even those that the damaged rows no longer name are removed.
    assert sorted((path / SEGMENT_FOLDER).iterdir()) == files
    assert Index.salvage(path, path.with_name("saved")).damaged


def first_segment(path: Path, codebook: int) -> tuple[int, int]:
    """Return the number of a segment with codes of a codebook, and of its live documents."""
    with Index.open(path, read_only=True, encoder=WordEncoder()) as index:
        views = index._store.snapshot().segments.items()
        return next((n, view.documents) for n, view in views if view.segment.record.codebook == codebook)


def test_a_setting_that_became_a_blob_is_damage(path: Path) -> None:
    change(path, "UPDATE meta SET value = CAST(value AS BLOB) WHERE key = 'nbits'")
    with pytest.raises(IndexDamagedError, match="a setting is no text; restore"):
        Index.open(path)


def test_codes_of_an_unknown_codebook_are_not_saved(path: Path) -> None:
    documents = len(answers(path)[0])
    segment, lost = first_segment(path, 1)
    change(path, f"UPDATE segments SET codebook = 2 WHERE segment = {segment}")  # noqa: S608
    report = Index.salvage(path, path.with_name("saved"))
    assert (report.documents, len(report.lost)) == (documents - lost, lost)


def test_rows_that_an_earlier_version_has_changed_have_no_checksums(path: Path) -> None:
    change(path, "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'commits'")
    change(path, "UPDATE meta SET value = '0' WHERE key = 'expected_tokens'")
    with Index.open(path, encoder=WordEncoder()) as index:
        index.verify()
        index.delete(["d3"])
    change(path, "UPDATE meta SET value = '7' WHERE key = 'expected_tokens'")
    with pytest.raises(IndexDamagedError, match="value 'expected_tokens'"):
        Index.open(path)
    change(path, "DELETE FROM meta WHERE key = 'record_checksums'")
    with Index.open(path, encoder=WordEncoder()) as index:
        assert np.isfinite(index.search("bat", k=1)[0].score)
