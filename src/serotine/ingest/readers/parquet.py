"""Parquet: one document per row, one field per column."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError, MissingExtraError, reason
from serotine.ingest.fields import STANDARD, Fields
from serotine.ingest.lines import read_whole
from serotine.ingest.rows import BadRowError, Row
from serotine.json_values import json_value

_BATCH_ROWS = 1024


def read_parquet(path: Path, name: str, fields: Fields = STANDARD) -> Iterator[Row | BadRowError]:
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
        with pyarrow.parquet.ParquetFile(pyarrow.BufferReader(read_whole(path, name)) if compressed else path) as file:
            yield file.schema_arrow.names, (batch.to_pylist() for batch in file.iter_batches(batch_size=_BATCH_ROWS))
    # Python has no year 10,000 (OverflowError), and without pandas no nanoseconds (ValueError).
    except (pyarrow.ArrowException, OSError, OverflowError, ValueError) as error:
        raise InputFileError(f"{name}: {fault.format(reason(error))}") from None


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
