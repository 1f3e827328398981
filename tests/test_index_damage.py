"""Damaged files: refused, reported by `verify`, and never copied into new ones."""

from __future__ import annotations

import errno
import os
import sqlite3
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
from serotine.errors import IndexDamagedError, MaintenanceWarning, SerotineError
from serotine.index.files import CHECKPOINT_FILE, SEGMENT_FOLDER
from serotine.index.growth import kmeans
from serotine.index.store import writer_lock
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
        index.verify() if sys.argv[2] == "read" else index.compact()
    except IndexDamagedError as error:
        print("reported", str(error).count("does not match"))
"""


@pytest.mark.parametrize("action", ["read", "compact"])
def test_a_file_cut_while_it_is_open_does_not_end_the_process(tmp_path: Path, action: str) -> None:
    path = tmp_path / "x"
    with Index.create(path, dim=DIM) as index:
        for number in range(2):
            index.add(ids=[f"{number}-{i}" for i in range(4000)], vectors=[np.ones((1, DIM))] * 4000)
    run = subprocess.run([sys.executable, "-c", CUT, str(path), action], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "reported 2\n"), run.stderr


@pytest.mark.parametrize("damage", ["cut", "flip", "junk", "empty", "footer"])
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
