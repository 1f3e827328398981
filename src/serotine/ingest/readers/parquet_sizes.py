"""What a Parquet file unpacks to, from its footer and the headers of its pages, before pyarrow reads it.

pyarrow ends the process when it is asked for the columns of a forged footer, and believes its sizes. The headers of
pages it checks: a page is unpacked into a buffer of the size that its header has.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, BinaryIO

from serotine.ingest.limits import reading_limits, size
from serotine.ingest.readers.thrift import IncompleteError, ThriftReader

_MAGIC = b"PAR1"
_TAIL = 8
_FIRST_READ = 1 << 9


@dataclass(frozen=True, slots=True)
class ColumnSize:
    """A column of a row group.

    Attributes:
        path: its name, with the names of those it is in.
        values: in its rows; many to a row of a list.
        bytes_: of its pages, unpacked.
    """

    path: str
    values: int
    bytes_: int


@dataclass(frozen=True, slots=True)
class RowGroupSize:
    """A row group."""

    rows: int
    columns: list[ColumnSize]


def row_group_sizes(file: BinaryIO) -> list[RowGroupSize]:
    """Return the sizes of the row groups of a file.

    Raises:
        ValueError: the footer or the header of a page is malformed.
    """
    end = file.seek(0, os.SEEK_END)
    groups = []
    # Columns that share bytes would be read as often as there are columns.
    left = end
    for group in _structs(_footer(file, end), 4, "row groups"):
        columns = []
        for chunk in _structs(group, 1, "columns of a row group"):
            column, length = _column_size(file, end, left, chunk)
            columns.append(column)
            left -= length
        groups.append(RowGroupSize(_number(group, 3, "rows of a row group"), columns))
    return groups


def _footer(file: BinaryIO, end: int) -> dict[int, Any]:
    file.seek(max(end - _TAIL, 0))
    tail = file.read(_TAIL)
    if len(tail) < _TAIL or tail[4:] != _MAGIC:
        raise ValueError("it does not end as a Parquet file does")
    length = int.from_bytes(tail[:4], "little")
    limit = reading_limits().record_bytes
    if length > min(end - _TAIL, limit):
        raise ValueError(f"its footer must be within the file and at most {size(limit)}, got {length:,} bytes")
    file.seek(end - _TAIL - length)
    return _struct(file.read(length), "the footer")


def _struct(data: bytes, what: str) -> dict[int, Any]:
    try:
        return ThriftReader(data).struct()
    except ValueError as error:
        raise ValueError(f"{what} {error}") from None


def _column_size(file: BinaryIO, end: int, left: int, chunk: dict[int, Any]) -> tuple[ColumnSize, int]:
    """Return a column, and how many of the bytes that are left of the file it takes."""
    metadata = chunk.get(3)
    if not isinstance(metadata, dict) or 8 in chunk:
        raise ValueError("a column of the footer has no metadata, or is encrypted")
    parts = metadata.get(3)
    if not isinstance(parts, list) or not all(isinstance(part, bytes) for part in parts):
        raise ValueError("a column of the footer has no name")
    path = b".".join(parts).decode("utf-8", "replace")
    values = _number(metadata, 5, f"values of column {path!r}")
    length = _number(metadata, 7, f"bytes of column {path!r}")
    start = _number(metadata, 9, f"place of column {path!r}")
    # As pyarrow does: the dictionary, where there is one, is before the data.
    if isinstance(dictionary := metadata.get(11), int) and 0 < dictionary < start:
        start = dictionary
    if start + length > end or length > left:
        raise ValueError(f"column {path!r} must be within the file and no other column, got {length:,} bytes")
    return ColumnSize(path, values, _unpacked(file, start, start + length, values, path)), length


def _unpacked(file: BinaryIO, start: int, end: int, values: int, path: str) -> int:
    """Return the bytes of the pages of one column, unpacked; pyarrow reads them until it has all values."""
    unpacked = read = 0
    while read < values and start < end:
        header, header_bytes = _page_header(file, start, end, path)
        unpacked += header_bytes + _number(header, 2, f"bytes of a page of column {path!r}")
        start += header_bytes + _number(header, 3, f"packed bytes of a page of column {path!r}")
        # Of data, in either version; dictionaries and others have no rows.
        for field in (5, 8):
            if isinstance(page := header.get(field), dict):
                read += _number(page, 1, f"values of a page of column {path!r}")
    return unpacked


def _page_header(file: BinaryIO, start: int, end: int, path: str) -> tuple[dict[int, Any], int]:
    # Headers take some tens of bytes, unless they have long values as statistics.
    count = _FIRST_READ
    while True:
        file.seek(start)
        data = file.read(min(count, end - start))
        reader = ThriftReader(data)
        try:
            header = reader.struct()
        except IncompleteError:
            if count >= min(end - start, reading_limits().record_bytes):
                raise ValueError(f"a page of column {path!r} has no header") from None
            count *= 16
        except ValueError as error:
            raise ValueError(f"the header of a page of column {path!r} {error}") from None
        else:
            return header, reader.position


def _structs(fields: dict[int, Any], field: int, what: str) -> list[dict[int, Any]]:
    value = fields.get(field)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"its footer does not list the {what}")
    return value


def _number(fields: dict[int, Any], field: int, what: str) -> int:
    value = fields.get(field)
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"it must have the number of {what}, got {value!r}")
    return value
