"""Updates of an index from files."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder
from test_crash import content

from serotine import Index
from serotine.errors import InputFileError
from serotine.ingest import Chunking, Ingest, IngestReport, SourceFile, commits, file_state, planner, update

LONG = "Bats fly late. " * 40


class CountingEncoder(WordEncoder):
    """An encoder that counts the texts it encodes."""

    encoded = 0

    def encode_documents(self, texts: Any) -> Any:
        self.encoded += len(texts)
        return super().encode_documents(texts)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    notes = tmp_path / "notes"
    (notes / "deep").mkdir(parents=True)
    (notes / "a.md").write_text(f"# Title\n\n{LONG}\n")
    (notes / "deep" / "b.txt").write_text("owl")
    write_jsonl(notes / "c.jsonl", x="fox one", y="fox two")
    return notes


@pytest.fixture
def index(tmp_path: Path) -> Any:
    with Index.create(tmp_path / "i", encoder=CountingEncoder()) as created:
        yield created


def write_jsonl(path: Path, **texts: str) -> None:
    path.write_text("".join(json.dumps({"_id": id_, "text": text}) + "\n" for id_, text in texts.items()))


def files(report: IngestReport) -> tuple[int, int, int, int, int]:
    """Return the numbers of new, changed, gone, unchanged and skipped files."""
    return (
        report.files_added,
        report.files_replaced,
        report.files_removed,
        report.files_unchanged,
        len(report.skipped),
    )


def run(index: Index, *sources: str | Path | SourceFile, **named: Any) -> IngestReport:
    report = update(index, sources or ["notes"], chunking=named.pop("chunking", Chunking(32, 8)), **named)
    index.verify()
    return report


def texts(index: Index) -> dict[str, str | None]:
    return {hit.id: hit.text for hit in index.get(index.ids())}


def test_new_changed_gone_and_unchanged_files(index: Index, folder: Path) -> None:
    first = run(index)
    assert files(first) == (3, 0, 0, 0, 0)
    passages = [id_ for id_ in index.ids() if id_.startswith("notes/a.md#")]
    assert len(passages) > 3
    assert (first.added, first.unchanged, first.removed) == (len(passages) + 3, 0, 0)
    whole = (folder / "a.md").read_text()
    for number, hit in enumerate(index.get(passages), 1):
        metadata = hit.metadata
        assert hit.id == f"notes/a.md#{number}"
        assert whole[metadata["start"] : metadata["end"]] == hit.text
        assert (metadata["source"], metadata["heading"], metadata["title"]) == ("notes/a.md", "Title", "Title")

    assert files(run(index)) == (0, 0, 0, 3, 0)

    (folder / "a.md").write_text("# Title\n\nshort\n")
    shutil.rmtree(folder / "deep")
    write_jsonl(folder / "c.jsonl", x="fox one", z="fox three")
    (folder / "d.txt").write_text("emu")
    encoder = index.encoder
    assert isinstance(encoder, CountingEncoder)
    before = encoder.encoded
    third = run(index)
    assert files(third) == (1, 2, 1, 0, 0)
    assert (third.added, third.replaced, third.unchanged, third.removed) == (3, 0, 1, len(passages) + 2)
    # The unchanged line is not encoded again.
    assert encoder.encoded - before == 3
    assert texts(index) == {
        "notes/a.md": "# Title\n\nshort",
        "x": "fox one",
        "z": "fox three",
        "notes/d.txt": "emu",
    }
    assert {hit.id for hit in index.search("bats owl two", k=9)} == set(index.ids())


def test_the_hash_decides(index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_state, "_SETTLED_NS", -(10**12))
    run(index)
    file = folder / "deep" / "b.txt"
    times = file.stat()
    # Same size, same time of change: what else the file system tells gives it away.
    file.write_text("fox")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert files(run(index)) == (0, 1, 0, 2, 0)
    assert index.get(["notes/deep/b.txt"])[0].text == "fox"
    # Other times, same bytes: nothing to do, and the next run need not even read it.
    os.utime(file, ns=(1, 1))
    assert files(run(index)) == (0, 0, 0, 3, 0)
    read: list[str] = []
    monkeypatch.setattr(planner, "read_digest", lambda file, _: read.append(file.name))
    assert files(run(index)) == (0, 0, 0, 3, 0)
    assert read == []


def test_the_times_of_a_file_just_written_are_not_recorded(index: Index, folder: Path) -> None:
    run(index)
    assert {record.stamp for record in index.sources.all().values()} == {""}


def test_another_chunking_replaces_the_passages(index: Index, folder: Path) -> None:
    run(index)
    assert files(run(index, chunking=Chunking(None))) == (0, 3, 0, 0, 0)
    assert len(index) == 4
    # Without a chunking, that of the last update is used.
    assert files(run(index, chunking=None)) == (0, 0, 0, 3, 0)


def test_only_files_of_the_sources_are_removed(index: Index, folder: Path, tmp_path: Path) -> None:
    run(index)
    other = tmp_path / "other"
    other.mkdir()
    (other / "e.txt").write_text("emu")
    shutil.rmtree(folder / "deep")
    assert files(run(index, "other")) == (1, 0, 0, 0, 0)
    assert "notes/deep/b.txt" in index
    # Another path of the same folder works too.
    assert files(run(index, folder / ".." / "notes")) == (0, 0, 1, 2, 0)
    for source in (tmp_path / "nowhere", folder.parent / "void"):
        (tmp_path / "void").mkdir(exist_ok=True)
        with pytest.raises(InputFileError):
            run(index, source)
    # An empty folder, such as one that is not mounted, removes nothing.
    shutil.move(folder, tmp_path / "away")
    folder.mkdir()
    with pytest.raises(InputFileError, match="in this folder"):
        run(index)
    assert "x" in index
    # Files that exist but are not read are not removed.
    folder.rmdir()
    shutil.move(tmp_path / "away", folder)
    (folder / "corpus.jsonl").write_text('{"_id": "beir", "text": "corpus"}\n')
    assert files(run(index)) == (1, 0, 0, 0, 0)
    assert "x" in index


def test_documents_from_elsewhere_conflict_unless_equal(index: Index, folder: Path, tmp_path: Path) -> None:
    index.add(["x", "y", "mine"], ["fox one", "my own fox", "mine"])
    report = run(index)
    assert files(report) == (3, 0, 0, 0, 0)
    (row,) = report.skipped_rows.first
    assert (row.file, row.line) == ("notes/c.jsonl", 2)
    assert row.reason.startswith("id 'y' is already in the index; pass Fields(prefix_ids=True), or ")
    assert texts(index)["y"] == "my own fox"
    index.delete(["y"])
    # An equal document is reassigned to the file, and the other one has its id again.
    report = run(index)
    assert (files(report), report.added, report.unchanged) == ((0, 1, 0, 2, 0), 1, 1)
    assert index.sources.ids(str(folder / "c.jsonl")) == ["x", "y"]
    write_jsonl(tmp_path / "d.jsonl", y="fox of d", q="q")
    report = run(index, "d.jsonl")
    assert "id 'y' is already in the index, from " in report.skipped_rows.first[0].message
    report = run(index, "d.jsonl", upsert=True)
    assert (report.added, report.replaced, report.unchanged) == (1, 1, 1)
    assert texts(index)["y"] == "fox of d"
    shutil.rmtree(folder / "deep")
    (folder / "c.jsonl").unlink()
    assert run(index).removed == 2
    assert set(index.ids()) >= {"mine", "y", "q"}
    assert "x" not in index


def test_a_moved_file_is_not_encoded_again(index: Index, folder: Path, tmp_path: Path) -> None:
    run(index)
    encoder = index.encoder
    assert isinstance(encoder, CountingEncoder)
    before = encoder.encoded
    (folder / "c.jsonl").rename(folder / "moved.jsonl")
    moved = run(index)
    assert (files(moved), moved.added, moved.unchanged, moved.removed) == ((1, 0, 1, 2, 0), 0, 2, 0)
    assert encoder.encoded == before
    assert index.sources.ids(str(folder / "moved.jsonl")) == ["x", "y"]


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_a_document_that_moves_to_another_file_stays(index: Index, tmp_path: Path, first: str, second: str) -> None:
    notes = tmp_path / "moving"
    notes.mkdir()
    write_jsonl(notes / f"{first}.jsonl", x="fox one", y="fox two")
    write_jsonl(notes / f"{second}.jsonl", z="owl")
    run(index, notes)
    write_jsonl(notes / f"{first}.jsonl", y="fox two")
    write_jsonl(notes / f"{second}.jsonl", z="owl", x="fox one")
    run(index, notes, upsert=True)
    assert texts(index) == {"x": "fox one", "y": "fox two", "z": "owl"}
    assert sorted(index.sources.ids(str(notes / f"{second}.jsonl"))) == ["x", "z"]


def test_a_file_with_a_duplicate_id_is_skipped(index: Index, folder: Path) -> None:
    write_jsonl(folder / "d.jsonl", y="again")
    report = run(index)
    assert files(report) == (3, 0, 0, 0, 1)
    assert report.skipped[0].reason == (
        "line 1: duplicate id 'y', also in notes/c.jsonl, which keeps it; "
        "ids must be unique: pass Fields(prefix_ids=True), or Fields(id=...) with another field"
    )
    assert texts(index)["y"] == "fox two"


def test_broken_files_are_skipped_and_keep_their_documents(index: Index, folder: Path) -> None:
    run(index)
    before = texts(index)
    (folder / "c.jsonl").write_text('{"_id"\n{"_id": "x"}\n')
    (folder / "deep" / "b.txt").write_bytes(b"\0\0\0\0")
    (folder / "e.csv").write_bytes(b'id,text\n1,"open\n')
    (folder / "f.md").write_text("\n")
    (folder / "g.md").write_text("sound")
    (folder / os.fsdecode(b"h\xff.md")).write_text("name")
    skipped_files: list[str] = []
    report = run(index, on_skip=lambda skipped: skipped_files.append(skipped.file))
    assert files(report) == (1, 0, 0, 1, 5)
    assert skipped_files == [skipped.file for skipped in report.skipped]
    reasons = {Path(skipped.file).name: skipped.reason for skipped in report.skipped}
    assert reasons["c.jsonl"].startswith("line 1: not valid JSON")
    assert reasons["c.jsonl"].endswith(
        "(and 1 more: the file has no valid row); what the index has of it stays searchable"
    )
    assert reasons["b.txt"].startswith("not a text file: contains NUL bytes")
    assert reasons["e.csv"].startswith("line 2: not valid CSV")
    assert reasons["f.md"].startswith("contains no text")
    assert texts(index) == {**before, "notes/g.md": "sound"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreachable_files_are_not_removed(index: Index, folder: Path) -> None:
    run(index)
    (folder / "deep").chmod(0)
    try:
        assert files(run(index)) == (0, 0, 0, 2, 0)
    finally:
        (folder / "deep").chmod(0o755)


def test_a_file_that_changes_while_it_is_read(index: Index, folder: Path) -> None:
    run(index)
    before = texts(index)
    (folder / "a.md").write_text("changed once")
    ingest = Ingest(["notes"], index.encoder, chunking=Chunking(32, 8))
    assert ingest.plan(index).changed == ("notes/a.md",)
    (folder / "a.md").write_text("changed twice, and longer")
    report = ingest.apply(index)
    assert report.skipped[0].reason == "changed while it was read; run again"
    assert texts(index) == before
    run(index)
    assert texts(index)["notes/a.md"] == "changed twice, and longer"


def test_files_with_names_of_the_caller(index: Index, tmp_path: Path) -> None:
    (tmp_path / "upload-1").write_text("# A\n\nfirst")
    (tmp_path / "upload-2").write_text("# A\n\nsecond")
    run(index, SourceFile.named(tmp_path / "upload-1", "docs/a.md"))
    (tmp_path / "upload-1").unlink()
    assert texts(index) == {"docs/a.md": "# A\n\nfirst"}
    progress: list[tuple[int, int]] = []
    report = run(
        index, SourceFile.named(tmp_path / "upload-2", "docs/a.md"), on_progress=lambda *counts: progress.append(counts)
    )
    assert (files(report), progress) == ((0, 1, 0, 0, 0), [(1, 1)])
    assert texts(index) == {"docs/a.md": "# A\n\nsecond"}
    with pytest.raises(InputFileError, match="names must be unique"):
        run(index, *[SourceFile.named(tmp_path / "upload-2", "b.md")] * 2)


def test_declared_fields_are_converted_before_comparing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text,year\na,bat,2001\n")
    (tmp_path / "u.csv").write_text("id,text,year\nb,bat,soon\n")
    with Index.create(tmp_path / "i", encoder=WordEncoder(), filterable={"year": int}) as index:
        report = run(index, tmp_path / "t.csv", tmp_path / "u.csv")
        assert report.skipped[0].reason.startswith("line 2: field 'year' of 'b' must be a 64-bit int, got 'soon'")
        assert [hit.metadata for hit in index.search("bat", where={"year": 2001})] == [
            {"year": 2001, "source": (tmp_path / "t.csv").as_posix(), "line": 2}
        ]
        # Metadata are compared after conversion, so the document is unchanged.
        (tmp_path / "t.csv").write_text("id,text,year\na,bat,2001\nc,owl,2002\n")
        report = run(index, tmp_path / "t.csv")
        assert (report.added, report.unchanged) == (1, 1)


def test_an_index_without_recorded_sources(tmp_path: Path, folder: Path) -> None:
    with Index.create(tmp_path / "i", encoder=WordEncoder()) as index:
        index.add(["x", "y", "z"], ["fox one", "fox two", "zebra"])
        tables = {
            row[0]
            for row in sqlite3.connect(tmp_path / "i" / "catalog.sqlite").execute("SELECT name FROM sqlite_master")
        }
        assert "sources" not in tables
        assert index.sources.all() == {}
        report = run(index, "notes/c.jsonl")
        assert (report.added, report.unchanged) == (0, 2)
    with Index.open(tmp_path / "i", read_only=True, encoder=WordEncoder()) as index:
        assert list(index.sources.all()) == [str(folder / "c.jsonl")]
        assert index.stats().format_version == 2
        index.verify()


def test_small_files_share_commits(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(300):
        (many / f"{number}.txt").write_text(f"bat {number}")
    commits: list[int] = []
    store = Index.update_sources

    def counted(self: Index, changes: Any, **named: Any) -> Any:
        commits.append(len(changes))
        return store(self, changes, **named)

    monkeypatch.setattr(Index, "update_sources", counted)
    assert run(index, many).added == 300
    assert commits == [16, 32, 64, 128, 60, 0]


# kill -9 before every durable operation of an update that adds, replaces and removes: one process imports everything
# and forks for every kill; the test then checks what each killed process left.
KILLED = """
import os, shutil, signal, sys
sys.path.insert(0, {tests!r})
from helpers.fakes import WordEncoder
from serotine import Index
from serotine.index.store import sql
from serotine.index.files import durable
import serotine.ingest.commits as commits
from serotine.ingest import Chunking, update

commits._FIRST_COMMIT = commits._MAX_COMMIT = 2

def kill_at(function, count):
    def wrapped(*arguments):
        done.append(None)
        if len(done) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return wrapped

durable_operations = [(durable, name) for name in ("write", "sync", "rename", "sync_folder", "remove")]
durable_operations.append((sql, "commit"))
for count in range(1, 400, {step}):
    path = os.path.join({folder!r}, f"{{count:03}}")
    shutil.copytree({original!r}, path)
    child = os.fork()
    if child == 0:
        done = []
        for module, name in durable_operations:
            setattr(module, name, kill_at(getattr(module, name), count))
        with Index.open(path, encoder=WordEncoder()) as index:
            update(index, [{notes!r}], chunking=Chunking(32, 8))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status == 0:
        print("finished", flush=True)
        break
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
"""


def states(path: Path, notes: Path, before: dict[str, str | None]) -> list[dict[str, str | None]]:
    """Return the states that a reader may see: the index after every commit."""
    committed = [before]
    with Index.open(path, encoder=WordEncoder()) as index:
        store = Index.update_sources

        def watched(*arguments: Any, **named: Any) -> Any:
            report = store(index, *arguments, **named)
            # Staged documents change nothing that readers see.
            if texts(index) != committed[-1]:
                committed.append(texts(index))
            return report

        index.update_sources = watched  # type: ignore[method-assign]
        update(index, [notes], chunking=Chunking(32, 8))
    return committed


@pytest.mark.filterwarnings("ignore::serotine.errors.UnfinishedUpdateWarning")
@pytest.mark.parametrize("step", [2, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_killed_at_every_operation(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    original = tmp_path / "original"
    with Index.create(original, encoder=WordEncoder()) as index:
        run(index, folder)
    before = content(original)
    (folder / "a.md").write_text("# Title\n\n" + "Owls fly late. " * 40)
    write_jsonl(folder / "c.jsonl", x="fox one", y="fox changed", z="fox three")
    write_jsonl(folder / "d.jsonl", **{f"d{i}": f"emu {i}" for i in range(3)})
    shutil.rmtree(folder / "deep")
    # Commits so small that every file has its own, and the new .jsonl file two.
    monkeypatch.setattr(commits, "_FIRST_COMMIT", 2)
    monkeypatch.setattr(commits, "_MAX_COMMIT", 2)
    shutil.copytree(original, tmp_path / "copy")
    allowed = states(tmp_path / "copy", folder, before)
    assert len({json.dumps(state, sort_keys=True) for state in allowed}) == len(allowed) == 5
    killed = tmp_path / "killed"
    killed.mkdir()
    program = KILLED.format(
        tests=str(Path(__file__).parent), folder=str(killed), original=str(original), notes=str(folder), step=step
    )
    completed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=600 / step, check=False
    )
    assert (completed.returncode, completed.stdout) == (0, "finished\n"), completed.stderr
    reached: list[int] = []
    for path in sorted(killed.iterdir()):
        state = content(path)
        assert state in allowed, f"killed at operation {path.name}: {state}"
        reached.append(allowed.index(state))
        with Index.open(path, encoder=WordEncoder()) as index:
            run(index, folder)
            assert index.verify().stray_files == ()
        assert content(path) == allowed[-1]
    assert len(reached) > 30 / step
    assert set(reached) == set(range(5))
    assert reached == sorted(reached)


@pytest.mark.filterwarnings("ignore::serotine.errors.UnfinishedUpdateWarning")
def test_a_reader_never_sees_a_partly_replaced_file(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    versions = [" ".join([word] * 200) for word in ("bat", "owl", "fox")]
    file.write_text(versions[0])
    path = tmp_path / "i"
    with Index.create(path, encoder=WordEncoder()) as index:
        run(index, file)
        stop = threading.Event()
        observed: list[set[str]] = []

        def read() -> None:
            with Index.open(path, read_only=True, encoder=WordEncoder()) as reader:
                while not stop.is_set():
                    hits = reader.search("bat owl fox", k=99)
                    observed.append({(hit.text or "").split()[0] for hit in hits})

        thread = threading.Thread(target=read)
        thread.start()
        try:
            for turn in range(1, 7):
                file.write_text(versions[turn % 3])
                run(index, file)
        finally:
            stop.set()
            thread.join()
    assert len(observed) > 6
    assert all(len(words) == 1 for words in observed)
    assert len(set().union(*observed)) == 3
