"""Parquet: one document a row, one field a column."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError, reason
from serotine.ingest.document import Document, from_fields
from serotine.ingest.lines import read_whole
from serotine.texts import is_text

_ROWS_AT_ONCE = 1024


def read_parquet(path: Path, name: str) -> Iterator[Document]:
    """Yields the documents of a Parquet file; times, decimals and bytes become text, as JSON has no such values.

    Raises:
        InputFileError: it is damaged, a row is no document, or pyarrow is not installed.
    """
    with parquet_batches(path, name, "ingest", "is damaged or no Parquet ({}); write it again") as (columns, batches):
        if not {"text", "title"} & set(columns):
            raise InputFileError(f"{name}: its columns are {', '.join(columns)}; want 'text' among them")
        rows = (row for batch in batches for row in batch)
        for number, row in enumerate(rows, start=1):
            origin = f"{name}:{number}"
            yield from_fields({key: _plain(value, origin) for key, value in row.items()}, origin)


@contextmanager
def parquet_batches(
    path: Path, name: str, extra: str, fault: str
) -> Iterator[tuple[list[str], Iterator[list[dict[str, Any]]]]]:
    """The columns of a Parquet file, and its rows, some at a time.

    Args:
        path: the file.
        name: what messages call it.
        extra: what to install for pyarrow.
        fault: what to say of a file that cannot be read, with a place for the reason.

    Raises:
        InputFileError: it cannot be read, there or while its rows are; or pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputFileError(f"{name}: reading Parquet needs pyarrow; run: pip install 'serotine[{extra}]'") from None
    try:
        packed = name.lower().endswith(".gz")
        # A file is read from its end, so one that is packed has to be unpacked as a whole.
        with pyarrow.parquet.ParquetFile(pyarrow.BufferReader(read_whole(path, name)) if packed else path) as file:
            yield file.schema_arrow.names, (batch.to_pylist() for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE))
    # Python has no year 10,000 (OverflowError), and without pandas no nanoseconds (ValueError).
    except (pyarrow.ArrowException, OSError, OverflowError, ValueError) as error:
        raise InputFileError(f"{name}: {fault.format(reason(error))}") from None


def _plain(value: Any, origin: str) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, dict):
        return {key: _plain(item, origin) for key, item in value.items()}
    # A map comes as a list of pairs.
    if isinstance(value, (list, tuple)):
        return [_plain(item, origin) for item in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID, datetime.timedelta)):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str) and not is_text(value):
        raise InputFileError(f"{origin}: holds a lone surrogate, which is no text")
    return value
