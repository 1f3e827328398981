from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from serotine.errors import InputFileError
from serotine.ingest import read

if TYPE_CHECKING:
    from pathlib import Path


def write_jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_beir_fields(tmp_path: Path) -> None:
    file = write_jsonl(
        tmp_path / "corpus.jsonl",
        {"_id": "a", "title": "Bats", "text": "fly late", "year": 2020, "tags": ["x"]},
        {"id": 7, "title": None, "text": "  no title  "},
        {"_id": "c", "id": "other", "title": "Only a title"},
        {"_id": "d", "text": "four", "metadata": {"url": "u"}, "lang": "en"},
    )
    documents = list(read([file]))
    assert [(d.id, d.text, d.metadata) for d in documents] == [
        ("a", "Bats fly late", {"title": "Bats", "year": 2020, "tags": ["x"]}),
        ("7", "no title", {}),
        ("c", "Only a title", {"title": "Only a title", "id": "other"}),
        ("d", "four", {"url": "u", "lang": "en"}),
    ]
    assert documents[1].origin == f"{file}:2"


def test_gzip_blank_lines_byte_order_mark_and_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl.gz"
    text = '\ufeff{"_id": "a", "text": "\u2028é"}\r\n\n  \n{"_id": "b", "text": "z"}'
    with gzip.open(file, "wb") as stream:
        stream.write(text.encode())
    assert [(d.id, d.text, d.origin) for d in read([file])] == [("a", "é", f"{file}:1"), ("b", "z", f"{file}:4")]


def test_file_and_line_are_the_id_without_an_id_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.jsonl").write_text('{"text": "x"}\n\n{"_id": "b", "text": "y"}\n{"text": "z"}\n')
    (tmp_path / "d.csv").write_text("text,lang\nx,en\ny,fr\n")
    assert [d.id for d in read(["d.jsonl", "d.csv"])] == ["d.jsonl:1", "b", "d.jsonl:4", "d.csv:2", "d.csv:3"]


def test_csv_with_quotes_line_breaks_and_long_fields(tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    long_text = "word " * 40_000
    file.write_text(
        f'id,title,text,lang\r\n1,T,"a, ""b""\nc",en\r\n\r\n2,,{long_text},fr\r\n', encoding="utf-8", newline=""
    )
    first, second = read([file])
    assert (first.id, first.text, first.metadata) == ("1", 'T a, "b"\nc', {"title": "T", "lang": "en"})
    assert (second.text, second.origin) == (long_text.strip(), f"{file}:5")


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notes = tmp_path / "notes"
    (notes / "deep").mkdir(parents=True)
    (notes / ".git").mkdir()
    (notes / ".git" / "x.md").write_text("hidden")
    (notes / "b.md").write_text("# Title\n\nBody\n")
    (notes / "deep" / "a.TXT").write_text("first")
    (notes / "picture.png").write_bytes(b"\x89")
    assert [(d.id, d.text) for d in read(["notes"])] == [
        ("notes/b.md", "# Title\n\nBody"),
        ("notes/deep/a.TXT", "first"),
    ]
    write_jsonl(notes / "corpus.jsonl", {"_id": "beir", "text": "x"})
    write_jsonl(notes / "queries.jsonl", {"_id": "q", "text": "x"})
    assert [d.id for d in read(["notes", "notes/b.md"])] == ["beir", "notes/b.md"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"_id": "1", "text": "x"}\n{"_id": "2", "text"', r"a\.jsonl:2: not valid JSON .*column 20"),
        ("a.jsonl", b'["list"]', r"a\.jsonl:1: must be a JSON object, got list"),
        (
            "a.jsonl",
            b'{"_id": null, "text": "x"}',
            r"a\.jsonl:1: '_id' must be an integer, or a string that is not empty, got null",
        ),
        ("a.jsonl", b'{"_id": "", "text": "x"}', r"'_id' must be an integer, or a string that is not empty, got ''"),
        (
            "a.jsonl",
            b'{"_id": true, "text": "x"}',
            r"'_id' must be an integer, or a string that is not empty, got a boolean",
        ),
        ("a.jsonl", b'{"_id": "1"}', r"a\.jsonl:1: has neither 'text' nor 'title'"),
        ("a.jsonl", b'{"_id": "1", "text": ["x"]}', r"'text' must be a string, got a list"),
        ("a.jsonl", b'{"_id": "1", "text": NaN}', r"a\.jsonl:1: 'text' must be a string, got null"),
        (
            "a.jsonl",
            b'{"_id": "1", "text": "x", "n": 1e999}',
            r"a\.jsonl:1: not valid JSON \(Out of range",
        ),
        ("a.jsonl", b'{"_id": "1", "text": "\\ud800"}', r"a\.jsonl:1: contains a lone surrogate"),
        ("a.jsonl", b'{"_id": "1", "text": "x", "n": ' + b"[" * 200_000, r"a\.jsonl:1: not valid JSON"),
        ("a.jsonl", b'{"_id": "1", "text": "x", "n": ' + b"1" * 5_000 + b"}", r"a\.jsonl:1: not valid JSON"),
        ("a.jsonl", b'{"_id": "1", "text": "x", "l": 1, "metadata": {"l": 2}}', r"duplicate field 'l'"),
        (
            "a.jsonl",
            '{"_id": "1", "text": "x"}\n{"_id": "2", "text": "é"}'.encode("latin-1"),
            r"a\.jsonl:2: not UTF-8",
        ),
        ("a.jsonl", '{"_id": "1"}'.encode("utf-16"), r"a\.jsonl:1: not UTF-8 \(byte 0xff at column 1"),
        ("a.jsonl", b"\n\n", r"a\.jsonl: contains no documents"),
        ("a.jsonl.gz", b"plain", r"a\.jsonl\.gz: damaged, or not a gzip file"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"_id": "1", "text": "x"}' * 99, mtime=0)[:-9],
            r"a\.jsonl\.gz: damaged, or not a gzip",
        ),
        ("a.csv", b"", r"a\.csv: contains no documents"),
        ("a.csv", b"id,text\n", r"a\.csv: contains no documents"),
        ("a.csv", b"one,two\n1,2\n", r"a\.csv:1: the header must name a column 'text', got one, two"),
        ("a.csv", b"id,text\n1,a,b\n", r"a\.csv:2: must have 2 columns like the header, got 3"),
        ("a.csv", b'id,text\n1,"a\n', r"a\.csv:2: not valid CSV"),
        ("a.csv", b"id,text\n,a\n", r"a\.csv:2: 'id' must be an integer, or a string that is not empty, got ''"),
        ("a.csv", b"id,te\0xt\n1,a\n", r"a\.csv: not a text file: contains NUL bytes"),
        ("a.csv", b"id,text\n1,\0\n", r"a\.csv:2: contains a NUL byte; remove it"),
        ("a.jsonl", b'{"_id": 1.5, "text": "x"}', r"'_id' must be an integer, or a string that is not empty, got 1\.5"),
        ("a.txt", b"\x89PNG\r\n\0", r"a\.txt: not a text file: contains NUL bytes"),
        ("a.txt", b" \n", r"a\.txt: contains no documents"),
        # Two bytes that look like UTF-16.
        ("a.txt", b"\x00\x01", r"a\.txt: contains no documents"),
        ("a.md", "\x02\n\u200b\n".encode(), r"a\.md: contains no documents"),
        ("a.jsonl", b'{"_id": "1", "text": "\\u0001"}', r"a\.jsonl:1: 'text' is empty"),
        (
            "a.xyz",
            b"PK",
            r"a\.xyz: unknown type of file, got '\.xyz'; serotine\.ingest\.SUFFIXES has the types that are read",
        ),
    ],
)
def test_errors_name_the_file_and_the_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputFileError, match=message) as caught:
        list(read([tmp_path / name]))
    assert "\n" not in str(caught.value)


def test_missing_files_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file or folder"):
        list(read([tmp_path / "missing.jsonl"]))
    with pytest.raises(InputFileError, match="no files of known types in this folder; name files"):
        list(read([tmp_path]))


def test_reading_loads_one_line_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8", compresslevel=1) as stream:
        for number in range(4_000):
            stream.write(json.dumps({"_id": str(number), "text": "x" * 2_000}) + "\n")
    tracemalloc.start()
    try:
        assert sum(1 for _ in read([file])) == 4_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000  # the file is 8 MB
