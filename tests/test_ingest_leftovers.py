"""What an index has of files that an update no longer sees is named, with the command that deletes it."""

from __future__ import annotations

import errno
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from helpers.cli_fake import FakeEncoder
from test_cli import Shell, shell

from serotine import Index
from serotine.errors import InputFileError
from serotine.ingest import Ingest, update

__all__ = ["shell"]


def create(shell: Shell, tmp_path: Path) -> Path:
    folder = tmp_path / "mv"
    folder.mkdir()
    (folder / "a.txt").write_text("Owls hear well.", encoding="utf-8")
    (folder / "b.txt").write_text("Bats fly late.", encoding="utf-8")
    shell("index", "mv", "-o", "mv.serotine")
    return folder


def test_a_moved_root_is_named_with_the_command_that_deletes_its_documents(shell: Shell, tmp_path: Path) -> None:
    create(shell, tmp_path).rename(tmp_path / "mv2")
    shell("index", "mv2", "-o", "mv.serotine")
    line = next(line for line in shell.err.splitlines() if "the same content" in line)
    assert line.startswith(f"warning: 2 of the new files have the same content as files of {tmp_path / 'mv'}, which no")
    assert "2 documents may be there twice" in line
    (tmp_path / "mv2" / "c.txt").write_bytes((tmp_path / "mv2" / "a.txt").read_bytes())
    report = shell.json("index", "mv2/c.txt", "-o", "mv.serotine", "--dry-run")
    assert report["copied"] == shell.json("index", "mv2/c.txt", "-o", "mv.serotine")["copied"]
    assert report["copied"] == {str(tmp_path / "mv" / "a.txt"): 1}
    shell("delete", "mv.serotine", "mv2/c.txt")
    (tmp_path / "mv2" / "c.txt").unlink()
    shell(*shlex.split(line.rpartition("ones: serotine ")[2]))
    assert shell.json("info", "mv.serotine")["documents"] == 2
    shell("index", "mv2", "-o", "mv.serotine")
    assert "the same content" not in shell.err


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def documents(shell: Shell) -> int:
    count: int = shell.json("info", "mv.serotine")["documents"]
    return count


def test_documents_of_an_emptied_folder_stay_until_that_is_confirmed(shell: Shell, tmp_path: Path) -> None:
    empty(create(shell, tmp_path))
    error = shell.fails("index", "mv", "-o", "mv.serotine")
    assert "mv: no files of known types in this folder; its 2 documents stay in the index; " in error
    assert error.endswith("if its files were removed on purpose, --allow-empty removes them there too\n")
    assert documents(shell) == 2
    dry = shell.json("index", "mv", "-o", "mv.serotine", "--allow-empty", "--dry-run")
    assert (dry["files"]["removed"], documents(shell)) == (2, 2)
    assert "files: 2 gone; 2 documents removed" in shell("index", "mv", "-o", "mv.serotine", "--allow-empty")
    assert documents(shell) == 0
    # A nightly run need not know whether the folder has files.
    assert shell.json("index", "mv", "-o", "mv.serotine", "--allow-empty")["removed"] == 0
    assert "stay" not in shell.fails("index", "mv", "-o", "mv.serotine")


@pytest.mark.parametrize("is_missing", [False, True])
def test_a_source_without_files_does_not_end_the_others(shell: Shell, tmp_path: Path, is_missing: bool) -> None:
    folder = create(shell, tmp_path)
    empty(folder)
    if is_missing:
        folder.rmdir()
    (tmp_path / "c.txt").write_text("Foxes dig.")
    command = ("index", "mv", "c.txt", "-o", "mv.serotine")
    report = shell.json(*command)
    assert (report["added"], report["removed"], documents(shell)) == (1, 0, 3)
    assert [skipped["file"] for skipped in report["skipped"]] == ["mv"]
    assert "its 2 documents stay in the index" in report["skipped"][0]["reason"]
    assert "1 skipped" in shell(*command, "--strict", status=1)
    assert shell.json(*command, "--allow-empty", "--strict")["removed"] == 2
    assert documents(shell) == 1


def test_a_mistyped_source_ends_the_command(shell: Shell, tmp_path: Path) -> None:
    create(shell, tmp_path)
    for options in ((), ("--allow-empty",)):
        assert "mw: no such file or folder" in shell.fails("index", "mv", "mw", "-o", "mv.serotine", *options)
    assert documents(shell) == 2


def test_sources_without_files_are_counted(shell: Shell, tmp_path: Path) -> None:
    empty(create(shell, tmp_path))
    (tmp_path / "new").mkdir()
    error = shell.fails("index", "mv", "new", "-o", "mv.serotine")
    assert "none of 2 sources can be read, the first: mv: no files of known types" in error


def test_a_new_index_of_an_empty_folder_has_to_be_confirmed(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mv").mkdir()
    assert "mv: no files of known types" in shell.fails("index", "mv", "-o", "mv.serotine")
    shell("index", "mv", "-o", "mv.serotine", "--allow-empty")
    assert documents(shell) == 0


@pytest.mark.parametrize("is_indexed", [False, True])
def test_an_unreadable_folder_is_one_warning(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_indexed: bool
) -> None:
    """Also with --allow-empty: its files may well exist."""
    folder = create(shell, tmp_path)
    (tmp_path / "c.txt").write_text("Foxes dig.")
    if not is_indexed:
        shell("delete", "mv.serotine", "mv/a.txt", "mv/b.txt")
    scandir = os.scandir

    def scan(path: Any) -> Any:
        if Path(path) == Path(folder.name):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("os.scandir", scan)
    assert "mv: cannot be read (Permission denied); check its permissions" in shell.fails(
        "index", "mv", "-o", "mv.serotine", "--allow-empty"
    )
    report = shell.json("index", "mv", "c.txt", "-o", "mv.serotine", "--allow-empty")
    kept = "; its 2 documents stay in the index" if is_indexed else ""
    reason = f"cannot be read (Permission denied); check its permissions{kept}"
    assert report["skipped"] == [{"file": "mv", "reason": reason}]
    assert (report["added"], report["removed"], report["files"]["removed"]) == (1, 0, 0)
    shell("index", "mv", "c.txt", "-o", "mv.serotine", "--strict", status=1)


def test_a_mistyped_pattern_advises_no_deletion(shell: Shell, tmp_path: Path) -> None:
    create(shell, tmp_path)
    error = shell.fails("index", "mv", "-o", "mv.serotine", "--include", "*.rts")
    assert "--include '*.rts' does not match any of its" in error
    assert "delete" not in error


@pytest.mark.parametrize("source", ["mv", "./mv", "mv/"])
def test_an_emptied_folder_is_known_under_any_spelling(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    empty(create(shell, tmp_path))
    monkeypatch.chdir(tmp_path)
    with Index.open("mv.serotine", encoder=FakeEncoder()) as index:
        with pytest.raises(InputFileError, match="its 2 documents stay in the index"):
            update(index, [source])
        assert update(index, [source], allow_empty=True).removed == 2


def test_a_damaged_version_says_that_the_earlier_one_stays(shell: Shell, tmp_path: Path) -> None:
    folder = create(shell, tmp_path)
    (folder / "a.txt").write_bytes(b"\0\0\0\0")
    (folder / "c.txt").write_bytes(b"\0\0\0\0")
    report = shell.json("index", "mv", "-o", "mv.serotine")
    reasons = {skipped["file"]: skipped["reason"] for skipped in report["skipped"]}
    assert reasons["mv/a.txt"].endswith("; what the index has of it stays searchable")
    assert "stays" not in reasons["mv/c.txt"]


def test_documents_of_an_emptied_subfolder_stay_until_that_is_confirmed(shell: Shell, tmp_path: Path) -> None:
    disk = create(shell, tmp_path) / "disk"
    (disk / "deep").mkdir(parents=True)
    (disk / "c.txt").write_text("Foxes dig.")
    (disk / "deep" / "d.txt").write_text("Moles dig too.")
    command = ("index", "mv", "-o", "mv.serotine")
    shell(*command)
    # As where a disk is not mounted: its mount point is there, and empty.
    (disk / "deep").rename(tmp_path / "deep")
    (disk / "c.txt").unlink()
    report = shell.json(*command)
    reason = (
        "an empty folder now; its 2 documents stay in the index; if its files were removed on purpose, --allow-empty "
        "removes them there too"
    )
    assert report["skipped"] == [{"file": "mv/disk", "reason": reason}]
    assert shell.err == f"warning: skipped: mv/disk: {reason}\n"
    assert (report["removed"], report["files"]["removed"], documents(shell)) == (0, 0, 4)
    shell(*command, "--strict", status=1)
    with Index.open("mv.serotine", encoder=FakeEncoder()) as index:
        (skipped,) = update(index, [tmp_path / "mv"]).skipped
        assert skipped.reason.endswith("if its files were removed on purpose, allow_empty=True removes them there too")
    # Mounted again, nothing has changed.
    (disk / "c.txt").write_text("Foxes dig.")
    (tmp_path / "deep").rename(disk / "deep")
    assert shell.json(*command)["files"] == {"added": 0, "replaced": 0, "unchanged": 4, "removed": 0}
    # Files that are elsewhere now were moved; the others stay.
    (disk / "c.txt").rename(tmp_path / "mv" / "moved.txt")
    (disk / "deep" / "d.txt").unlink()
    (disk / "deep").rmdir()
    report = shell.json(*command)
    assert (report["removed"], documents(shell)) == (1, 4)
    assert report["moved"] == {str(disk / "c.txt"): str(tmp_path / "mv" / "moved.txt")}
    assert [skipped["file"] for skipped in report["skipped"]] == ["mv/disk"]
    assert shell.json(*command, "--allow-empty")["removed"] == 1
    assert shell.json(*command)["skipped"] == []


def test_documents_of_a_removed_subfolder_are_removed(shell: Shell, tmp_path: Path) -> None:
    folder = create(shell, tmp_path) / "sub"
    folder.mkdir()
    (folder / "c.txt").write_text("Foxes dig.")
    (folder / "d.txt").write_text("Moles dig too.")
    shell("index", "mv", "-o", "mv.serotine")
    (folder / "c.txt").unlink()
    assert shell.json("index", "mv", "-o", "mv.serotine")["removed"] == 1
    (folder / "d.txt").unlink()
    folder.rmdir()
    report = shell.json("index", "mv", "-o", "mv.serotine")
    assert (report["removed"], report["skipped"], documents(shell)) == (1, [], 2)


def test_ctrl_c_while_files_are_read_says_what_is_stored_already(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(shell, tmp_path)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Ingest, "plan", interrupt)
    reading = "interrupted while reading, before anything was encoded: "
    error = shell.fails("index", "mv", "-o", "mv.serotine", status=130)
    assert f"{reading}nothing more was stored in mv.serotine, which has 2 documents; " in error
    assert f"{reading}nothing was stored; " in shell.fails("index", "mv", "-o", "new.serotine", status=130)
