"""``serotine index`` of folders: its report, skipped files, and --watch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.cli_fake import FakeEncoder
from test_cli import Shell, ids, raises, shell, write_jsonl
from test_cli_process import FAKE

from serotine.index import Index

__all__ = ["shell"]  # the fixture


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("# Bats\n\n" + "Serotine bats fly late in the evening. " * 30)
    (folder / "b.txt").write_text("Owls in the evening")
    return folder


def test_an_index_of_a_folder_is_created_and_updated(shell: Shell, notes: Path) -> None:
    shown = shell("index", "notes", "-o", "i.serotine", "--chunk-tokens", 64, "--overlap", 7)
    assert "; files: 2 new; total: " in shown
    passages = {id_ for id_ in ids() if id_.startswith("notes/a.md#")}
    assert len(passages) > 3
    (notes / "b.txt").unlink()
    (notes / "broken.csv").write_bytes(b"id,text\n1,\0\n")
    (notes / "c.txt").write_text("Evening again")
    made = shell.json("index", "notes", "-o", "i.serotine")
    assert (
        shell.err
        == "warning: skipped: notes/broken.csv: not a text file: contains NUL bytes; convert it to text first\n"
    )
    assert made["files"] == {"added": 1, "replaced": 0, "unchanged": 1, "removed": 1}
    assert (made["added"], made["removed"], made["documents"]) == (1, 1, len(passages) + 1)
    assert made["skipped"] == [
        {"file": "notes/broken.csv", "reason": "not a text file: contains NUL bytes; convert it to text first"}
    ]
    shown = shell("index", "notes", "-o", "i.serotine")
    assert "0 documents indexed" in shown
    assert "files: 2 unchanged, 1 skipped;" in shown
    shell("index", "notes", "-o", "i.serotine", "--no-chunk")
    assert ids() == {"notes/a.md", "notes/c.txt"}
    shell("verify", "i.serotine")


def test_nothing_can_be_indexed(shell: Shell, tmp_path: Path) -> None:
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
    # What is there already counts as well.
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    shell("index", "bad", "corpus.jsonl", "-o", "i.serotine")
    assert "files: 1 unchanged, 2 skipped" in shell.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chunk-tokens", "8"], "8 is not in the range"),
        (["--chunk-tokens", "32", "--overlap", "17"], "--overlap: must be between 0 and half of 32 tokens, got 17"),
        (["--no-chunk", "--chunk-tokens", "32"], "--no-chunk excludes --chunk-tokens and --overlap"),
        (["--watch", "--json", "-"], "--watch and --json exclude each other"),
    ],
)
def test_invalid_options(shell: Shell, notes: Path, options: list[str], message: str) -> None:
    assert message in shell.fails("index", "notes", "-o", "i.serotine", *options, status=2)
    assert not Path("i.serotine").exists()


def test_passages_longer_than_the_encoder_reads(shell: Shell, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEncoder, "document_room", 40, raising=False)
    refused = shell.fails("index", "notes", "-o", "i.serotine", "--chunk-tokens", "41", status=2)
    assert "--chunk-tokens: must be at most 40, the tokens that 'fake' reads, got 41" in refused


def test_add_records_its_files_too(shell: Shell, notes: Path) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    shell("add", "i.serotine", "notes")
    assert "files: 2 new" in shell.out
    shell("add", "i.serotine", "notes")
    assert "0 documents added" in shell.out
    (notes / "b.txt").unlink()
    assert shell.json("index", "notes", "-o", "i.serotine")["files"]["removed"] == 1
    assert "bat" in ids()


def test_an_interrupted_update_continues(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    write_jsonl(tmp_path / "corpus.jsonl", {"new": "A new evening."})
    with monkeypatch.context() as patch:
        patch.setattr(FakeEncoder, "encode_documents", raises(KeyboardInterrupt()))
        message = shell.fails("index", "corpus.jsonl", "-o", "i.serotine", status=130)
    assert "interrupted; 0 documents of 1 stored in i.serotine; run the same command again" in message
    assert ids() == {"bat", "cat", "fish"}
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    assert ids() == {"new"}


class Watched:
    """``serotine index --watch`` as a process, its lines read as they come."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.index = folder / "i.serotine"
        command = [*FAKE, "index", *arguments, "-o", str(self.index), "--watch"]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                "WATCHFILES_FORCE_POLLING": "",
                "PYTHONPATH": os.environ["PYTHONPATH"],
            },
        )
        self.lines: list[str] = []

    def line(self, words: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"ended without {words!r}: {''.join(self.lines)}")

    def until(self, condition: Callable[[set[str]], bool]) -> None:
        """Reads the index until it holds what it should, and never anything that cannot be opened."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with Index.open(self.index, read_only=True, encoder=FakeEncoder()) as index:
                held = {hit.text or "" for hit in index.get(index.ids())}
            if condition(held):
                return
            time.sleep(0.05)
        raise TimeoutError(held)

    def stop(self) -> str:
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=60)
        return out


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    pytest.importorskip("watchfiles")
    started: list[Watched] = []

    def start(folder: Path, *arguments: str) -> Watched:
        started.append(Watched(folder, *arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()
        assert each.process.stdout is not None
        each.process.stdout.close()


def test_watching_follows_files(tmp_path: Path, notes: Path, watch: Callable[..., Watched]) -> None:
    (notes / "a.md").write_text("first")
    follower = watch(tmp_path, "notes")
    follower.line("watching 1 source; stop with Ctrl-C")
    (notes / "c.txt").write_text("new")
    follower.until(lambda held: "new" in held)
    # As editors save: a new file takes the old one's name.
    (notes / "c.tmp").write_text("newer")
    (notes / "c.tmp").replace(notes / "c.txt")
    follower.until(lambda held: held == {"first", "Owls in the evening", "newer"})
    # A broken file is told once, and does not end the watch.
    (notes / "bad.csv").write_text("nothing\n")
    (notes / "deep").mkdir()
    (notes / "deep" / "d.txt").write_text("deep")
    follower.line("warning: skipped: notes/bad.csv:1: the header must name a column 'text', got nothing")
    follower.until(lambda held: "deep" in held)
    # A whole folder goes at once, and comes back; then everything does, which is an error and takes nothing away.
    (notes / "deep").rename(tmp_path / "deep")
    follower.until(lambda held: "deep" not in held)
    (tmp_path / "deep").rename(notes / "deep")
    follower.until(lambda held: "deep" in held)
    notes.rename(tmp_path / "away")
    follower.line("error: notes: no such file or folder")
    follower.until(lambda held: len(held) == 4)
    rest = follower.stop()
    assert follower.process.returncode == 0
    assert rest.endswith("i.serotine: stopped watching\n")
    assert "Traceback" not in "".join(follower.lines) + rest
    assert ("".join(follower.lines) + rest).count("bad.csv") == 1


def test_watching_one_file_beside_its_index(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    file = write_jsonl(tmp_path / "corpus.jsonl", {"a": "one"})
    (tmp_path / "other.txt").write_text("other")
    follower = watch(tmp_path, "corpus.jsonl")
    follower.line("watching 1 source")
    write_jsonl(file, {"a": "one", "b": "two"})
    follower.until(lambda held: held == {"one", "two"})
    # Neither its own writing nor the file beside it is a change.
    (tmp_path / "other.txt").write_text("another")
    time.sleep(2)
    rest = follower.stop()
    assert follower.process.returncode == 0
    assert rest.count("indexed in") <= 1


def test_watching_needs_watchfiles(shell: Shell, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert "pip install 'serotine[ingest]'" in shell.fails("index", "notes", "-o", "i.serotine", "--watch")
    assert not Path("i.serotine").exists()


def test_killed_while_watching(tmp_path: Path, notes: Path, watch: Callable[..., Watched]) -> None:
    follower = watch(tmp_path, "notes")
    follower.line("watching 1 source")
    (notes / "c.txt").write_text("new")
    follower.until(lambda held: "new" in held)
    follower.process.kill()
    follower.process.communicate()
    done = subprocess.run(
        [*FAKE, "index", "notes", "-o", "i.serotine", "--json", "-"], cwd=tmp_path, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["files"] == {"added": 0, "replaced": 0, "unchanged": 3, "removed": 0}
