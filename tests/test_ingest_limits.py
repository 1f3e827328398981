"""Limits of what is read of one file: what is larger is skipped with its reason, and costs little memory."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.office_cases import PRESENTATION, docx, odt, packed
from helpers.pdf_cases import nested_forms

from serotine import Index
from serotine.errors import InputFileError
from serotine.ingest import Fields, IngestReport, ReadingLimits, SourceFile, file_types, update
from serotine.ingest.limits import reading_limits
from serotine.ingest.readers.parquet_texts import text_bytes

try:
    import pyarrow
    import pyarrow.parquet as parquet
except ImportError:
    parquet = None
needs_parquet = pytest.mark.skipif(parquet is None, reason="needs the extra: pip install 'serotine[ingest]'")

LIMITS = ReadingLimits(text_bytes=1000, record_bytes=5000)


def ingest(tmp_path: Path, name: str, content: bytes, limits: ReadingLimits = LIMITS) -> IngestReport:
    path = tmp_path / name
    path.write_bytes(content)
    with Index.open_or_create(tmp_path / "i", encoder=WordEncoder()) as index:
        return update(index, [path], limits=limits)


def records(texts: list[str]) -> list[bytes]:
    return [json.dumps({"text": text}).encode() for text in texts]


LONG_TEXT, LONG_LINE = "a " * 600, "a " * 3000


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_long_lines_and_texts_of_json_lines_are_skipped(tmp_path: Path, suffix: str) -> None:
    content = b"\n".join(records(["one", LONG_TEXT, LONG_LINE, "two"]))
    report = ingest(tmp_path, f"a.jsonl{suffix}", gzip.compress(content) if suffix else content)
    assert (report.added, report.skipped_rows.count) == (2, 2)
    first, second = report.skipped_rows.first
    assert (first.line, second.line) == (2, 3)
    assert "the text must be at most 1,000 bytes" in first.reason
    assert "ReadingLimits(text_bytes=...)" in first.reason
    assert "a line must be at most 5,000 bytes" in second.reason
    assert "ReadingLimits(record_bytes=...)" in second.reason


def test_long_rows_of_csv_are_skipped(tmp_path: Path) -> None:
    many_lines = '"' + "a a a\n" * 1000 + '"'
    report = ingest(tmp_path, "a.csv", f"text\none\n{LONG_TEXT}\n{many_lines}\ntwo\n".encode())
    assert report.added == 1001
    assert any("a row must be at most 5,000 bytes" in row.reason for row in report.skipped_rows.first)
    report = ingest(tmp_path, "b.csv", f"text\none\n{LONG_LINE}\n".encode())
    assert "line 3: a line must be at most 5,000 bytes" in report.skipped[0].reason


def test_long_messages_of_a_mailbox_are_skipped(tmp_path: Path) -> None:
    head = b"From anna@a.b Tue Nov 24 10:00:00 2026\nSubject: s\n\n"
    report = ingest(tmp_path, "a.mbox", head + b"one\n\n" + head + b"a a a\n" * 2000 + b"\n" + head + b"two\n")
    assert (report.added, report.skipped_rows.count) == (2, 1)
    assert "a message must be at most 5,000 bytes" in report.skipped_rows.first[0].reason


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", LONG_TEXT.encode(), "the text must be at most 1,000 bytes"),
        ("a.md", LONG_LINE.encode(), "must be at most 5,000 bytes, as all files of this kind"),
        ("a.json", json.dumps([{"text": "a"}] * 1000).encode(), "must be at most 5,000 bytes"),
        ("a.html", b"<p>" + b"<b></b>" * 1000, "must be at most 5,000 bytes"),
        ("a.txt.gz", gzip.compress(b"a " * 100_000, mtime=0), "must be at most 5,000 bytes"),
    ],
)
def test_large_files_are_skipped_with_their_reason(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (skipped,) = ingest(tmp_path, name, content).skipped
    assert reason in skipped.reason


def test_larger_limits_read_what_smaller_ones_skipped(tmp_path: Path) -> None:
    assert ingest(tmp_path, "a.txt", LONG_TEXT.encode()).skipped
    assert ingest(tmp_path, "a.txt", LONG_TEXT.encode(), ReadingLimits(text_bytes=2000)).added > 0
    content = b"\n".join(records(["one", LONG_TEXT]))
    assert ingest(tmp_path, "a.jsonl", content).added == 1
    report = ingest(tmp_path, "a.jsonl", content, ReadingLimits())
    assert (report.added > 0, report.skipped_rows.count) == (True, 0)


def test_json_of_too_many_values_is_refused(tmp_path: Path) -> None:
    limits = ReadingLimits(values=50)
    bad = b'{"text": "a", "list": [' + b"1," * 60 + b"1]}"
    commas = json.dumps({"text": "a," * 60}).encode()
    report = ingest(tmp_path, "a.jsonl", bad + b"\n" + commas + b"\n", limits)
    assert (report.skipped_rows.count, report.skipped_rows.first[0].line) == (1, 1)
    assert "more than 50 values" in report.skipped_rows.first[0].reason


@pytest.mark.parametrize("encoding", [None, "utf-16"])
def test_a_compressed_file_of_many_lines_is_refused(tmp_path: Path, encoding: str | None) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(records(["a"] * 1000)).decode().encode(encoding or "utf-8")))
    limits, fields = ReadingLimits(unpacked_bytes=5000), Fields(encoding=encoding)
    with Index.create(tmp_path / "i", encoder=WordEncoder()) as index:
        (skipped,) = update(index, [path], limits=limits, fields=fields).skipped
    assert "unpacks to more than 5,000 bytes" in skipped.reason


def pdf(stream: bytes, layers: int = 1) -> bytes:
    for _ in range(layers):
        stream = zlib.compress(stream, 9)
    filters = b"/FlateDecode " * layers
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R "
        b"/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d /Filter [%s] >>\nstream\n%s\nendstream" % (len(stream), filters, stream),
    ]
    content = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(content)
    head = b"xref\n0 5\n0000000000 65535 f \n" + table
    return content + head + b"trailer << /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.timeout(60)
def test_a_pdf_that_unpacks_to_a_megabyte_is_read(tmp_path: Path, layers: int) -> None:
    pytest.importorskip("pypdfium2")
    # More than is unpacked at a time, from fewer bytes than are: what follows the stream is then in the last piece.
    content = b"BT /F1 12 Tf 10 100 Td (Bats eat moths) Tj ET\n" + b"q Q " * (1 << 18)
    assert ingest(tmp_path, "stream.pdf", pdf(content, layers), ReadingLimits()).added == 1


@pytest.mark.parametrize("layers", [1, 2])
def test_a_pdf_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, layers: int) -> None:
    pytest.importorskip("pypdfium2")
    line = b"BT /F1 12 Tf 10 100 Td (Bats eat moths) Tj ET\n"
    assert ingest(tmp_path, "small.pdf", pdf(line, layers), ReadingLimits()).added == 1
    (skipped,) = ingest(tmp_path, "large.pdf", pdf(line * 20_000, layers), ReadingLimits(stream_bytes=1 << 19)).skipped
    assert "must unpack to at most 512 KiB" in skipped.reason


@needs_parquet
def test_a_parquet_file_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"text": ["a" * 10_000 + str(i) for i in range(50)]}), tmp_path / "p.parquet")
    content = (tmp_path / "p.parquet").read_bytes()
    (skipped,) = ingest(tmp_path, "p.parquet", content, ReadingLimits(row_group_bytes=1 << 16)).skipped
    assert "row group 1 must unpack to at most 64 KiB" in skipped.reason
    assert ingest(tmp_path, "p.parquet", content, ReadingLimits()).added > 0


def test_a_file_whose_rows_expand_without_end_is_refused(tmp_path: Path) -> None:
    content = gzip.compress(b"text\n" + b"bats eat moths\n" * 1_000)
    limits = ReadingLimits(record_bytes=500, expansion=20)
    (skipped,) = ingest(tmp_path, "a.csv.gz", content, limits).skipped
    assert f"at most {20 * len(content):,} characters together, as it has {len(content):,} bytes" in skipped.reason
    assert "a row counts 200 at least" in skipped.reason
    assert "or raise --max-expansion" in skipped.reason
    assert ingest(tmp_path, "a.csv.gz", content, ReadingLimits(record_bytes=500, expansion=10_000)).added == 1_000
    assert ingest(tmp_path, "b.csv.gz", content, ReadingLimits(expansion=1)).added == 1_000


@needs_parquet
@pytest.mark.parametrize("nested", [False, True])
def test_one_long_text_in_many_rows_of_parquet_is_refused(tmp_path: Path, nested: bool) -> None:
    long = ["bat " * 10_000] * 200
    columns = {"text": ["owl"] * 200, "place": [{"note": text} for text in long]} if nested else {"text": long}
    parquet.write_table(pyarrow.table(columns), tmp_path / "p.parquet", compression="zstd")
    content = (tmp_path / "p.parquet").read_bytes()
    assert len(content) < 5000
    (skipped,) = ingest(tmp_path, "p.parquet", content, ReadingLimits(record_bytes=1 << 20)).skipped
    assert "at most 1,048,576 characters together" in skipped.reason


@needs_parquet
def test_texts_are_measured_wherever_a_row_has_them() -> None:
    text = pyarrow.array(["ab", None, "c"])
    pairs = pyarrow.map_(pyarrow.string(), pyarrow.string())
    assert text_bytes(text).tolist() == text_bytes(text.dictionary_encode()).tolist() == [2, 0, 1]
    assert text_bytes(pyarrow.array([["ab", "c"], None, [], ["d"]])[1:]).tolist() == [0, 0, 1]
    assert text_bytes(pyarrow.array([{"a": "ab", "b": ["c"]}, None])).tolist() == [3, 0]
    assert text_bytes(pyarrow.array([[("ab", "c")], []], pairs)).tolist() == [3, 0]
    assert text_bytes(pyarrow.array([["ab", "c"], None], pyarrow.list_(pyarrow.string(), 2))).tolist() == [3, 0]
    assert text_bytes(pyarrow.array([1, 2])).tolist() == [0, 0]


def test_metadata_that_every_passage_repeats_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serotine.cutting._MAX_REPEATED_METADATA", 5_000)
    title, text = "owl " * 100, "a bat eats moths " * 2_000
    record = json.dumps({"text": text, "note": title}).encode()
    for name, content in (("a.md", f"# {title}\n\n{text}".encode()), ("a.jsonl", record)):
        report = ingest(tmp_path, name, content, ReadingLimits())
        reasons = [skipped.reason for skipped in (*report.skipped, *report.skipped_rows.first)]
        assert len(reasons) == 1
        assert "the metadata of its passages must be at most" in reasons[0]


def test_on_step_ends_the_reading_of_one_long_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(records(["bat " * 100_000, "owl"])))
    steps = 0

    def on_step() -> None:
        nonlocal steps
        steps += 1
        if steps == 5:
            raise KeyboardInterrupt

    with Index.create(tmp_path / "i", encoder=WordEncoder()) as index:
        with pytest.raises(KeyboardInterrupt):
            update(index, [tmp_path / "a.jsonl"], on_step=on_step)
        # The file, its first row, and portions of that.
        assert (steps, len(index)) == (5, 0)


def test_limits_apply_within_their_block_only() -> None:
    with LIMITS.applied():
        assert reading_limits() is LIMITS
    assert reading_limits() == ReadingLimits()
    with pytest.raises(ValueError, match="text_bytes: must be at least 1, got 0"):
        ReadingLimits(text_bytes=0)


def test_defaults_are_those_that_the_documentation_states() -> None:
    limits = ReadingLimits()
    assert (limits.text_bytes, limits.record_bytes, limits.expansion) == (8 << 20, 64 << 20, 100)


# An upload's memory is at most this multiple of its record limit, plus what the process has without it.
MULTIPLE = 40
LIMIT_MIB = 4
MULTIPART = b"Subject: a\nContent-Type: multipart/mixed; boundary=b\n\n"
PARQUET = ("rows", "value", "list", "struct", "groups", "overflow")


def bombs(folder: Path) -> dict[str, Path]:
    """Write small files that unpack to gigabytes, or that take many times their size in memory."""
    files: dict[str, Any] = {
        "line.jsonl.gz": gzip.compress(b'{"text": "' + b"a" * (1 << 28) + b'"}', 1),
        "arrays.jsonl": b'{"text": "a", "x": [' + b"[]," * (1 << 20) + b"[]]}",
        "text.txt.gz": gzip.compress(b"a " * (1 << 27), 1),
        "line.csv.gz": gzip.compress(b"text\n" + b"a" * (1 << 28), 1),
        "row.csv.gz": gzip.compress(b'text\n"' + (b"a" * (1 << 20) + b"\n") * 200, 1),
        "message.mbox.gz": gzip.compress(
            b"From a@b.c Tue Nov 24 10:00:00 2026\nA: b\n\n" + (b"a" * 1000 + b"\n") * (1 << 17), 1
        ),
        "page.pdf": pdf(b"BT /F1 12 Tf 10 100 Td (Bats eat moths) Tj ET\n" * (4 << 20)),
        "forms.pdf": nested_forms(40),
        "array.json.gz": gzip.compress(b"[" + b"{}," * (20 << 20) + b"{}]", 1),
        # Each row takes memory for its id, however short it is.
        "rows.csv.gz": gzip.compress(b"text\n" + b"a\n" * (1 << 20), 1),
        "heading.md": b"# " + b"bat " * (1 << 16) + b"\n\n" + b"## a\n\nowl\n\n" * 15_000,
        "lines.eml": b"Subject: a\n\n" + b"\n" * (LIMIT_MIB << 20),
        "parts.eml": MULTIPART + b"--b\nContent-Type: text/plain\n\nx\n" * 30_000,
        "tags.html": b"<p>" * (LIMIT_MIB << 18),
        "paragraphs.docx": docx("<x:p/>" * (4 << 20)),
        "shapes.pptx": packed(".pptx", slide1=f"<x:sld {PRESENTATION}>{'<x:sp/>' * (2 << 20)}</x:sld>"),
        "cell.odt": odt(
            f'<t:table><t:table-row><t:table-cell t:number-columns-repeated="99"><t:p>{"bat " * (1 << 20)}</t:p>'
            "</t:table-cell></t:table-row></t:table>"
        ),
        "chapters.epub": packed(".epub", two="<html><body>" + "<p>bat</p>" * (1 << 20)),
    }
    paths = {}
    for name, content in files.items():
        paths[name] = folder / name
        paths[name].write_bytes(content)
    # One value in a dictionary, referred to by every row; and one long value, compressed.
    for name, rows, size in (("rows.parquet", 1 << 12, 1 << 20), ("value.parquet", 1, 1 << 29)):
        if parquet is not None:
            paths[name] = folder / name
            indices = pyarrow.array(np.zeros(rows, dtype=np.int32))
            column = pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(["a" * size]))
            parquet.write_table(pyarrow.table({"text": column}), paths[name], compression="zstd")
            assert paths[name].stat().st_size < 1 << 20
    if parquet is not None:
        # The same in lists and in structures.
        column = [["bat " * (1 << 18)] * 100, []]
        for name, values in (("list.parquet", column), ("struct.parquet", [{"a": text} for text in column[0]])):
            paths[name] = folder / name
            table = pyarrow.table({"text": ["owl"] * len(values), "x": values})
            parquet.write_table(table, paths[name], compression="zstd")
        # In lists over several row groups, and in lists of which the last texts are in no dictionary.
        short = [[f"{i}" * 400] for i in range(3000)]
        for name, values, options in (
            ("groups.parquet", column * 3, {"row_group_size": 2}),
            ("overflow.parquet", [*column, *short], {"dictionary_pagesize_limit": 1 << 21, "data_page_size": 500}),
        ):
            paths[name] = folder / name
            table = pyarrow.table({"text": ["owl"] * len(values), "x": values})
            parquet.write_table(table, paths[name], compression="zstd", **options)
    return paths


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return bombs(tmp_path_factory.mktemp("hostile"))


_PROGRAM = """
    import resource, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from helpers.fakes import WordEncoder
    import pypdfium2, chardet
    try:
        import pyarrow.parquet
    except ImportError:
        pass
    from serotine import Index
    from serotine.ingest import ReadingLimits, SourceFile, update
    folder, file, limit, multiple = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    with Index.create(folder / "i", encoder=WordEncoder()) as index:
        (folder / "first.txt").write_text("a bat")
        first = [folder / "first.txt"]
        if file.suffix == ".parquet":
            # Starts pyarrow's threads, each of which reserves addresses.
            first.append(folder / "first.parquet")
            pyarrow.parquet.write_table(pyarrow.table({{"text": ["a bat"] * 5000}}), first[-1])
        update(index, first)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = used + multiple * limit
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        limits = ReadingLimits(text_bytes=limit // 8, record_bytes=limit, stream_bytes=limit, row_group_bytes=4 * limit,
                               values=limit // 16)
        report = update(index, [SourceFile.named(file, file.name)], upsert=True, limits=limits)
        print([skipped.reason for skipped in report.skipped], report.skipped_rows.count, report.added)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "name",
    [
        *("line.jsonl.gz", "arrays.jsonl", "text.txt.gz", "line.csv.gz", "row.csv.gz", "message.mbox.gz", "page.pdf"),
        "forms.pdf",
        *("array.json.gz", "rows.csv.gz", "heading.md", "tags.html", "paragraphs.docx", "cell.odt", "chapters.epub"),
        *("lines.eml", "parts.eml", "shapes.pptx"),
        *(pytest.param(f"{name}.parquet", marks=needs_parquet) for name in PARQUET),
    ],
)
def test_an_upload_costs_a_multiple_of_its_limit(hostile: dict[str, Path], tmp_path: Path, name: str) -> None:
    program = textwrap.dedent(_PROGRAM).format(tests=str(Path(__file__).parent))
    arguments = [str(tmp_path), str(hostile[name]), str(LIMIT_MIB << 20), str(MULTIPLE)]
    completed = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=280, env=os.environ
    )
    assert completed.returncode == 0, completed.stderr[-2000:]
    assert "MemoryError" not in completed.stdout


def test_parts_of_an_email_are_bounded(tmp_path: Path) -> None:
    part = b"--b\nContent-Type: text/plain\n\nx\n"
    assert ingest(tmp_path, "few.eml", MULTIPART + part * 1000, ReadingLimits()).files_added == 1
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(900))
    for name, content, reason in (
        ("parts.eml", MULTIPART + part * 20_001, "at most 20,000 parts, and fewer within each other, got 20,001 "),
        ("levels.eml", b"Subject: a\n" + nested + b"\n" * 200_000, "and 900 boundaries; save its attachments as"),
        ("lines.eml", MULTIPART + b"\n" * 4_000_001, "an e-mail must have at most 4,000,000 lines, got"),
    ):
        (skipped,) = ingest(tmp_path, name, content, ReadingLimits()).skipped
        assert reason in skipped.reason


def test_reading_without_limits_uses_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a " * (5 << 20))
    with pytest.raises(InputFileError, match="the text must be at most 8 MiB"):
        list(SourceFile.at(tmp_path / "a.txt").documents())


@pytest.mark.parametrize("name", ["a.md", "a.jsonl"])
def test_a_file_that_takes_all_memory_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def read(*_: object) -> None:
        raise MemoryError

    monkeypatch.setitem(file_types.TEXT_READERS, ".md", read)
    monkeypatch.setitem(file_types.RECORD_READERS, ".jsonl", read)
    (skipped,) = ingest(tmp_path, name, b"bat").skipped
    assert (skipped.reason, skipped.file) == ("takes more memory to read than there is; split it", str(tmp_path / name))


def test_a_notebook_of_too_many_values_is_refused(tmp_path: Path) -> None:
    content = b'{"cells": [' + b"[]," * 60 + b"[]]}"
    (skipped,) = ingest(tmp_path, "a.ipynb", content, ReadingLimits(values=50)).skipped
    assert "more than 50 values" in skipped.reason


def test_a_row_with_large_metadata_is_skipped(tmp_path: Path) -> None:
    rows = [{"_id": "large", "text": "bat", "notes": "x" * 1_000_000}, {"_id": "small", "text": "owl", "notes": "x"}]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    report = ingest(tmp_path, "a.jsonl", content, ReadingLimits())
    assert (report.added, report.skipped_rows.count) == (1, 1)
    assert "metadata of 'large': must have at most 917,504 characters, got 1,000,005" in str(report)
