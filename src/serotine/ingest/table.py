"""CSV with a header: one document a row, one field a column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from serotine.errors import InputFileError
from serotine.ingest.decoding import find_encoding
from serotine.ingest.document import Document, from_fields
from serotine.ingest.lines import opened

# The csv module refuses fields above 128 KiB unless told; a long document is a field. The limit must fit a C long.
_LONGEST_FIELD = 2**31 - 1


def read_csv(path: Path, name: str) -> Iterator[Document]:
    """Yields the documents of a comma-separated file; its first row names the columns.

    Raises:
        InputFileError: no header, a header without text, a row that does not fit it, or no text.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    with opened(path, name) as file:
        encoding = find_encoding(file, name)
    with opened(path, name) as file, io.TextIOWrapper(file, encoding, newline="") as lines:
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
                        f"{origin}: has {len(row)} columns where the header has {len(header)}; "
                        'put fields that hold commas in "quotes"'
                    )
                yield from_fields(dict(zip(header, row, strict=True)), origin)
        except csv.Error as error:
            raise InputFileError(f"{name}:{rows.line_num}: is not CSV ({error}); close every quote") from None
        except UnicodeDecodeError:
            raise InputFileError(
                f"{name}:{rows.line_num + 1}: is not {encoding}, though the file looks like it; convert it to UTF-8"
            ) from None


def _check_header(header: list[str], name: str) -> None:
    twice = next((column for column in header if header.count(column) > 1), None)
    if twice is not None:
        raise InputFileError(f"{name}:1: the column {twice!r} stands twice; give every column its own name")
    if not {"text", "title"} & set(header):
        raise InputFileError(
            f"{name}:1: the header is {', '.join(header)}; want a row of column names with 'text' among them, "
            "and 'id' where documents have one"
        )
