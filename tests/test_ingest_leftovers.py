"""What an index has of files that an update no longer sees is named, with the command that deletes it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from helpers.cli_fake import FakeEncoder
from test_cli import Shell, shell

from serotine import Index
from serotine.errors import InputFileError
from serotine.ingest import update

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


def test_an_emptied_folder_names_what_the_index_still_has_of_it(shell: Shell, tmp_path: Path) -> None:
    folder = create(shell, tmp_path)
    for file in folder.iterdir():
        file.unlink()
    error = shell.fails("index", "mv", "-o", "mv.serotine")
    assert "no files of known types in this folder" in error
    assert "; the index still has documents of it (2), deleted by: serotine delete " in error
    shell(*shlex.split(error.strip().rpartition("by: serotine ")[2]))
    assert shell.json("info", "mv.serotine")["documents"] == 0
    assert "still has" not in shell.fails("index", "mv", "-o", "mv.serotine")


def test_a_mistyped_pattern_advises_no_deletion(shell: Shell, tmp_path: Path) -> None:
    create(shell, tmp_path)
    error = shell.fails("index", "mv", "-o", "mv.serotine", "--include", "*.rts")
    assert "--include '*.rts' does not match any of its" in error
    assert "delete" not in error


@pytest.mark.parametrize("source", ["mv", "./mv", "mv/"])
def test_an_emptied_folder_is_known_under_any_spelling(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    for file in create(shell, tmp_path).iterdir():
        file.unlink()
    monkeypatch.chdir(tmp_path)
    with (
        Index.open("mv.serotine", encoder=FakeEncoder()) as index,
        pytest.raises(InputFileError, match=r"the index still has documents of it \(2\)"),
    ):
        update(index, [source])


def test_a_damaged_version_says_that_the_earlier_one_stays(shell: Shell, tmp_path: Path) -> None:
    folder = create(shell, tmp_path)
    (folder / "a.txt").write_bytes(b"\0\0\0\0")
    (folder / "c.txt").write_bytes(b"\0\0\0\0")
    report = shell.json("index", "mv", "-o", "mv.serotine")
    reasons = {skipped["file"]: skipped["reason"] for skipped in report["skipped"]}
    assert reasons["mv/a.txt"].endswith("; what the index has of it stays searchable")
    assert "stays" not in reasons["mv/c.txt"]
