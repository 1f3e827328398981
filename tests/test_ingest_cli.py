"""``serotine index`` on folders: its report, skipped files, and --watch."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.cli_fake import FakeEncoder
from test_cli import Shell, ids, raises, shell, write_jsonl
from test_cli_process import FAKE

from serotine.cli import main
from serotine.index import Index

__all__ = ["shell"]  # the fixture


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("# Bats\n\n" + "Serotine bats fly late in the evening. " * 30)
    (folder / "b.txt").write_text("Owls in the evening")
    return folder


def test_indexing_a_folder_creates_and_updates_an_index(shell: Shell, notes: Path) -> None:
    output = shell("index", "notes", "-o", "i.serotine", "--chunk-tokens", 64, "--overlap", 7)
    assert "; files: 2 new; total: " in output
    passages = {id_ for id_ in ids() if id_.startswith("notes/a.md#")}
    assert len(passages) > 3
    cut = "  Texts     cut into passages of at most 64 tokens, about 7 of them shared with the one before; new files"
    assert cut in shell("info", "i.serotine")
    assert shell.json("info", "i.serotine")["chunking"] == {"tokens": 64, "overlap": 7, "late": False}
    (notes / "b.txt").unlink()
    (notes / "broken.csv").write_bytes(b"id,te\0xt\n1,a\n")
    (notes / "c.txt").write_text("Evening again")
    result = shell.json("index", "notes", "-o", "i.serotine")
    assert (
        shell.err
        == "warning: skipped: notes/broken.csv: not a text file: contains NUL bytes; convert it to text first\n"
    )
    assert result["files"] == {"added": 1, "replaced": 0, "unchanged": 1, "removed": 1}
    assert (result["added"], result["removed"], result["documents"]) == (1, 1, len(passages) + 1)
    assert result["skipped"] == [
        {"file": "notes/broken.csv", "reason": "not a text file: contains NUL bytes; convert it to text first"}
    ]
    output = shell("index", "notes", "-o", "i.serotine")
    assert "0 documents indexed" in output
    assert "files: 2 unchanged, 1 skipped;" in output
    shell("index", "notes", "-o", "i.serotine", "--no-chunk")
    assert "  Texts     stay whole; new files" in shell("info", "i.serotine")
    assert ids() == {"notes/a.md", "notes/c.txt"}
    shell("verify", "i.serotine")


def test_a_missing_extra_is_one_line_for_all_its_files(
    shell: Shell, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("selectolax.lexbor", "pypdfium2"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("a.html", "b.html", "C.HTM", "d.pdf"):
        (notes / name).write_text("x")
    result = shell.json("index", "notes", "-o", "i.serotine")
    assert shell.err == (
        "warning: skipped: reading 4 files (2 .html, 1 .htm, 1 .pdf) needs the extra [ingest]; "
        "run: pip install 'serotine[ingest]'\n"
    )
    assert len(result["skipped"]) == 4
    assert result["skipped"][0]["reason"].startswith("reading HTML needs the extra [ingest]")


def test_max_expansion_sets_how_much_the_rows_of_a_file_may_have(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\n" + (b"bats " * 40 + b"\n") * 6_000))
    index = ("index", "a.csv.gz", "-o", "i.serotine", "--max-record-size", 1 << 20)
    error = shell.fails(*index, "--max-expansion", 2)
    assert "must have at most 1,048,576 characters together" in error
    assert "or raise --max-expansion" in error
    assert shell.json(*index, "--max-expansion", 100_000)["added"] == 6_000
    assert "--max-expansion" in shell.fails(*index, "--max-expansion", 0, status=2)


def test_ten_skipped_files_are_named_and_the_others_counted(shell: Shell, notes: Path) -> None:
    for i in range(12):
        (notes / f"settings{i:02}.json").write_text('{"name": "x"}')
    result = shell.json("index", "notes", "-o", "i.serotine")
    lines = shell.err.splitlines()
    assert len(lines) == 11
    assert lines[0].startswith("warning: skipped: notes/settings00.json:1: has neither 'text' nor 'title'")
    assert lines[-1] == "warning: skipped: 2 more files (.json 2); --json FILE lists them"
    assert len(result["skipped"]) == 12


def test_what_is_not_read_of_files_is_counted(shell: Shell, notes: Path) -> None:
    cell = {"cell_type": "markdown", "source": "# Bats", "attachments": {"a.png": {}, "b.png": {}}}
    (notes / "a.ipynb").write_text(json.dumps({"nbformat": 4, "metadata": {}, "cells": [cell]}))
    (notes / "b.eml").write_bytes(
        b"Subject: Owls\nContent-Type: multipart/mixed; boundary=x\n\n"
        b"--x\n\nhunt\n--x\nContent-Type: image/png\n\nx\n--x--"
    )
    assert "; not read: 2 images, 1 attachment; total" in shell("index", "notes", "-o", "i.serotine")
    # Of files that are not read again, too.
    result = shell.json("index", "notes", "-o", "i.serotine")
    assert result["unread"] == {"images": 2, "attachments": 1}
    (notes / "b.eml").unlink()
    assert shell.json("index", "notes", "-o", "i.serotine")["unread"] == {"images": 2}


def test_a_file_name_that_is_not_utf_8_is_reported_in_json(shell: Shell, notes: Path) -> None:
    name = os.fsdecode(b"bad\xff.txt")
    try:
        (notes / name).write_text("a bat")
    except OSError:
        pytest.skip("the file system has UTF-8 names only")
    shell("index", notes, "--json", "report.json")
    assert [Path(skipped["file"]).name for skipped in json.loads(Path("report.json").read_bytes())["skipped"]] == [name]


def test_no_indexable_file_is_an_error(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "a.csv").write_bytes(b"no header\n")
    assert "a.csv:1: the header must name a column 'text', got no header" in shell.fails(
        "index", "bad", "-o", "i.serotine"
    )
    (folder / "b.jsonl").write_text("{")
    shell("index", "bad", "-o", "i.serotine", status=1)
    lines = shell.err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["warning", "warning", "error"]
    assert lines[2] == "error: none of the 2 files can be indexed; see the warnings"
    assert not (tmp_path / "i.serotine").exists()
    # Files that are already in the index count too.
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    shell("index", "bad", "corpus.jsonl", "-o", "i.serotine")
    assert "files: 1 unchanged, 2 skipped" in shell.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chunk-tokens", "8"], "8 is not in the range"),
        (["--chunk-tokens", "32", "--overlap", "17"], "--overlap: must be between 0 and half of 32 tokens, got 17"),
        (["--no-chunk", "--chunk-tokens", "32"], "--no-chunk excludes --chunk-tokens, --overlap and --late-chunking"),
        (["--watch", "--json", "-"], "--watch and --json exclude each other"),
    ],
)
def test_invalid_options(shell: Shell, notes: Path, options: list[str], message: str) -> None:
    assert message in shell.fails("index", "notes", "-o", "i.serotine", *options, status=2)
    assert not Path("i.serotine").exists()


def test_chunk_tokens_above_the_encoder_limit_are_rejected(
    shell: Shell, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEncoder, "document_room", 40, raising=False)
    message = shell.fails("index", "notes", "-o", "i.serotine", "--chunk-tokens", "41", status=2)
    assert "--chunk-tokens: must be at most 40, the tokens that 'fake' reads, got 41" in message


def test_add_records_its_files(shell: Shell, notes: Path) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    shell("add", "i.serotine", "notes")
    assert "files: 2 new" in shell.out
    shell("add", "i.serotine", "notes")
    assert "0 documents added" in shell.out
    (notes / "b.txt").unlink()
    assert shell.json("index", "notes", "-o", "i.serotine")["files"]["removed"] == 1
    assert "bat" in ids()


def test_an_interrupted_update_resumes(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    write_jsonl(tmp_path / "corpus.jsonl", {"new": "A new evening."})
    with monkeypatch.context() as patch:
        patch.setattr(FakeEncoder, "encode_documents", raises(KeyboardInterrupt()))
        message = shell.fails("index", "corpus.jsonl", "-o", "i.serotine", status=130)
    assert "interrupted; 0 documents of 1 stored in i.serotine, which has 3 now; run the same command again" in message
    assert ids() == {"bat", "cat", "fish"}
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    assert ids() == {"new"}


class WatchProcess:
    """A process of ``serotine index --watch``."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.index = folder / "i.serotine"
        command = [*FAKE, "index", *arguments, "-o", str(self.index), "--watch"]
        self.popen = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "WATCHFILES_FORCE_POLLING": "", "PYTHONPATH": ""},
        )
        self.lines: list[str] = []

    def wait_for_line(self, fragment: str) -> str:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line)
            if fragment in line:
                return line
        raise AssertionError(f"ended without {fragment!r}: {''.join(self.lines)}")

    def wait_until(self, condition: Callable[[set[str]], bool]) -> None:
        """Open the index again and again until its texts meet the condition; opening it must never fail."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with Index.open(self.index, read_only=True, encoder=FakeEncoder()) as index:
                texts = {hit.text or "" for hit in index.get(index.ids())}
            if condition(texts):
                return
            time.sleep(0.05)
        raise TimeoutError(texts)

    def stop(self) -> str:
        self.popen.send_signal(signal.SIGINT)
        out, _ = self.popen.communicate(timeout=60)
        return out


@pytest.fixture
def watch() -> Iterator[Callable[..., WatchProcess]]:
    pytest.importorskip("watchfiles")
    started: list[WatchProcess] = []

    def start(folder: Path, *arguments: str) -> WatchProcess:
        started.append(WatchProcess(folder, *arguments))
        return started[-1]

    yield start
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.communicate()
        assert process.popen.stdout is not None
        process.popen.stdout.close()


def test_watch_follows_changes_of_files(tmp_path: Path, notes: Path, watch: Callable[..., WatchProcess]) -> None:
    (notes / "a.md").write_text("first")
    process = watch(tmp_path, "notes")
    process.wait_for_line("watching 1 source; stop with Ctrl-C")
    (notes / "c.txt").write_text("new")
    process.wait_until(lambda texts: "new" in texts)
    # As editors save: a new file takes the old one's name.
    (notes / "c.tmp").write_text("newer")
    (notes / "c.tmp").replace(notes / "c.txt")
    process.wait_until(lambda texts: texts == {"first", "Owls in the evening", "newer"})
    # A broken file is reported once, and does not end the watch.
    (notes / "bad.csv").write_text("nothing\n")
    (notes / "deep").mkdir()
    (notes / "deep" / "d.txt").write_text("deep")
    process.wait_for_line("warning: skipped: notes/bad.csv:1: the header must name a column 'text', got nothing")
    process.wait_until(lambda texts: "deep" in texts)
    # A moved folder removes its documents, and restores them when it is back; without the root, nothing is removed.
    (notes / "deep").rename(tmp_path / "deep")
    process.wait_until(lambda texts: "deep" not in texts)
    (tmp_path / "deep").rename(notes / "deep")
    process.wait_until(lambda texts: "deep" in texts)
    notes.rename(tmp_path / "away")
    process.wait_for_line("warning: notes: no longer exists")
    process.wait_until(lambda texts: len(texts) == 4)
    output = process.stop()
    assert process.popen.returncode == 0
    assert output.endswith("i.serotine: stopped watching\n")
    assert "Traceback" not in "".join(process.lines) + output
    assert ("".join(process.lines) + output).count("bad.csv") == 1


def test_watch_of_one_file_next_to_its_index(tmp_path: Path, watch: Callable[..., WatchProcess]) -> None:
    file = write_jsonl(tmp_path / "corpus.jsonl", {"a": "one"})
    (tmp_path / "other.txt").write_text("other")
    process = watch(tmp_path, "corpus.jsonl")
    process.wait_for_line("watching 1 source")
    write_jsonl(file, {"a": "one", "b": "two"})
    process.wait_until(lambda texts: texts == {"one", "two"})
    # Neither the index's own files nor a neighboring file is a change.
    (tmp_path / "other.txt").write_text("another")
    time.sleep(2)
    output = process.stop()
    assert process.popen.returncode == 0
    assert output.count("indexed in") <= 1


def test_watch_continues_with_a_folder_that_was_removed(tmp_path: Path, watch: Callable[..., WatchProcess]) -> None:
    for folder in ("gone", "stays"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(f"first of {folder}")
    process = watch(tmp_path, "gone", "stays")
    process.wait_for_line("watching 2 sources")
    shutil.rmtree(tmp_path / "gone")
    process.wait_for_line("warning: gone: no longer exists; its documents stay, ")
    # The others are watched meanwhile.
    (tmp_path / "stays" / "b.txt").write_text("second of stays")
    process.wait_until(lambda texts: texts == {"first of gone", "first of stays", "second of stays"})
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "b.txt").write_text("new of gone")
    process.wait_for_line("warning: gone: exists again, and is watched")
    process.wait_until(lambda texts: texts == {"new of gone", "first of stays", "second of stays"})
    # A new folder in place of the old one between two looks.
    shutil.rmtree(tmp_path / "gone")
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "c.txt").write_text("third of gone")
    process.wait_until(lambda texts: "third of gone" in texts and "new of gone" not in texts)
    (tmp_path / "gone" / "d.txt").write_text("last of gone")
    process.wait_until(lambda texts: "last of gone" in texts)
    assert process.popen.poll() is None
    assert "error" not in "".join(process.lines)


def test_a_named_file_that_cannot_be_read_is_skipped(
    shell: Shell, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # As the system does for a user who is not root.
    for name in ("secret.txt", "open.txt"):
        (tmp_path / name).write_text(f"The {name}.", encoding="utf-8")
    access, opened = os.access, Path.open

    def denied(path: Any, mode: int) -> bool:
        return Path(path).name != "secret.txt" and access(path, mode)

    def open_denied(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.name == "secret.txt":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **named)

    monkeypatch.setattr(os, "access", denied)
    monkeypatch.setattr(Path, "open", open_denied)
    arguments = ("index", "open.txt", "secret.txt", "-o", "i.serotine", "--json", "report.json")
    assert main(list(arguments)) == 0
    captured = capfd.readouterr()
    assert captured.err.count("warning: ") == 1
    assert "secret.txt: cannot be read (Permission denied)" in captured.err
    result = json.loads(Path("report.json").read_text("utf-8"))
    assert (result["added"], len(result["skipped"])) == (1, 1)
    assert main(["add", "i.serotine", "secret.txt", "notes"]) == 0
    assert main([*arguments, "--strict"]) == 1
    assert "missing.txt: no such file or folder" in shell.fails("index", "open.txt", "missing.txt", "-o", "i.serotine")


def test_watch_needs_watchfiles(shell: Shell, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert "pip install 'serotine[ingest]'" in shell.fails("index", "notes", "-o", "i.serotine", "--watch")
    assert not Path("i.serotine").exists()


def test_a_killed_watch_leaves_a_valid_index(tmp_path: Path, notes: Path, watch: Callable[..., WatchProcess]) -> None:
    process = watch(tmp_path, "notes")
    process.wait_for_line("watching 1 source")
    (notes / "c.txt").write_text("new")
    process.wait_until(lambda texts: "new" in texts)
    process.popen.kill()
    process.popen.communicate()
    completed = subprocess.run(
        [*FAKE, "index", "notes", "-o", "i.serotine", "--json", "-"], cwd=tmp_path, capture_output=True, check=True
    )
    assert json.loads(completed.stdout)["files"] == {"added": 0, "replaced": 0, "unchanged": 3, "removed": 0}
