"""FIFOs, folders, sockets and symlinks in place of the files of an index, or nothing: refused at once, and named."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.small_engine import THRESHOLDS

from serotine import Index
from serotine.errors import IndexDamagedError, InputFileError, RepositoryError, SerotineError
from serotine.index.files import SEGMENT_FOLDER
from serotine.index.store import reserve
from serotine.index.store.connection import CATALOG_FILE, FILES_BESIDE
from serotine.index.store.reserve import RESERVE_FILE
from serotine.ingest import update

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs need POSIX")
SECONDS = 20


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Fail a test that waits for the other end of a FIFO."""

    def late(_number: int, _frame: object) -> None:
        raise AssertionError("waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Index.create(tmp_path / "x", dim=8) as index:
        index.add(ids=["a", "b"], vectors=[np.eye(8)] * 2)
    return tmp_path / "x"


def replace(file: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "symlink":
        # To what it was.
        file.rename(file.parent.parent / f"{file.name}-elsewhere")
        file.symlink_to(file.parent.parent / f"{file.name}-elsewhere")
        return
    file.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        # Short: the address of a socket has about a hundred bytes.
        monkeypatch.chdir(file.parent)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(file.name)


def refused(path: Path, file: Path) -> None:
    for read_only in (True, False):
        with pytest.raises(IndexDamagedError, match=f"{file}: not a regular file; restore it"):
            Index.open(path, read_only=read_only)


@pytest.mark.parametrize("kind", ["fifo", "folder", "socket"])
def test_files_beside_the_segments(path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    for name in FILES_BESIDE:
        content = (path / name).read_bytes() if (path / name).exists() else None
        replace(path / name, kind, monkeypatch)
        refused(path, path / name)
        (path / name).rmdir() if kind == "folder" else (path / name).unlink()
        if content is not None:
            (path / name).write_bytes(content)
    with Index.open(path) as index:
        index.verify()


@pytest.mark.parametrize("kind", ["fifo", "folder", "socket", "symlink"])
@pytest.mark.parametrize("file", ["vectors", "codes", "codebook"])
def test_segments_and_codebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, file: str) -> None:
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)
    path = tmp_path / "x"
    with Index.create(path, dim=8, keep_vectors=file == "vectors") as index:
        index.add(ids=[f"d{i}" for i in range(20)], vectors=[np.eye(8)] * 20)
    damaged = next((path / SEGMENT_FOLDER).glob(f"*.{file}"))
    with Index.open(path, read_only=True) as index:
        replace(damaged, kind, monkeypatch)
        with pytest.raises(IndexDamagedError, match=damaged.name):
            index.verify()
        with pytest.raises(IndexDamagedError, match=damaged.name):
            index.snapshot(tmp_path / "copy")
        with pytest.raises(IndexDamagedError, match=damaged.name):
            index.snapshot(f"file://{tmp_path}/repository")
    refused(path, damaged)
    assert any(damaged.name in problem for problem in Index.salvage(path, tmp_path / "saved").damaged)


def test_a_symlink_beside_the_segments(path: Path, tmp_path: Path) -> None:
    for name in FILES_BESIDE:
        target = tmp_path / f"{name}-elsewhere"
        target.write_bytes((path / name).read_bytes() if (path / name).exists() else b"precious")
        content = target.read_bytes()
        (path / name).unlink(missing_ok=True)
        (path / name).symlink_to(target)
        for read_only in (True, False):
            with pytest.raises(SerotineError, match=f"{path / name}: must not be a symlink; put the file itself"):
                Index.open(path, read_only=read_only)
        assert target.read_bytes() == content
        (path / name).unlink()
        if content != b"precious":
            (path / name).write_bytes(content)


def test_a_symlink_in_place_of_the_segments(path: Path, tmp_path: Path) -> None:
    (path / SEGMENT_FOLDER).rename(tmp_path / "elsewhere")
    (path / SEGMENT_FOLDER).symlink_to(tmp_path / "elsewhere")
    for read_only in (True, False):
        with pytest.raises(SerotineError, match=f"{path / SEGMENT_FOLDER}: must not be a symlink; put the file itself"):
            Index.open(path, read_only=read_only)


def test_a_file_in_place_of_the_segments(path: Path, tmp_path: Path) -> None:
    (path / SEGMENT_FOLDER).rename(tmp_path / "elsewhere")
    (path / SEGMENT_FOLDER).write_bytes(b"")
    for read_only, message in ((True, "the file is missing"), (False, "must be a folder, got a file")):
        with pytest.raises(IndexDamagedError, match=message):
            Index.open(path, read_only=read_only)


@pytest.mark.parametrize("kind", ["fifo", "symlink"])
def test_files_that_change_while_an_index_is_open(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    # A disk of 8 MB that is half full, on which an index holds a reserve.
    monkeypatch.setattr(reserve.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(8 << 20, 4 << 20, 4 << 20))
    with Index.open(path) as index:
        for name in (f"{CATALOG_FILE}-commits", RESERVE_FILE):
            (path / name).unlink(missing_ok=True)
            if kind == "fifo":
                os.mkfifo(path / name)
            else:
                (path / name).symlink_to(victim)
        index.add(ids=["c"], vectors=[np.eye(8)])
        index.delete(["a"])
        index.compact()
        index.verify()
        assert sorted(index.ids()) == ["b", "c"]
        # Replaced where it is needed.
        assert (path / RESERVE_FILE).lstat().st_size >= 1 << 20
    assert victim.read_bytes() == b"precious"


def test_a_note_without_end_is_not_read(path: Path) -> None:
    with Index.open(path) as index:
        index.add(ids=["c"], vectors=[np.eye(8)])
        with (path / f"{CATALOG_FILE}-commits").open("r+b") as note:
            note.truncate(1 << 40)
        index.verify()


def test_a_linked_folder_is_an_index(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    for number in range(2):
        with Index.open(link) as index:
            index.add(ids=[f"c{number}"], vectors=[np.eye(8)])
            index.verify()
    assert len(Index.open(path, read_only=True)) == 4


def test_a_folder_named_like_a_stray_file_stays(path: Path) -> None:
    stray = path / SEGMENT_FOLDER / f"{'0' * 32}.vectors"
    stray.mkdir()
    with Index.open(path) as index:
        assert index.verify().stray_files == ()
        index.add(ids=["c"], vectors=[np.eye(8)])
    assert stray.is_dir()


def test_objects_of_a_repository(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}/repository"
    with Index.open(path) as index:
        index.snapshot(url)
    files = [file for file in (tmp_path / "repository").rglob("*") if file.is_file()]
    assert len(files) > 1
    for number, file in enumerate(files):
        content = file.read_bytes()
        replace(file, "fifo", monkeypatch)
        with pytest.raises((RepositoryError, IndexDamagedError), match="repository"):
            Index.restore(url, tmp_path / f"restored{number}")
        file.unlink()
        file.write_bytes(content)
    Index.restore(url, tmp_path / "restored")


def test_an_indexed_folder(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("bats eat moths")
    os.mkfifo(folder / "b.txt")
    with Index.create(tmp_path / "x", encoder=WordEncoder(16)) as index:
        report = update(index, [folder])
        assert (len(index), report.ignored.unreadable) == (1, 1)
        os.mkfifo(folder / ".gitignore")
        with pytest.raises(InputFileError, match=r"gitignore: cannot be read \(not a regular file\)"):
            update(index, [folder])


REMOVALS = {
    "segments": lambda path: shutil.rmtree(path / SEGMENT_FOLDER),
    "segments are a file": lambda path: (shutil.rmtree(path / SEGMENT_FOLDER), (path / SEGMENT_FOLDER).touch()),
    "catalog": lambda path: (path / "catalog.sqlite").unlink(),
    "index": lambda path: shutil.rmtree(path),
    "index is a file": lambda path: (shutil.rmtree(path), path.touch()),
}
CHANGES: dict[str, Callable[[Index], object]] = {
    "add": lambda index: index.add(["new"], vectors=[np.eye(2)]),
    "upsert": lambda index: index.add(["a"], vectors=[np.eye(2)], upsert=True),
    "delete": lambda index: index.delete(["a"]),
    "compact": lambda index: index.compact(),
    "verify": lambda index: index.verify(),
    "snapshot": lambda index: index.snapshot(index.path.parent / "copy"),
    "repository": lambda index: index.snapshot((index.path.parent / "repository").as_uri()),
}


@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_removed_under_a_writer_is_named(tmp_path: Path, removal: str, change: str) -> None:
    with Index.create(tmp_path / "x", dim=2) as index:
        index.add(["a", "b"], vectors=[np.eye(2)] * 2)
        REMOVALS[removal](index.path)
        if change == "delete" and "segments" in removal:
            # The catalog alone says what is deleted.
            CHANGES[change](index)
            return
        with pytest.raises(SerotineError) as refused:
            CHANGES[change](index)
        assert str(index.path) in str(refused.value)
