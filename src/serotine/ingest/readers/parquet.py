"""Parquet: one document per row, one field per column."""

from __future__ import annotations

import base64
import datetime
import decimal
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from serotine.errors import InputFileError, MissingExtraError, reason
from serotine.ingest.fields import STANDARD, Fields
from serotine.ingest.limits import ROW_CHARACTERS, check_expansion, reading_limits, size, too_long
from serotine.ingest.lines import read_whole
from serotine.ingest.readers.parquet_sizes import RowGroupSize, row_group_sizes
from serotine.ingest.readers.parquet_texts import text_bytes
from serotine.ingest.rows import BadRowError, ReadRow, Row
from serotine.json_values import json_value

_BATCH_ROWS = 1024
# Rows that become Python values at a time: a value that a dictionary has once may be in all of them.
_ROWS_AT_ONCE = 16


def read_parquet(path: Path, name: str, fields: Fields = STANDARD) -> Iterator[ReadRow]:
    """Yield the rows of a Parquet file; dates, times, durations and bytes become text, decimals numbers where they fit.

    Raises:
        InputFileError: it is damaged, does not have the columns of `fields`, or pyarrow is not installed.
    """
    with parquet_batches(path, name, "ingest", "damaged, or not a Parquet file ({}); write it again") as (
        columns,
        batches,
    ):
        fields.check_columns(columns, f"{name}: must have")
        rows = (row for batch in batches for row in batch)
        for number, row in enumerate(rows, start=1):
            origin = f"{name}:{number}"
            try:
                yield Row(number, {key: _plain(value, origin) for key, value in row.items()})
            except InputFileError as error:
                yield BadRowError.of(name, number, error)


@contextmanager
def parquet_batches(
    path: Path, name: str, extra: str, fault: str
) -> Iterator[tuple[list[str], Iterator[list[dict[str, Any]]]]]:
    """Open a Parquet file, and yield its columns and its rows, in batches.

    Args:
        path: the file.
        name: its name in messages.
        extra: the extra that installs pyarrow.
        fault: the message about a file that cannot be read, with {} for the reason.

    Raises:
        InputFileError: it cannot be read, here or while its rows are read; or pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError(name, "reading Parquet", extra) from None
    try:
        compressed = name.lower().endswith(".gz")
        # Parquet is read from its end, so a compressed file is uncompressed whole.
        content = read_whole(path, name) if compressed else b""
        with io.BytesIO(content) if compressed else path.open("rb") as opened:
            groups = row_group_sizes(opened)
        _check_sizes(groups, name)
        file_bytes = path.stat().st_size
        # Before a row is read: its number of rows is in the footer.
        check_expansion(ROW_CHARACTERS * sum(group.rows for group in groups), file_bytes, name)
        source = pyarrow.BufferReader(content) if compressed else path
        with pyarrow.parquet.ParquetFile(source) as file:
            names = file.schema_arrow.names
            texts = _texts(file)
        # As dictionaries, values that are in many rows are in memory once.
        with pyarrow.parquet.ParquetFile(source, read_dictionary=texts) as file:
            yield names, _rows(_batches(file), file_bytes, name)
    # Python has no year 10,000 (OverflowError), and without pandas no nanoseconds (ValueError).
    except (pyarrow.ArrowException, OSError, OverflowError, ValueError) as error:
        raise InputFileError(f"{name}: {fault.format(reason(error))}") from None


def _check_sizes(groups: list[RowGroupSize], name: str) -> None:
    """Raise InputFileError for a file whose values would fill the memory."""
    limits = reading_limits()
    for number, group in enumerate(groups, start=1):
        if sum(column.bytes_ for column in group.columns) > limits.row_group_bytes:
            raise InputFileError(
                f"{name}: row group {number} must unpack to at most {size(limits.row_group_bytes)}; "
                "write it with smaller row groups"
            )
        for column in group.columns:
            # Values of a list may repeat one text: each is in memory as often as the list has it.
            values = column.values / max(group.rows, 1) * min(group.rows, _BATCH_ROWS)
            largest = column.bytes_ / max(column.values, 1) * min(values, column.values)
            if values > limits.values or largest > limits.row_group_bytes:
                raise InputFileError(
                    f"{name}: column {column.path!r} has more than {limits.values:,} values in "
                    f"{_BATCH_ROWS:,} rows; split its lists"
                )


def _texts(file: Any) -> list[str]:
    """Return the columns of texts and bytes, also those in lists and structures."""
    columns = [file.schema.column(i) for i in range(len(file.schema))]
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def _batches(file: Any) -> Iterator[Any]:
    """Yield the batches of every row group: Arrow has no dictionaries of nested texts over several of them."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group])


def _rows(batches: Iterator[Any], file_bytes: int, name: str) -> Iterator[list[dict[str, Any]]]:
    """Yield rows as Python values, of which each takes memory as often as the rows have it.

    Raises:
        InputFileError: a row is too long, or all are together.
    """
    limit, number, total = reading_limits().record_bytes, 0, 0
    for batch in batches:
        sizes = sum((text_bytes(column) for column in batch.columns), np.zeros(len(batch), dtype=np.int64))
        total += int(sizes.sum())
        check_expansion(total, file_bytes, name)
        for i in np.flatnonzero(sizes > limit).tolist():
            raise InputFileError(f"{name}:{number + i + 1}: {too_long('a row')}")
        start = 0
        while start < len(batch):
            fitting = int(np.searchsorted(np.cumsum(sizes[start:]), limit, side="right"))
            rows = min(max(fitting, 1), _ROWS_AT_ONCE)
            yield batch.slice(start, rows).to_pylist()
            start += rows
        number += len(batch)


def _plain(value: Any, origin: str) -> Any:
    """Convert a value to what JSON can represent, as `json_value` does, and what only files have: bytes, durations."""
    if isinstance(value, dict):
        return {key: _plain(item, origin) for key, item in value.items()}
    # A map is a list of pairs.
    if isinstance(value, (list, tuple)):
        return [_plain(item, origin) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime.timedelta):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    try:
        return json_value(value, origin)
    except (TypeError, ValueError) as error:
        if isinstance(value, decimal.Decimal):
            # The writer of a file does not choose its types for this index.
            return str(value)
        raise InputFileError(str(error)) from None
