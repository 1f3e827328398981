"""Damaged files: refused, reported by `verify`, and never copied into new ones."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock
from warnings import catch_warnings, simplefilter

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.small_engine import THRESHOLDS

from serotine import Index
from serotine.errors import IndexDamagedError, MaintenanceWarning, NotAnIndexError, SerotineError
from serotine.index.files import CHECKPOINT_FILE, SEGMENT_FOLDER
from serotine.index.growth import codebook_training, kmeans
from serotine.index.store import connection, sqlite_errors, writer_lock
from serotine.ingest import Ingest

DIM = 8


def flip(file: Path, position: int) -> None:
    """Change one bit."""
    data = bytearray(file.read_bytes())
    data[position] ^= 4
    file.write_bytes(data)


def grow(index: Index, prefix: str, documents: int) -> None:
    rng = np.random.default_rng([documents, len(prefix)])
    index.add(
        ids=[f"{prefix}{i}" for i in range(documents)],
        vectors=[rng.standard_normal((4, DIM)).astype(np.float16) for _ in range(documents)],
    )


@pytest.mark.parametrize("kind", ["vectors", "codes", "codebook"])
def test_maintenance_copies_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)
    path = tmp_path / "x"
    with Index.create(path, dim=DIM, keep_vectors=kind == "vectors") as index:
        grow(index, "a", 10)
        (damaged,) = (path / SEGMENT_FOLDER).glob(f"*.{kind}")
        flip(damaged, 200)
        warned: list[str] = []
        before = damaged.read_bytes()
        for number in range(6):
            with catch_warnings(record=True) as caught:
                simplefilter("always", MaintenanceWarning)
                grow(index, "b" * (number + 1), 3)
            warned += [str(warning.message) for warning in caught]
        assert warned
        assert f"the checksum of {damaged.name} does not match" in warned[0]
        index.delete(["a1"])
        with pytest.raises(IndexDamagedError, match=f"{damaged.name} .*stay as they are and are not merged"):
            index.compact()
        # Nothing is lost: the documents are there, and so is the damage, which is still reported.
        assert len(index) == 9 + 6 * 3
        assert damaged.read_bytes() == before
        with pytest.raises(IndexDamagedError, match=f"checksum of {damaged.name}"):
            index.verify()


# SIGBUS cannot be caught: a process of its own.
CUT = """
import os, sys
import numpy as np
from pathlib import Path
from serotine import Index
from serotine.errors import IndexDamagedError
with Index.open(sys.argv[1], read_only=sys.argv[2] == "read") as index:
    for file in (Path(sys.argv[1]) / "segments").iterdir():
        os.truncate(file, 64)
    try:
        match sys.argv[2]:
            case "compact":
                index.compact()
            case "delete and compact":
                index.delete(["0-1"])
                index.compact()
            case "delete":
                index.delete(["0-1"])
            case "update":
                index.update_metadata(["0-1"], [{"year": 1990}])
        index.verify()
    except IndexDamagedError as error:
        print("reported", str(error).count("does not match"))
"""


@pytest.mark.parametrize("action", ["read", "compact", "delete", "delete and compact", "update"])
def test_a_file_cut_while_it_is_open_does_not_end_the_process(tmp_path: Path, action: str) -> None:
    path = tmp_path / "x"
    with Index.create(path, dim=DIM) as index:
        for number in range(2):
            index.add(ids=[f"{number}-{i}" for i in range(4000)], vectors=[np.ones((1, DIM))] * 4000)
    run = subprocess.run([sys.executable, "-c", CUT, str(path), action], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "reported 2\n"), run.stderr


def with_footer(data: bytes, footer: bytes) -> bytes:
    """Replace the footer of a file of arrays."""
    (start,) = struct.unpack_from("<Q", data, 24)
    return data[:32] + struct.pack("<Q", len(footer)) + data[40:start] + footer


@pytest.mark.parametrize("damage", ["cut", "flip", "junk", "empty", "footer", "deep", "list", "shape"])
def test_a_damaged_checkpoint_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)
    checkpoint = tmp_path / "x" / SEGMENT_FOLDER / CHECKPOINT_FILE
    saved = bytearray()

    class KilledError(Exception):
        pass

    advance = kmeans.advance

    def interrupted(*arguments: object) -> object:
        saved[:] = checkpoint.read_bytes()
        raise KilledError

    with Index.create(tmp_path / "x", dim=DIM, encoder=None) as index:
        monkeypatch.setattr(kmeans, "advance", interrupted)
        with pytest.raises(KilledError):
            grow(index, "a", 12)
        monkeypatch.setattr(kmeans, "advance", advance)
        data = bytes(saved)
        changed = bytearray(data)
        changed[80] ^= 255
        checkpoint.write_bytes(
            {
                "cut": data[: len(data) // 2],
                "flip": bytes(changed),
                "junk": os.urandom(len(data)),
                "empty": b"",
                "footer": data.replace(b'"step"', b'"stop"'),
                "deep": with_footer(data, b'{"arrays": {}, "attributes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
                "list": with_footer(data, b'{"arrays": [], "attributes": {}}'),
                # The bytes are those of its checksum, in another shape.
                "shape": data.replace(b"[12, 8]", b"[8, 12]"),
            }[damage]
        )
        grow(index, "b", 3)
        assert not checkpoint.exists()
        assert index.stats().codebooks == 1
        assert index.verify().documents == 15


def test_missing_permissions_are_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    with Index.create(path, dim=DIM) as index:
        grow(index, "a", 3)
    denied = PermissionError(errno.EACCES, "Permission denied")
    with monkeypatch.context() as patch:
        patch.setattr(writer_lock, "_lock_folder", Mock(side_effect=denied))
        with pytest.raises(
            SerotineError, match=r"cannot be changed \(Permission denied\); .* open the index read-only"
        ):
            Index.open(path)
    with monkeypatch.context() as patch:
        patch.setattr(np, "memmap", Mock(side_effect=denied))
        with pytest.raises(
            SerotineError, match=r"vectors: cannot be read \(Permission denied\); check its permissions"
        ):
            Index.open(path, read_only=True)
    # Neither attempt left the lock behind.
    Index.open(path).close()


@pytest.mark.parametrize("junk", ["{", "[1]", "null", '{"a":' * 2000])
@pytest.mark.parametrize("column", ["reading", "report"])
def test_damaged_records_of_files_are_refused_in_words(tmp_path: Path, column: str, junk: str) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.jsonl").write_text('{"text": "a bat"}\n{"text": "a fox"}\n')
    with Index.create(tmp_path / "x", encoder=WordEncoder(DIM)) as index:
        Ingest([tmp_path / "files"], index.encoder).apply(index)
    value = f"{DIM} {junk}" if column == "reading" else junk
    damage(tmp_path / "x", f"UPDATE sources SET {column} = ?", value)  # noqa: S608
    with (
        Index.open(tmp_path / "x", encoder=WordEncoder(DIM)) as index,
        pytest.raises(
            IndexDamagedError, match=r"a.jsonl: what the index recorded of this file is damaged \(.*\); rest"
        ),
    ):
        Ingest([tmp_path / "files"], index.encoder).apply(index)


@pytest.mark.parametrize("junk", ["{", "[1]", "", '{"document": "a"'])
def test_damaged_metadata_are_refused_in_words(tmp_path: Path, junk: str) -> None:
    with Index.create(tmp_path / "x", dim=DIM) as index:
        grow(index, "a#", 4)
    damage(tmp_path / "x", "UPDATE documents SET metadata = ? WHERE number = 2", junk)
    reads = (
        lambda index: index.get("a#1"),
        lambda index: list(index.documents()),
        lambda index: index.search(np.eye(DIM, dtype=np.float32), k=9),
        lambda index: index.sources.contents(["a#1"]),
        lambda index: index.verify(),
        lambda index: index.update_metadata(["a#1"], [{"n": 1}]),
        lambda index: index.search(np.eye(DIM, dtype=np.float32), where={"n": 1}) if junk != "[1]" else index.verify(),
    )
    with Index.open(tmp_path / "x") as index:
        for read in reads:
            with pytest.raises(IndexDamagedError, match=r"restore|repair"):
                read(index)


def damage(path: Path, statement: str, value: str) -> None:
    """Change the catalog behind the index's back."""
    connection = sqlite3.connect(path / "catalog.sqlite")
    with connection:
        connection.execute(statement, (value,))
    connection.close()


def forget_checksums(path: Path) -> None:
    """Leave the rows of segments and codebooks without checksums, as an earlier version did."""
    damage(path, "DELETE FROM meta WHERE key = ?", "record_checksums")


@pytest.mark.parametrize("mode", ["late", "hybrid"])
def test_a_document_that_segments_hold_twice_is_damage(tmp_path: Path, mode: str) -> None:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        for ids in (["a", "b"], ["c", "d"]):
            index.add(ids=ids, texts=["bat", "owl"])
    first, second = sorted((tmp_path / "x" / SEGMENT_FOLDER).iterdir(), key=lambda file: file.stat().st_mtime_ns)
    # Numbers rise by one, from wherever they start.
    start = next(n for n in range(10) if np.arange(n, n + 2).tobytes() in first.read_bytes())
    numbers = [np.arange(n, n + 2).tobytes() for n in (start, start + 2)]
    content = second.read_bytes()
    assert content.count(numbers[1]) == 1
    second.write_bytes(content.replace(numbers[1], numbers[0]))
    with Index.open(tmp_path / "x", read_only=True, encoder=WordEncoder()) as index:
        with pytest.raises(IndexDamagedError, match="a document is in segments more than once; restore"):
            index.search("bat owl", mode=mode)
        with pytest.raises(IndexDamagedError):
            index.verify()


@pytest.mark.parametrize("column", ["id", "text", "metadata"])
def test_a_text_that_became_a_blob_is_damage(tmp_path: Path, column: str) -> None:
    with Index.create(tmp_path / "x", encoder=WordEncoder(), filterable={"n": int}) as index:
        index.add(ids=["a", "b"], texts=["bat", "owl"], metadata=[{"n": 1}, {"n": 2}])
    # One bit of a row's header is the difference.
    change = f"UPDATE documents SET {column} = CAST({column} AS BLOB) WHERE number = ?"  # noqa: S608
    damage(tmp_path / "x", change, "2")
    with Index.open(tmp_path / "x", read_only=True, encoder=WordEncoder()) as index:
        for read in (lambda: list(index.documents()), lambda: index.search("owl"), index.verify):
            with pytest.raises(IndexDamagedError, match=r"restore|repair"):
                read()
    report = Index.salvage(tmp_path / "x", tmp_path / "saved")
    assert (report.documents, len(report.lost)) == (1, 1)
    if column != "id":
        with Index.open(tmp_path / "x", encoder=WordEncoder()) as index:
            assert index.delete(["b"]) == 1
            assert [hit.id for hit in index.search("bat owl", k=9)] == ["a"]


def test_every_changed_bit_of_the_word_index_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    rng = random.Random(3)
    words = ("bat", "owl", "moth", "night", "cave", "river")
    # So many that the word index has several pages in a segment.
    numbers = [" ".join(str(rng.randrange(10**6)) for _ in range(90)) for _ in range(36)]
    with Index.create(path, encoder=WordEncoder()) as index:
        for start in range(0, 36, 12):
            texts = [f"{words[i % 6]} {words[i % 5]} {numbers[i]}" for i in range(start, start + 12)]
            index.add(ids=[f"d{start + i}" for i in range(12)], texts=texts)
    queries = [*words, *" ".join(numbers).split()[::40]]

    def answers() -> list[list[tuple[str, float]]]:
        with Index.open(path, read_only=True, encoder=WordEncoder()) as index:
            return [[(hit.id, hit.score) for hit in index.search(query, k=40, mode="bm25")] for query in queries]

    expected = answers()
    connection = sqlite3.connect(path / "catalog.sqlite")
    blocks = connection.execute("SELECT id, block FROM passages_fts_data WHERE id > 10 ORDER BY id").fetchall()
    found = 0
    for number in range(60):
        rowid, block = blocks[number % len(blocks)]
        changed = bytearray(block)
        # The end of a page has the offsets of its words, which only lookups use.
        position = rng.randrange(len(block) - 40 if number % 2 else 0, len(block))
        changed[position] ^= 1 << rng.randrange(8)
        with connection:
            connection.execute("UPDATE passages_fts_data SET block = ? WHERE id = ?", (bytes(changed), rowid))
        try:
            is_same = answers() == expected
        except IndexDamagedError:
            is_same = False
        if not is_same:
            found += 1
            with Index.open(path, read_only=True, encoder=WordEncoder()) as index, pytest.raises(IndexDamagedError):
                index.verify()
        with connection:
            connection.execute("UPDATE passages_fts_data SET block = ? WHERE id = ?", (block, rowid))
    assert found > 20
    with connection:
        connection.execute("DELETE FROM passages_fts_idx")
    connection.close()
    with (
        Index.open(path, read_only=True, encoder=WordEncoder()) as index,
        pytest.raises(IndexDamagedError, match="the word index does not find all words"),
    ):
        index.verify()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"vectors_checksum", b"vectors_checksem"),
        (b"porter", b"porper"),
        (b"remove_diacritics", b"remo\xf6e_diacritics"),
        (b"TABLE documents", b"TABLE docume\xeets"),
        (b"tokens INTEGER", b"token\xf3 INTEGER"),
    ],
)
def test_a_changed_bit_of_the_schema_is_damage(tmp_path: Path, before: bytes, after: bytes) -> None:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        index.add(ids=["a"], texts=["bat"])
    catalog = tmp_path / "x" / "catalog.sqlite"
    data = catalog.read_bytes()
    assert before in data
    catalog.write_bytes(data.replace(before, after))
    with pytest.raises((IndexDamagedError, NotAnIndexError)):
        _read(tmp_path / "x")


def _read(path: Path) -> None:
    with Index.open(path, read_only=True, encoder=WordEncoder()) as index:
        index.search("bat", mode="bm25")
        index.verify()


def test_a_damaged_number_of_commits_is_said_in_words(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", dim=DIM) as index:
        grow(index, "a", 3)
    damage(tmp_path / "x", "UPDATE meta SET value = ? WHERE key = 'commits'", "q")
    for read_only in (True, False):
        with pytest.raises(IndexDamagedError, match=r"the number of commits is damaged \(.*'q'\); restore"):
            Index.open(tmp_path / "x", read_only=read_only)


def test_segments_without_the_vectors_that_an_index_stores_are_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)
    with Index.create(tmp_path / "x", dim=DIM) as index:
        grow(index, "a", 40)
    change = (
        "UPDATE segments SET vectors_file = NULL, vectors_bytes = NULL, vectors_checksum = NULL WHERE codes_file <> ?"
    )
    forget_checksums(tmp_path / "x")
    damage(tmp_path / "x", change, "")
    with (
        Index.open(tmp_path / "x", read_only=True) as index,
        pytest.raises(IndexDamagedError, match="segments have no file of vectors"),
    ):
        index.verify()


def test_no_codebook_is_trained_from_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)
    path = tmp_path / "x"
    with Index.create(path, dim=DIM) as index:
        grow(index, "a", 40)
        trained = Mock(side_effect=AssertionError)
        monkeypatch.setattr(codebook_training, "sample", trained)
        for file in (path / SEGMENT_FOLDER).glob("*.vectors"):
            flip(file, 200)
        forget_checksums(path)
        damage(path, "UPDATE codebooks SET tokens = ?", "1")
        with pytest.raises(IndexDamagedError, match="these files stay as they are"):
            index.compact()


def test_an_index_in_a_folder_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Index.create(tmp_path / "x", dim=DIM) as index:
        grow(index, "a", 3)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with monkeypatch.context() as patch:
        # As SQLite answers to "mode=rw" on a read-only file system.
        patch.setattr(connection, "read_settings", Mock(side_effect=sqlite3.OperationalError("unable to open")))
        with pytest.raises(
            SerotineError, match=r"cannot be changed \(.*read-only file system\); .* the index read-only"
        ):
            Index.open(tmp_path / "x")
    assert len(Index.open(tmp_path / "x", read_only=True)) == 3


def test_what_sqlite_finds_in_a_catalog_is_one_line() -> None:
    # As of a catalog with a page of zeros: a row of many lines, and rows of one.
    rows = [
        "*** in database main ***\nOn tree page 24 cell 12: Rowid 0 out of order\nOn tree page 25: x",
        "row 7 missing",
    ]

    def problem(*rows: str) -> str | None:
        return sqlite_errors.structure_problem(Mock(execute=lambda _: [(row,) for row in rows]))

    assert problem(*rows) == "On tree page 24 cell 12: Rowid 0 out of order (and 2 more)"
    assert problem(*rows[1:]) == "row 7 missing"
    assert problem("ok") is None
