"""Indexes from strangers, whose checksums match what was forged: refused in words, and nothing outside is touched."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder

from serotine import Index
from serotine.errors import IndexDamagedError
from serotine.index.files import SEGMENT_FOLDER, FileChecksum
from serotine.index.store import commits, record_checksums, settings
from serotine.ingest import update

DIM = 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An index of two segments."""
    with Index.create(tmp_path / "theirs" / "x", dim=DIM) as index:
        index.add(ids=["a", "b"], texts=["bat", "owl"], vectors=[np.eye(2, DIM)] * 2)
        index.add(ids=["c"], texts=["moth"], vectors=[np.eye(2, DIM)])
    return tmp_path / "theirs" / "x"


def forge(path: Path, statement: str, *values: object) -> None:
    """Change the catalog, and renew its checksums."""
    with closing(sqlite3.connect(path / "catalog.sqlite", isolation_level=None)) as connection:
        connection.execute(statement, values)
        record_checksums.renew(connection, commits.count(connection))


USES: dict[str, Callable[[Path, Path], object]] = {
    "open": lambda path, _: Index.open(path, read_only=True).close(),
    "write": lambda path, _: Index.open(path).close(),
    "restore": lambda path, target: Index.restore(path, target),
    "snapshot": lambda path, target: Index.open(path, read_only=True).snapshot(target),
    "repository": lambda path, target: Index.open(path, read_only=True).snapshot(f"file://{target}"),
}


@pytest.mark.parametrize("name", ["../../victim.vectors", "absolute", "", "victim.vectors", "{}.codes", b"junk", 7])
def test_a_file_name_that_no_index_writes_is_refused(path: Path, tmp_path: Path, name: str | bytes | int) -> None:
    with Index.open(path, read_only=True) as index:
        original = index._store.snapshot().segments[1].segment.path
    for victim in (path.parent / "victim.vectors", tmp_path / "elsewhere", path / SEGMENT_FOLDER / "victim.vectors"):
        victim.write_bytes(original.read_bytes())
    for folder in (tmp_path, tmp_path / "mine"):
        folder.mkdir(exist_ok=True)
        (folder / "victim.vectors").write_text("precious")
    if name == "absolute":
        name = str(tmp_path / "elsewhere")
    elif isinstance(name, str):
        name = name.format("0" * 32)
    inode = (tmp_path / "elsewhere").stat().st_ino
    forge(path, "UPDATE segments SET vectors_file = ? WHERE segment = 1", name)
    for use in USES.values():
        with pytest.raises(IndexDamagedError, match=r"segment 1: .* is not a file name of vectors; restore"):
            use(path, tmp_path / "mine" / "new")
    report = Index.salvage(path, tmp_path / "mine" / "new")
    assert (report.documents, [document.id for document in report.lost]) == (1, ["a", "b"])
    assert any("segment 1" in problem for problem in report.damaged)
    assert (tmp_path / "mine" / "victim.vectors").read_text() == "precious"
    assert (tmp_path / "victim.vectors").read_text() == "precious"
    assert (tmp_path / "elsewhere").stat().st_ino == inode


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("documents = 'x'", "segment 1: its numbers of documents, tokens and codebook are not all integers"),
        ("tokens = -1", "segment 1: its numbers of documents, tokens and codebook are not all integers"),
        ("codebook = 'x'", "segment 1: its numbers of documents, tokens and codebook are not all integers"),
        ("vectors_bytes = 'x'", "segment 1: the size or the checksum of its file of vectors is not valid"),
        ("vectors_checksum = x'00'", "segment 1: the size or the checksum of its file of vectors is not valid"),
    ],
)
def test_forged_rows_of_segments_are_refused_in_words(path: Path, tmp_path: Path, change: str, problem: str) -> None:
    forge(path, f"UPDATE segments SET {change} WHERE segment = 1")  # noqa: S608
    for use in USES.values():
        with pytest.raises(IndexDamagedError, match=problem):
            use(path, tmp_path / "new")
    assert Index.salvage(path, tmp_path / "new").documents == 1


def test_forged_rows_of_codebooks_are_refused_in_words(path: Path, tmp_path: Path) -> None:
    insertion = "INSERT INTO codebooks (file, bytes, checksum, centroids, tokens) VALUES "
    forge(path, insertion + "('../codebook', 1, '', 1, 1)")
    for use in USES.values():
        with pytest.raises(IndexDamagedError, match=r"codebook 1: '\.\./codebook' is not a file name of codebook"):
            use(path, tmp_path / "new")
    assert Index.salvage(path, tmp_path / "new").documents == 3
    forge(path, "UPDATE codebooks SET tokens = 'x'")
    with pytest.raises(IndexDamagedError, match="codebook 1: its numbers of centroids and tokens are not integers"):
        Index.open(path)


PROGRAMS = {
    "trigger": ["CREATE TRIGGER t AFTER INSERT ON documents BEGIN UPDATE documents SET live = 0; END"],
    "view": [
        "ALTER TABLE meta RENAME TO meta0",
        "CREATE VIEW meta AS SELECT key, value FROM meta0 UNION ALL SELECT 'zz', x FROM "
        "(WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c) WHERE x < 0",
    ],
    "virtual": ["CREATE VIRTUAL TABLE other USING fts5 (text)"],
    "computed": ["CREATE TABLE other (a, b AS (printf('%.*c', a, 'x')))"],
    "check": ["CREATE TABLE other (a, CHECK (length(printf('%.*c', a, 'x')) > 0))"],
    "reference": ["CREATE TABLE other (a REFERENCES segments ON DELETE CASCADE)"],
    "default": ["CREATE TABLE other (a DEFAULT (printf('%.*c', 9, 'x')))"],
    "index": ["CREATE INDEX other ON documents (printf('%.*c', number, 'x'))"],
    "condition": ["CREATE INDEX other ON documents (number) WHERE length(hex(text)) > 1"],
    "disguised": [
        "CREATE VIEW other AS SELECT 1",
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET type = 'table', sql = 'CREATE /**/' || substr(sql, 8) WHERE name = 'other'",
    ],
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_in_the_schema_is_refused_before_it_runs(path: Path, tmp_path: Path, program: str) -> None:
    with closing(sqlite3.connect(path / "catalog.sqlite", isolation_level=None)) as connection:
        for statement in PROGRAMS[program]:
            connection.execute(statement)
    uses: list[Callable[[Path, Path], object]] = [
        *USES.values(),
        Index.salvage,
        lambda path, _: Index.open_or_create(path, dim=DIM).close(),
    ]
    for use in uses:
        with pytest.raises(
            IndexDamagedError, match=r"catalog.sqlite: its schema has the (trigger|view|table|index) '|malformed"
        ):
            use(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_schema_of_every_feature_has_no_program(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("bats hunt moths at night")
    fields = {"as": str, "check": int, "a.b": bool, "it's": str, "ü (x)": str}
    with Index.create(tmp_path / "x", encoder=WordEncoder(), filterable=fields) as index:
        update(index, [tmp_path / "a.txt"])
        index.add(ids=["a"], texts=["Fledermäuse jagen nachts, und sie jagen Motten"], metadata=[{"as": "x"}])
        index.delete(["a"])
        index.tune(queries=["bats"])
    with Index.open(tmp_path / "x", encoder=WordEncoder()) as index:
        assert index.verify().documents == len(index) > 0


def forged_footer(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the footer of the first segment's file of vectors; the catalog has the size and checksum of the result."""
    with Index.open(path, read_only=True) as index:
        file = index._store.snapshot().segments[1].segment.path
    data = file.read_bytes()
    (start,) = struct.unpack_from("<Q", data, 24)
    footer = json.loads(data[start:])
    changed = change(footer)
    encoded = changed if isinstance(changed, bytes) else json.dumps(footer if changed is None else changed).encode()
    data = data[:32] + struct.pack("<Q", len(encoded)) + data[40:start] + encoded
    file.write_bytes(data)
    checksum = FileChecksum()
    checksum.update(data)
    forge(
        path,
        "UPDATE segments SET vectors_bytes = ?, vectors_checksum = ? WHERE segment = 1",
        len(data),
        checksum.hexdigest(),
    )


def nested(_: object) -> bytes:
    return b'{"arrays": {}, "attributes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    "change",
    [
        nested,
        lambda _: {"arrays": [], "attributes": {}},
        lambda _: {"arrays": "x", "attributes": {}},
        lambda _: [],
        lambda _: {"arrays": {}, "attributes": {}},
        lambda footer: footer.update(attributes=[]),
        lambda footer: footer["arrays"].update(numbers=5),
        lambda footer: footer["arrays"]["numbers"].__setitem__(0, ["<i8"]),
        lambda footer: footer["arrays"]["numbers"].__setitem__(1, [True]),
        lambda footer: footer["arrays"]["numbers"].__setitem__(1, [0, 10**30]),
        lambda footer: footer["arrays"]["numbers"].__setitem__(1, [1] * 100),
        lambda footer: footer["arrays"]["numbers"].__setitem__(2, "x"),
        lambda footer: footer["arrays"]["numbers"].__setitem__(2, 64.0),
        lambda footer: footer["arrays"]["offsets"].__setitem__(1, []),
        lambda footer: footer["arrays"]["offsets"].__setitem__(1, [0]),
    ],
)
def test_a_forged_file_is_damage_and_costs_its_own_documents(
    path: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    forged_footer(path, change)
    for read_only in (True, False):
        with pytest.raises(IndexDamagedError, match=r"\.vectors: .*damaged"):
            Index.open(path, read_only=read_only)
    report = Index.salvage(path, tmp_path / "new")
    assert (report.documents, [document.id for document in report.lost]) == (1, ["a", "b"])


def test_a_segment_without_documents_is_damage(path: Path, tmp_path: Path) -> None:
    def empty(footer: dict[str, Any]) -> None:
        footer["arrays"]["numbers"][1], footer["arrays"]["offsets"][1] = [0], [1]
        footer["arrays"]["vectors"][1] = [0, DIM]

    forged_footer(path, empty)
    forge(path, "UPDATE segments SET documents = 0, tokens = 0 WHERE segment = 1")
    with pytest.raises(IndexDamagedError, match="it has no documents"):
        Index.open(path)
    assert Index.salvage(path, tmp_path / "new").documents == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [("nbits", '"4"'), ("encoder", "5"), ("centroids", '"a"'), ("dim", "true"), ("dim", "null"), ("keep_vectors", "1")],
)
def test_forged_settings_are_refused_in_words(path: Path, key: str, value: str) -> None:
    with closing(sqlite3.connect(path / "catalog.sqlite", isolation_level=None)) as connection:
        rows = dict(connection.execute("SELECT key, value FROM meta")) | {key: value}
        keys = json.loads(rows["settings_checksum"])["keys"]
        checksum = json.dumps({"keys": keys, "checksum": settings._checksum(rows, keys)})
        for row in ((value, key), (checksum, "settings_checksum")):
            connection.execute("UPDATE meta SET value = ? WHERE key = ?", row)
        record_checksums.renew(connection, commits.count(connection))
    with pytest.raises(IndexDamagedError, match=f"the setting '{key}' is damaged"):
        Index.open(path)


@pytest.mark.parametrize("last", ["'x'", "-1", "9223372036854775807"])
def test_a_forged_last_number_is_damage(path: Path, last: str) -> None:
    forge(path, f"UPDATE sqlite_sequence SET seq = {last} WHERE name = 'documents'")  # noqa: S608
    with Index.open(path) as index, pytest.raises(IndexDamagedError, match="the last number of a document in the cat"):
        index.add(ids=["d"], vectors=[np.eye(2, DIM)])
