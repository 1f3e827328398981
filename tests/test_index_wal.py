"""Commits that are only in the WAL after a crash: used, and missed when the WAL is gone or was cut."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serotine import Index
from serotine.errors import IndexDamagedError, SerotineError

CRASH = """
import os, sys
import numpy as np
from serotine import Index

index = Index.open(sys.argv[1])
for id_ in "bcd":
    index.add(ids=[id_], vectors=[np.eye(2)])
os._exit(0)
"""


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """An index with one document in the database, and three in the WAL of a process that died."""
    path = tmp_path / "x"
    with Index.create(path, dim=2) as index:
        index.add(ids=["a"], vectors=[np.eye(2)])
    subprocess.run([sys.executable, "-c", CRASH, str(path)], check=True)
    assert wal(path).stat().st_size > 0
    return path


def wal(path: Path) -> Path:
    return path / "catalog.sqlite-wal"


def test_a_wal_is_read_and_a_closed_index_has_none(crashed: Path) -> None:
    with Index.open(crashed, read_only=True) as index:
        assert index.ids() == list("abcd")
    with Index.open(crashed) as index:
        assert index.ids() == list("abcd")
    assert not {"catalog.sqlite-wal", "catalog.sqlite-commits"} & {file.name for file in crashed.iterdir()}


DAMAGE = ("gone", "gone with its index", "empty", "cut", "flipped", "replaced")


def damaged(path: Path, damage: str) -> None:
    data = wal(path).read_bytes()
    if damage in ("gone", "gone with its index", "replaced"):
        wal(path).unlink()
    if damage == "gone with its index":
        (path / "catalog.sqlite-shm").unlink(missing_ok=True)
    changed = {"empty": b"", "cut": data[:-4120], "flipped": data[:60] + bytes([data[60] ^ 1]) + data[61:]}
    changed["replaced"] = changed["cut"]
    if damage in changed:
        wal(path).write_bytes(changed[damage])


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("damage", DAMAGE)
def test_commits_that_are_lost_with_the_wal_are_missed(crashed: Path, damage: str, read_only: bool) -> None:
    damaged(crashed, damage)
    with pytest.raises(IndexDamagedError, match=r"catalog.sqlite-wal: the last .*commits? (is|are) missing, because"):
        Index.open(crashed, read_only=read_only)
    # Again: the first refusal must not have made it look whole.
    with pytest.raises(IndexDamagedError, match="missing"):
        Index.open(crashed, read_only=read_only)
    report = Index.salvage(crashed, crashed.with_name("saved"))
    assert report.documents in (1, 2, 3)
    with Index.open(crashed.with_name("saved")) as index:
        assert index.ids() == list("abcd")[: report.documents]


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("damage", DAMAGE)
def test_an_open_index_is_verified_as_the_next_process_will_read_it(
    crashed: Path, damage: str, read_only: bool
) -> None:
    with Index.open(crashed, read_only=read_only) as index:
        assert index.verify().documents == 4
        damaged(crashed, damage)
        with pytest.raises(
            IndexDamagedError, match=r"catalog.sqlite-wal: the last .*commits? (is|are) missing, because"
        ):
            index.verify()


def test_every_frame_of_a_wal_is_checked(crashed: Path) -> None:
    data = wal(crashed).read_bytes()
    with Index.open(crashed, read_only=True) as index:
        # Of every frame one byte of its header, one of its page.
        for position in [offset for start in range(32, len(data), 4120) for offset in (start + 3, start + 4000)]:
            changed = bytearray(data)
            changed[position] ^= 0x40
            wal(crashed).write_bytes(changed)
            with pytest.raises(IndexDamagedError, match="missing"):
                index.verify()
        wal(crashed).write_bytes(data)
        index.verify()


# Verifying takes most of the time, and nearly all of what it finds is in the commits around the WAL's new beginning.
@pytest.mark.parametrize(("commits", "verified"), [(60, 8), pytest.param(60, 60, marks=pytest.mark.slow)])
def test_commits_are_complete_wherever_a_writer_is_with_its_wal(tmp_path: Path, commits: int, verified: int) -> None:
    path = tmp_path / "x"
    with Index.create(path, dim=2) as index, Index.open(path, read_only=True) as reader:
        sizes = []
        for number in range(commits):
            # Large texts: SQLite moves commits out of the WAL after 1,000 pages, and then begins it again.
            index.add(ids=[str(number)], texts=[f"{number} " * 20_000], vectors=[np.eye(2)])
            sizes.append(wal(path).stat().st_size)
            if number >= commits - verified:
                assert index.verify().documents == reader.verify().documents == number + 1
        assert sizes[-1] == sizes[-2], "the WAL was begun again"


def test_a_writer_moves_its_commits_out_of_the_wal_while_a_reader_is_open(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with Index.create(path, dim=2) as index, Index.open(path, read_only=True) as reader:
        index.add(ids=["a"], vectors=[np.eye(2)])
        assert reader.ids() == ["a"]
        index.close()
        # As a copy of the database alone would have it.
        shutil.copy(path / "catalog.sqlite", tmp_path / "copy.sqlite")
        connection = sqlite3.connect(tmp_path / "copy.sqlite")
        assert connection.execute("SELECT id FROM documents").fetchall() == [("a",)]
        connection.close()


def test_a_damaged_note_of_commits_refuses_nothing(crashed: Path) -> None:
    note = crashed / "catalog.sqlite-commits"
    for junk in (b"", b"9" * 30, note.read_bytes()[:-1], b"\xff" * 38):
        note.write_bytes(junk)
        with Index.open(crashed, read_only=True) as index:
            assert index.ids() == list("abcd")


def test_an_older_catalog_under_newer_commits_is_refused(crashed: Path) -> None:
    with Index.open(crashed) as index:
        shutil.copy(crashed / "catalog.sqlite", crashed.with_name("old.sqlite"))
        index.add(ids=["e"], vectors=[np.eye(2)])
        note = (crashed / "catalog.sqlite-commits").read_bytes()
    assert not (crashed / "catalog.sqlite-commits").exists()
    (crashed / "catalog.sqlite-commits").write_bytes(note)
    Index.open(crashed).close()
    (crashed / "catalog.sqlite-commits").write_bytes(note)
    crashed.with_name("old.sqlite").replace(crashed / "catalog.sqlite")
    with pytest.raises(SerotineError, match="missing"):
        Index.open(crashed)


READ = """
import sys
from serotine import Index
from serotine.errors import SerotineError

for read_only in (True, False):
    try:
        with Index.open(sys.argv[1], read_only=read_only) as index:
            print(index.ids(), index.verify().documents)
    except SerotineError as error:
        print(str(error).removeprefix(sys.argv[1]))
"""
MOUNTED = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c "$3" "$1"'


def read_only_folder(path: Path) -> list[str]:
    """Return what a process prints that reads an index which it cannot write."""
    command = [sys.executable, "-c", READ, str(path)]
    if os.geteuid() == 0:
        # Permissions do not stop root: a read-only mount, which ends with the process.
        command = ["unshare", "-m", "sh", "-c", MOUNTED, "sh", str(path), sys.executable, READ]
    modes = {file: file.stat().st_mode for file in (path, *path.rglob("*"))}
    for file, mode in modes.items():
        file.chmod(mode & ~0o222)
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    finally:
        for file, mode in modes.items():
            file.chmod(mode)
    if os.geteuid() == 0 and ("unshare" in run.stderr or "mount" in run.stderr):
        pytest.skip(f"no mounts here: {run.stderr.strip()}")
    assert run.stderr == ""
    return run.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")
def test_a_read_only_folder_is_read_or_said_to_need_one_opening(crashed: Path) -> None:
    # SQLite's shared memory is there: readers need not write it.
    reading, writing = read_only_folder(crashed)
    assert reading == "['a', 'b', 'c', 'd'] 4"
    assert writing.startswith(": cannot be changed (")
    (crashed / "catalog.sqlite-shm").unlink()
    fix = (
        "SQLite needs to write beside it to read them; open the index once where its folder is writable, or open a copy"
    )
    message = f"/catalog.sqlite-wal: holds commits of a writer that ended without closing the index, and {fix}"
    assert read_only_folder(crashed) == [message, message]
    Index.open(crashed).close()
    wal(crashed).write_bytes(b"")
    reading, _ = read_only_folder(crashed)
    assert reading == "['a', 'b', 'c', 'd'] 4"
