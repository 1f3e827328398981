"""Snapshots at URLs: whole or absent, sent once, resumed, checked, pruned."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.snapshot_cases import answers, backup, grow, growing, index, restored, small
from test_cli import Shell, shell

from serotine import Index
from serotine.errors import IndexDamagedError, IndexExistsError, NotAnIndexError, RepositoryError
from serotine.index.repository import filesystem, manifest, repository, transfer
from serotine.index.repository.objects import LocalObjects
from serotine.index.store.catalog import Catalog

__all__ = ["backup", "index", "shell", "small"]  # fixtures, used by their names

needs_fsspec = pytest.mark.skipif(importlib.util.find_spec("fsspec") is None, reason="fsspec is not installed")


def parts(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / "backup" / "parts").iterdir()}


def test_each_snapshot_is_the_state_it_was_taken_of(index: Index, tmp_path: Path, backup: str) -> None:
    first, before = index.snapshot(backup), (list(index.ids()), answers(index))
    index.delete(["n7"])
    grow(index, 20, 3)
    second, after = index.snapshot(backup), (list(index.ids()), answers(index))
    assert [one.name for one in Index.snapshots(backup)] == [first.name, second.name]
    assert first.documents == 12
    assert restored(backup, tmp_path / "a", name=first.name) == before
    assert restored(backup, tmp_path / "b", name=second.name) == after
    # The folder of a repository is one without file://, too; the hidden download is gone.
    assert Index.snapshots(tmp_path / "backup") == Index.snapshots(backup)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_unchanged_file_is_not_even_read_again(
    index: Index, tmp_path: Path, backup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = index.snapshot(backup)
    assert first.transferred == sum(map(len, parts(tmp_path).values()))
    sent: list[str] = []
    send = transfer.Upload.send
    monkeypatch.setattr(transfer.Upload, "send", lambda *given: (sent.append(given[2].name), send(*given))[1])
    assert index.snapshot(backup).transferred == 0
    assert sent == ["catalog.sqlite"]
    grow(index, 20, 1)
    sent.clear()
    assert 0 < index.snapshot(backup).transferred < first.transferred
    assert len(sent) == 2


def test_snapshots_are_consistent_while_a_writer_runs(tmp_path: Path, backup: str) -> None:
    names = []
    with growing(tmp_path / "x", 30) as finished:
        while not finished.is_set():
            with Index.open(tmp_path / "x", read_only=True, encoder=WordEncoder()) as reader:
                names.append(reader.snapshot(backup).name)
    for number, name in enumerate(names[-5:]):
        ids, _ = restored(backup, tmp_path / f"r{number}", name=name)
        assert ids == [f"n{i}" for i in range(len(ids))]


@pytest.mark.parametrize("target", ["copy", "file://{}/backup"])
def test_a_snapshot_of_an_index_that_merges_its_segments_meanwhile(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    # By its own writer, whose commits SQLite announces to others only.
    copy_to = Catalog.copy_to

    def copy_and_merge(catalog: Catalog, path: Path) -> None:
        copy_to(catalog, path)
        monkeypatch.setattr(Catalog, "copy_to", copy_to)
        index.compact()

    grow(index, 20, 2)
    monkeypatch.setattr(Catalog, "copy_to", copy_and_merge)
    assert index.snapshot(target.format(tmp_path) if "{" in target else tmp_path / target).documents == 14


def test_an_interrupted_snapshot_is_absent_and_resumed(
    index: Index, tmp_path: Path, backup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = LocalObjects.write

    def limited(self: LocalObjects, name: str, data: bytes) -> None:
        if name.startswith("parts/"):
            if len(written) == 3:
                raise KeyboardInterrupt
            written.append(name)
        write(self, name, data)

    monkeypatch.setattr(LocalObjects, "write", limited)
    with pytest.raises(KeyboardInterrupt):
        index.snapshot(backup)
    assert Index.snapshots(backup) == []
    present = parts(tmp_path)
    assert len(present) == 3
    monkeypatch.setattr(LocalObjects, "write", write)
    report = index.snapshot(backup)
    assert report.transferred == sum(len(data) for name, data in parts(tmp_path).items() if name not in present)
    assert restored(backup, tmp_path / "r")[0] == list(index.ids())


def test_an_interrupted_restore_is_resumed(
    index: Index, tmp_path: Path, backup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.snapshot(backup)
    total = Index.restore(backup, tmp_path / "whole").transferred
    read = transfer.Download._read
    count = 0

    def limited(self: transfer.Download, part: str) -> bytes:
        nonlocal count
        count += 1
        if count > 3:
            raise RepositoryError("gone")
        return read(self, part)

    monkeypatch.setattr(transfer.Download, "_read", limited)
    with pytest.raises(RepositoryError, match="gone"):
        Index.restore(backup, tmp_path / "r")
    assert not (tmp_path / "r").exists()
    monkeypatch.setattr(transfer.Download, "_read", read)
    report = Index.restore(backup, tmp_path / "r")
    assert 0 < report.transferred < total
    with Index.open(tmp_path / "r", encoder=WordEncoder()) as copy:
        assert answers(copy) == answers(index)


@pytest.mark.parametrize("how", ["changed", "cut", "removed"])
def test_a_damaged_object_is_named(index: Index, tmp_path: Path, backup: str, how: str) -> None:
    index.snapshot(backup)
    part = sorted((tmp_path / "backup" / "parts").iterdir())[0]
    data = part.read_bytes()
    if how == "removed":
        part.unlink()
    else:
        part.write_bytes(data[:-1] if how == "cut" else bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(IndexDamagedError, match=f"parts/{part.name}: .*; restore another snapshot"):
        Index.restore(backup, tmp_path / "r")
    assert not (tmp_path / "r").exists()
    if how != "changed":
        # The next snapshot sends what is missing, and mends those that need it.
        index.snapshot(backup)
        assert restored(backup, tmp_path / "r")[1] == answers(index)


def test_a_damaged_file_of_the_index_is_not_in_a_snapshot(index: Index, tmp_path: Path, backup: str) -> None:
    damaged = next((tmp_path / "x" / "segments").glob("*.codes"))
    data = bytearray(damaged.read_bytes())
    data[100] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(IndexDamagedError, match=f"x: the checksum of {damaged.name}"):
        index.snapshot(backup)
    assert Index.snapshots(backup) == []


def test_a_damaged_manifest_is_listed_and_stops_a_prune(index: Index, tmp_path: Path, backup: str) -> None:
    name = index.snapshot(backup).name
    path = tmp_path / "backup" / "snapshots" / str(name)
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "snapshot": stored["snapshot"].replace('"documents":12', '"documents":13')}))
    assert "the manifest is damaged" in Index.snapshots(backup)[0].damaged
    with pytest.raises(IndexDamagedError, match="nothing was pruned"):
        Index.prune_snapshots(backup, keep=1)
    with pytest.raises(IndexDamagedError, match=f"snapshots/{name}: the manifest is damaged"):
        Index.restore(backup, tmp_path / "r")
    path.write_text(json.dumps({**stored, "format": 2}))
    with pytest.raises(RepositoryError, match="format must be 1, got 2; update serotine"):
        Index.restore(backup, tmp_path / "r")


def test_a_manifest_cannot_name_files_elsewhere() -> None:
    file = manifest.StoredFile("../../escape", 0, "", ())
    forged = manifest.Manifest("a", "", 0, file, ())
    with pytest.raises(IndexDamagedError, match="is no file of an index"):
        manifest.parse_manifest(forged.encode(), "s")


def test_pruning_removes_only_what_no_snapshot_needs(index: Index, tmp_path: Path, backup: str) -> None:
    names: list[str] = []
    for step in range(4):
        grow(index, 100 * (step + 1), 6)
        index.compact()
        names.append(str(index.snapshot(backup).name))
    before = parts(tmp_path)
    report = Index.prune_snapshots(backup, keep=2)
    assert report.snapshots == tuple(names[:2])
    assert report.bytes == sum(map(len, before.values())) - sum(map(len, parts(tmp_path).values())) > 0
    for number, one in enumerate(Index.snapshots(backup)):
        restored(backup, tmp_path / f"r{number}", name=one.name)
    assert Index.prune_snapshots(backup, keep=2).objects == 0
    with pytest.raises(ValueError, match="keep: must be at least 1, got 0"):
        Index.prune_snapshots(backup, keep=0)


def test_the_newest_snapshot_stays_the_newest_when_the_clock_is_set_back(
    index: Index, backup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Yesterday(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - timedelta(days=1)

    first = index.snapshot(backup).name
    monkeypatch.setattr(repository, "datetime", Yesterday)
    second = index.snapshot(backup).name
    third = index.snapshot(backup).name
    assert [one.name for one in Index.snapshots(backup)] == [first, second, third]
    assert Index.snapshots(backup)[1].created < Index.snapshots(backup)[0].created
    assert Index.prune_snapshots(backup, keep=1).snapshots == (first, second)


def test_a_snapshot_and_a_prune_exclude_each_other(
    index: Index, tmp_path: Path, backup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.snapshot(backup)
    marker = tmp_path / "backup" / "operations" / "snapshot-1"
    marker.write_text(json.dumps({"time": time.time()}))
    with pytest.raises(RepositoryError, match="a snapshot is being written; try again"):
        Index.prune_snapshots(backup, keep=1)
    index.snapshot(backup)  # two snapshots share parts, and harm nothing
    marker.write_text(json.dumps({"time": time.time() - 4000}))
    Index.prune_snapshots(backup, keep=1)
    assert not marker.exists()
    (marker.parent / "prune-1").write_text(json.dumps({"time": time.time()}))
    with pytest.raises(RepositoryError, match="snapshots are being pruned; try again"):
        index.snapshot(backup)
    (marker.parent / "prune-1").unlink()
    # One that was suspended, and counted as dead meanwhile, does not commit.
    send = transfer.Upload.send

    def suspended(*given: Any) -> Any:
        for path in marker.parent.iterdir():
            path.unlink()
        return send(*given)

    monkeypatch.setattr(transfer.Upload, "send", suspended)
    with pytest.raises(RepositoryError, match="pruned while this snapshot was suspended"):
        index.snapshot(backup)
    assert len(Index.snapshots(backup)) == 1


def test_a_restore_checks_its_target_before_it_fetches(
    index: Index, tmp_path: Path, backup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.snapshot(backup)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    monkeypatch.setattr(transfer, "Download", None)
    with pytest.raises(IndexExistsError, match="already exists; pass overwrite=True"):
        Index.restore(backup, tmp_path / "x")
    with pytest.raises(NotAnIndexError, match="so it is not replaced"):
        Index.restore(backup, tmp_path / "other", overwrite=True)


def test_an_index_is_replaced_by_a_snapshot(index: Index, tmp_path: Path, backup: str) -> None:
    index.snapshot(backup)
    expected = list(index.ids()), answers(index)
    index.delete(["n7"])
    index.close()
    assert restored(backup, tmp_path / "x", overwrite=True) == expected


def test_bad_input_is_one_clear_line(index: Index, tmp_path: Path, backup: str) -> None:
    with pytest.raises(RepositoryError, match="backup: no snapshots; `serotine snapshot INDEX -o"):
        Index.restore(backup, tmp_path / "r")
    with pytest.raises(RepositoryError, match="not a snapshot repository; `serotine snapshot INDEX -o file:///"):
        Index.snapshots(tmp_path / "x")
    name = index.snapshot(backup).name
    with pytest.raises(RepositoryError, match=f"no snapshot 'monday'; the newest are {name}$"):
        Index.restore(backup, tmp_path / "r", name="monday")
    with pytest.raises(ValueError, match="name: only a snapshot repository has names"):
        Index.restore(tmp_path / "x", tmp_path / "r", name="monday")
    with pytest.raises(ValueError, match="hard_links: only a copy"):
        index.snapshot(backup, hard_links=True)
    with pytest.raises(TypeError, match="path: must be a string or a path, got int"):
        index.snapshot(3)  # type: ignore[arg-type]


@needs_fsspec
def test_urls_that_cannot_be_used(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RepositoryError, match="foo://a: unknown protocol 'foo'; install the package"):
        index.snapshot("foo://a")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(RepositoryError, match=r"gs://b/x: .*; run: pip install gcsfs"):
        index.snapshot("gs://b/x")
    monkeypatch.setitem(sys.modules, "paramiko", None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    with pytest.raises(RepositoryError, match=r"sftp://host/x: .*; run: pip install paramiko"):
        index.snapshot("sftp://me:hunter22@host/x")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(RepositoryError, match=r"s3://b needs the extra \[cloud\]; run: pip install"):
        index.snapshot("s3://b")


@needs_fsspec
def test_no_message_contains_a_credential(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.implementations.memory

    def fail(*given: Any, **named: Any) -> None:
        raise OSError("refused for sesame-open at ftp://me:hunter22@host/x?sig=abcdef")

    monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, "pipe_file", fail)
    with pytest.raises(RepositoryError, match=r"cannot be written \(refused for \*\*\* at ftp://host/x\)"):
        index.snapshot("memory://m", storage_options={"client": {"secret": "sesame-open"}})


@needs_fsspec
@pytest.mark.parametrize("atomic", [True, False])
def test_a_file_system_of_fsspec(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool) -> None:
    if not atomic:
        monkeypatch.setattr(filesystem, "_OBJECT_STORES", frozenset())
    url = f"memory://{tmp_path.name}-{atomic}"
    index.snapshot(url)
    grow(index, 20, 2)
    index.snapshot(url)
    assert restored(url, tmp_path / "r") == (list(index.ids()), answers(index))
    assert Index.prune_snapshots(url, keep=1).objects > 0
    assert restored(url, tmp_path / "s") == (list(index.ids()), answers(index))


def test_the_command_line(shell: Shell, tmp_path: Path) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    documents = shell.json("info", "i.serotine")["documents"]
    url = f"file://{tmp_path}/backup"
    first = shell.json("snapshot", "i.serotine", "-o", url)
    assert first["transferred"] > first["bytes"]
    assert ", 0 bytes sent; " in shell("snapshot", "i.serotine", "-o", url)
    listed = shell("snapshots", url)
    assert f"{first['name']}  {documents} documents, " in listed
    assert listed.endswith("2 snapshots.\n")
    assert "pass --overwrite" in shell.fails("restore", url, "-o", "i.serotine")
    newest = listed.split("\n")[1].split()[0]
    assert f"no snapshot 'x'; the newest are {newest}, " in shell.fails("restore", url, "-o", "r", "--name", "x")
    assert f"from snapshot {first['name']} of {url}; " in shell("restore", url, "-o", "r", "--name", first["name"])
    assert "sound; " in shell("verify", "r")
    assert "Removed 1 snapshot and 0 objects" in shell("snapshots", url, "--prune", "1")
    assert "--name: only a snapshot repository" in shell.fails(
        "restore", "i.serotine", "-o", "q", "--name", "x", status=2
    )
    assert "--hard-links: only a copy" in shell.fails("snapshot", "i.serotine", "-o", url, "--hard-links", status=2)


def test_vectors_of_an_empty_index(tmp_path: Path, backup: str) -> None:
    with Index.create(tmp_path / "x", dim=2) as index:
        assert index.snapshot(backup).documents == 0
        Index.restore(backup, tmp_path / "empty")
        index.add(ids=["a"], vectors=[np.eye(2)])
        assert index.snapshot(backup).documents == 1
    assert Index.restore(backup, tmp_path / "one").documents == 1
