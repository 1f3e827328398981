"""CSV with a header: one document per row, one field per column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from serotine.errors import InputFileError
from serotine.ingest.decoding import detect_encoding
from serotine.ingest.document import Document, from_fields
from serotine.ingest.lines import open_file

# The csv module refuses fields above 128 KiB by default; a long document is one field. The limit must fit a C long.
_MAX_FIELD = 2**31 - 1


def read_csv(path: Path, name: str) -> Iterator[Document]:
    """Yield the documents of a comma-separated file; its first row names the columns.

    Raises:
        InputFileError: no header, a header without 'text', a row with another number of columns, or not a text file.
    """
    csv.field_size_limit(_MAX_FIELD)
    with open_file(path, name) as file:
        encoding = detect_encoding(file, name)
    with open_file(path, name) as file, io.TextIOWrapper(file, encoding, newline="") as lines:
        rows = csv.reader(lines, strict=True)
        try:
            header = next(rows, None)
            if header is None:
                return
            _check_header(header, name)
            for row in rows:
                if not row:
                    continue
                origin = f"{name}:{rows.line_num}"
                if len(row) != len(header):
                    raise InputFileError(
                        f"{origin}: must have {len(header)} columns like the header, got {len(row)}; "
                        'put fields that contain commas in "quotes"'
                    )
                yield from_fields(dict(zip(header, row, strict=True)), origin)
        except csv.Error as error:
            raise InputFileError(f"{name}:{rows.line_num}: not valid CSV ({error}); close every quote") from None
        except UnicodeDecodeError:
            raise InputFileError(
                f"{name}:{rows.line_num + 1}: not {encoding}, although the file looks like it; convert it to UTF-8"
            ) from None


def _check_header(header: list[str], name: str) -> None:
    duplicate = next((column for column in header if header.count(column) > 1), None)
    if duplicate is not None:
        raise InputFileError(f"{name}:1: duplicate column {duplicate!r}; column names must be unique")
    if not {"text", "title"} & set(header):
        raise InputFileError(
            f"{name}:1: the header must name a column 'text', got {', '.join(header)}; add a header row, with 'id' "
            "where documents have one"
        )
