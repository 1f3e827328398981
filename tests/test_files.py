"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from pathlib import Path
from typing import NoReturn
from unittest.mock import Mock

import pytest

from serotine import Index, files
from serotine.files import atomic_file, replace_folder, sha256, write_atomically
from serotine.index.files import durable


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_created_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "ä")
    assert path.read_bytes() == "ä".encode()
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == ["a.json"]


def test_the_cache_of_the_disk_is_flushed_where_fsync_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = Mock(F_FULLFSYNC=51)
    monkeypatch.setattr(files, "fcntl", system)
    fsync = Mock(side_effect=os.fsync)
    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(tmp_path / "a", "one")
    assert [call.args[1] for call in system.fcntl.call_args_list] == [51]
    # The folder only, which has no other way.
    assert fsync.call_count == 1
    system.fcntl.side_effect = OSError(errno.ENOTSUP, "not on this file system")
    write_atomically(tmp_path / "a", "two")
    assert fsync.call_count == 3
    assert (tmp_path / "a").read_text("utf-8") == "two"


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_file(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_the_old_file_is_readable_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_file_is_written_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "a.json").write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "target" / "a.json")
    write_atomically(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "target" / "a.json").read_text() == "new"
    assert names(tmp_path / "target") == ["a.json"]


def test_a_file_and_its_folder_are_fsynced_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    synced: list[tuple[bool, str]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append((Path(f"/proc/self/fd/{descriptor}").is_dir(), path.read_text()))

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(path, "new")
    assert synced == [(False, "old"), (True, "new")]


def test_the_longest_valid_file_name(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 127)
    write_atomically(path, b"1")
    assert path.read_bytes() == b"1"


def test_a_folder_is_created_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "model"
    for content in ("one", "two"):
        with replace_folder(folder) as building:
            assert names(building) == []
            (building / "sub").mkdir()
            (building / "sub" / f"{content}.txt").write_text(content)
        assert names(folder) == ["sub"]
        assert names(folder / "sub") == [f"{content}.txt"]
        assert names(folder.parent) == ["model"]


@pytest.mark.parametrize("exists", [True, False])
def test_an_exception_leaves_the_old_folder(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "model"
    if exists:
        folder.mkdir()
        (folder / "old.txt").write_text("old")

    def failing() -> None:
        with replace_folder(folder) as building:
            (building / "new.txt").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert names(tmp_path) == (["model"] if exists else [])
    assert not exists or names(folder) == ["old.txt"]


def test_a_failed_rename_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if target == folder and (self / "new.txt").exists():
            raise PermissionError("busy")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(PermissionError, match="busy"), replace_folder(folder) as building:
        (building / "new.txt").write_text("new")
    assert names(folder) == ["old.txt"]
    assert names(tmp_path) == ["model"]


def test_a_folder_is_replaced_through_a_symlink(tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    link = tmp_path / "link"
    link.symlink_to(folder, target_is_directory=True)
    with replace_folder(link) as building:
        (building / "new.txt").write_text("new")
    assert link.is_symlink()
    assert names(folder) == ["new.txt"]
    assert names(tmp_path) == ["link", "real"]


def test_a_folder_does_not_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file")
    with pytest.raises(NotADirectoryError), replace_folder(tmp_path / "model"):
        pass
    assert (tmp_path / "model").read_text() == "a file"
    assert names(tmp_path) == ["model"]


def test_every_file_of_a_folder_is_fsynced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    with replace_folder(tmp_path / "model") as building:
        (building / "sub").mkdir()
        (building / "a.txt").write_text("a")
        (building / "sub" / "b.txt").write_text("b")
    folder = tmp_path / "model"
    everything = [folder / "a.txt", folder / "sub" / "b.txt", folder / "sub", folder, tmp_path]
    assert {path.stat().st_ino for path in everything} <= set(synced)


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"serotine" * 100_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"serotine" * 100_000).hexdigest()


def test_errors_of_the_system_name_the_file_that_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    full = f"No space left on device; the disk is full: free space, then try again: '{path}'"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(OSError, match=re.escape(full)):
            write_atomically(path, "{}")

    def refuse(temporary: Path, *_: object, **__: object) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only", str(temporary))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(OSError, match=re.escape(f"Read-only: '{path}'")):
            write_atomically(path, "{}")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        folder = tmp_path / "folder"
        with pytest.raises(OSError, match=re.escape(f"Read-only: '{folder}'")), replace_folder(folder):
            pass
    with monkeypatch.context() as patch:
        patch.setattr(durable, "rename", refuse)
        with pytest.raises(OSError, match=re.escape(f"Read-only: '{tmp_path / 'index'}'")):
            Index.create(tmp_path / "index", dim=2)
    with pytest.raises(FileNotFoundError, match="'other'"), replace_folder(folder):
        Path("other").read_bytes()
    assert list(tmp_path.iterdir()) == []
