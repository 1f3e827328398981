"""Parquet: one document a row, one field a column."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError
from serotine.ingest.document import Document, from_fields
from serotine.texts import is_text

_ROWS_AT_ONCE = 1024


def read_parquet(path: Path, name: str) -> Iterator[Document]:
    """Yields the documents of a Parquet file; times, decimals and bytes become text, as JSON has no such values.

    Raises:
        InputFileError: it is damaged, a row is no document, or pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputFileError(f"{name}: reading Parquet needs pyarrow; run: pip install 'serotine[ingest]'") from None
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            if not {"text", "title"} & set(columns):
                raise InputFileError(f"{name}: its columns are {', '.join(columns)}; want 'text' among them")
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    origin = f"{name}:{number}"
                    yield from_fields({key: _plain(value, origin) for key, value in row.items()}, origin)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputFileError(f"{name}: is damaged or no Parquet ({reason}); write it again") from None


def _plain(value: Any, origin: str) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, dict):
        return {key: _plain(item, origin) for key, item in value.items()}
    if isinstance(value, list):
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
