"""Parquet files of strangers: forged footers and pages are refused in one line, and never end the process."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from serotine.errors import InputFileError
from serotine.ingest import ReadingLimits, parquet_batches
from serotine.ingest.readers.parquet_sizes import row_group_sizes
from serotine.ingest.readers.thrift import IncompleteError, ThriftReader

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra: pip install 'serotine[ingest]'")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra: pip install 'serotine[ingest]'")

ROOT = Path(__file__).parents[1]


def written(table: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table(table), sink, store_schema=False, **options)
    return sink.getvalue()


def footer_of(content: bytes) -> bytes:
    return content[-8 - int.from_bytes(content[-8:-4], "little") : -8]


def with_footer(content: bytes, footer: bytes) -> bytes:
    return content[: -8 - len(footer_of(content))] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def varint(value: int, length: int | None = None) -> bytes:
    """Return a number as Thrift has it; with a length, as long as no writer makes it."""
    number = value << 1
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    groups += [0] * ((length or len(groups)) - len(groups))
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def read(tmp_path: Path, content: bytes, **limits: int) -> list[dict[str, Any]]:
    file = tmp_path / "t.parquet"
    file.write_bytes(content)
    with (
        ReadingLimits(**limits).applied(),
        parquet_batches(file, "t.parquet", "ingest", "damaged, or not a Parquet file ({}); write it again") as opened,
    ):
        return [row for batch in opened[1] for row in batch]


ROWS = {"id": ["a", "b", "c"], "text": ["bat", "owl", "fox"], "list": [[1], [2, 3], []]}
OPTIONS = {
    "data_page_version": ("1.0", "2.0"),
    "compression": ("none", "snappy", "gzip", "brotli", "zstd", "lz4"),
    "use_dictionary": (True, False),
    "write_page_index": (True, False),
    "data_page_size": (None, 100),
}


@pytest.mark.parametrize("options", list(itertools.product(*OPTIONS.values())), ids=str)
def test_sizes_are_those_of_what_pyarrow_writes(options: tuple[Any, ...]) -> None:
    table = {
        "id": [str(i) for i in range(300)],
        "text": ["owl " * (i % 50) for i in range(300)],
        "list": [[{"a": "bat"}] * (i % 4) if i % 3 else None for i in range(300)],
        "none": pyarrow.nulls(300),
    }
    content = written(table, row_group_size=120, **dict(zip(OPTIONS, options, strict=True)))
    metadata = parquet.ParquetFile(io.BytesIO(content)).metadata
    groups = row_group_sizes(io.BytesIO(content))
    assert [group.rows for group in groups] == [120, 120, 60]
    for number, group in enumerate(groups):
        expected = [metadata.row_group(number).column(i) for i in range(metadata.num_columns)]
        assert [(column.path, column.values, column.bytes_) for column in group.columns] == [
            (column.path_in_schema, column.num_values, column.total_uncompressed_size) for column in expected
        ]


def test_files_without_rows_or_columns_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, written({"text": pyarrow.array([], pyarrow.string())})) == []
    assert read(tmp_path, written({})) == []


def test_no_flipped_bit_of_a_footer_ends_the_process(tmp_path: Path) -> None:
    program = """
        import sys
        from pathlib import Path
        sys.path.insert(0, "tests")
        from test_parquet_sizes import ROWS, footer_of, read, with_footer, written
        from serotine.errors import InputFileError
        folder, content = Path(sys.argv[1]), written({"list": ROWS["list"]}, write_statistics=False)
        footer = footer_of(content)
        refused = readable = 0
        for bit in range(8 * len(footer)):
            changed = bytearray(footer)
            changed[bit // 8] ^= 1 << bit % 8
            try:
                read(folder, with_footer(content, bytes(changed)))
                readable += 1
            except InputFileError as error:
                assert str(error).startswith("t.parquet: ") and "\\n" not in str(error), error
                refused += 1
        print(refused, readable)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, f"status {run.returncode}: {run.stderr[-2000:]}"
    refused, readable = map(int, run.stdout.split())
    assert min(refused, readable) > 100


def test_a_footer_that_ends_pyarrows_process_is_refused(tmp_path: Path) -> None:
    content = written({"list": ROWS["list"]})
    # The list is required instead of optional, so the histogram of its levels has a level too many.
    forged = footer_of(content).replace(b"\x35\x02\x18\x04list", b"\x35\x00\x18\x04list")
    file = tmp_path / "forged.parquet"
    file.write_bytes(with_footer(content, forged))
    asking = "import pyarrow.parquet as p, sys; p.ParquetFile(sys.argv[1]).metadata.row_group(0).column(0)"
    assert subprocess.run([sys.executable, "-c", asking, str(file)], capture_output=True).returncode < 0
    with pytest.raises(
        InputFileError, match=r"t\.parquet: damaged, or not a Parquet file \(Definition level histogram"
    ):
        read(tmp_path, file.read_bytes())


def test_a_column_without_metadata_is_refused(tmp_path: Path) -> None:
    content = written(ROWS)
    column = parquet.ParquetFile(io.BytesIO(content)).metadata.row_group(0).column(0)
    # A column's place in the file, and the head of its metadata: the next field, a structure.
    place = b"\x26" + varint(column.file_offset) + b"\x1c"
    forged = footer_of(content).replace(place, place[:-1] + b"\xfc", 1)
    with pytest.raises(InputFileError, match=r"t\.parquet: damaged, .*has no metadata, or is encrypted"):
        read(tmp_path, with_footer(content, forged))


def test_sizes_that_a_footer_lies_about_are_those_of_the_pages(tmp_path: Path) -> None:
    content = written({"text": ["a" * (1 << 22)]}, compression="zstd", use_dictionary=False, write_statistics=False)
    unpacked = parquet.ParquetFile(io.BytesIO(content)).metadata.row_group(0).column(0).total_uncompressed_size
    assert len(content) < 1 << 12 < 1 << 22 < unpacked
    honest = varint(unpacked)
    footer = footer_of(content).replace(honest, varint(10, len(honest)))
    assert footer != footer_of(content)
    forged = with_footer(content, footer)
    assert parquet.ParquetFile(io.BytesIO(forged)).metadata.row_group(0).column(0).total_uncompressed_size == 10
    with pytest.raises(InputFileError, match="row group 1 must unpack to at most 1 MiB"):
        read(tmp_path, forged, row_group_bytes=1 << 20)


def test_columns_that_share_bytes_are_refused(tmp_path: Path) -> None:
    # Otherwise a footer could have them read once for each of its columns.
    content = written({"text": ["bat owl fox" * 200]}, use_dictionary=False, compression="none", write_statistics=False)
    footer = footer_of(content)
    assert row_group_sizes(io.BytesIO(with_footer(content, footer)))
    # The number of rows, and a list of one structure: the row group.
    head = b"\x16" + varint(1) + b"\x19\x1c"
    start = footer.index(head) + len(head)
    reader = ThriftReader(footer[start:])
    reader.struct()
    group, rest = footer[start : start + reader.position], footer[start + reader.position :]
    forged = footer[: start - 1] + b"\x2c" + group * 2 + rest
    with pytest.raises(InputFileError, match="must be within the file and no other column"):
        read(tmp_path, with_footer(content, forged))


def test_malformed_structures_are_refused() -> None:
    assert ThriftReader(b"\x15\x04\x18\x02ab\x11\x00").struct() == {1: 2, 2: b"ab", 3: True}
    with pytest.raises(ValueError, match="has field 1 twice"):
        ThriftReader(b"\x15\x04\x05\x02\x04\x00").struct()
    with pytest.raises(ValueError, match="nested more than 16 levels"):
        ThriftReader(b"\x1c" * 100 + b"\x00" * 101).struct()
    with pytest.raises(IncompleteError, match="ends within a list"):
        ThriftReader(b"\x19\xfc\xff\xff\xff\xff\x0f\x00").struct()
    with pytest.raises(IncompleteError, match="ends within a text"):
        ThriftReader(b"\x18\xff\xff\xff\xff\x0fab").struct()
    with pytest.raises(ValueError, match="a number of more than 10 bytes"):
        ThriftReader(b"\x16" + b"\x80" * 11 + b"\x00").struct()
    with pytest.raises(ValueError, match="unknown type 14"):
        ThriftReader(b"\x1e\x00").struct()


@pytest.mark.parametrize("length", [0, 4, 11])
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(InputFileError, match=r"t\.parquet: damaged, or not a Parquet file"):
        read(tmp_path, b"PAR1"[:length] + b"x" * max(0, length - 4))
    with pytest.raises(InputFileError, match="footer must be within the file"):
        read(tmp_path, b"PAR1" + (1 << 30).to_bytes(4, "little") + b"PAR1")
