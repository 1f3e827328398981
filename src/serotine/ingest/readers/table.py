"""CSV with a header: one document per row, one field per column."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError
from serotine.ingest.decoding import Encoding, check_mark, decoded_lines, detect_encoding, name_another, not_in
from serotine.ingest.fields import STANDARD, Fields, distinct_names
from serotine.ingest.limits import reading_limits, too_long
from serotine.ingest.lines import limited_lines, open_file
from serotine.ingest.rows import BadRowError, Problem, ReadRow, Row, SkippedRow

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'"}
# pandas and NumPy write a missing number like this.
_NULLS = frozenset({"NaN", "nan"})
# Spreadsheets read this line, and do not show it.
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


def read_tsv(path: Path, name: str, fields: Fields = STANDARD) -> Iterator[ReadRow]:
    """Yield the rows of a tab-separated file, as `read_csv` does."""
    return read_csv(path, name, fields, delimiter="\t")


def read_csv(path: Path, name: str, fields: Fields = STANDARD, *, delimiter: str = ",") -> Iterator[ReadRow]:
    """Yield the rows of a comma-separated file, whose first row names the columns; an error in the place of bad rows.

    The delimiter is that of `fields`, or the one that a line `sep=;` names, or the one of , ; tab | that gives the
    header a column of the text or title, else the one that gives it most columns; `delimiter` comes first. Names of
    columns are stripped; a repeated one gets a number.

    Blank rows are left out. A row with a broken quote ends with its line, so that it does not swallow those after it.

    Raises:
        InputFileError: a header without the columns of `fields`, or not a text file.
    """
    limit = reading_limits().record_bytes
    # The csv module refuses fields above 128 KiB by default; a long document is one field.
    csv.field_size_limit(limit)
    with open_file(path, name) as file:
        checked = _checked(limited_lines(file, name), name, limit)
        if fields.encoding is None:
            encoding = detect_encoding(checked, name, allow_nul=True)
            fault = f"not {encoding.name}, although the file looks like it; convert it to UTF-8"
        else:
            check_mark(next(checked, b""), name, fields.encoding)
            deque(checked, maxlen=0)
            encoding = Encoding(fields.encoding)
            fault = f"{not_in(fields.encoding)}; {name_another()}"
    yield from (Problem(line, reason) for line, reason in encoding.problems)
    with open_file(path, name) as file, io.TextIOWrapper(file, encoding.name, encoding.errors, "") as stream:
        texts = decoded_lines(stream, name, limit, fault)
        first = next(texts, "")
        if fields.encoding is not None and "\0" in first:
            raise InputFileError(f"{name}:1: {not_in(fields.encoding)}: contains NUL characters; {name_another()}")
        separator = _SEPARATOR.fullmatch(first)
        lines = _Lines(texts if separator else chain([first] if first else [], texts), 1 if separator else 0, limit)
        separated = separator[1] if separator else _delimiter(first, delimiter, fields)
        delimiter = fields.delimiter or separated
        header: list[str] | None = None
        for cells in _parse(lines, name, delimiter):
            if isinstance(cells, BadRowError):
                if header is None:
                    raise cells
                yield cells
            elif header is None:
                header, problems = distinct_names(cells, lines.first)
                fields.check_columns(header, f"{name}:1: the header must name")
                yield from problems
            else:
                yield _row(header, cells, lines, name, delimiter, encoding.metadata)


def _checked(lines: Iterator[bytes], name: str, limit: int) -> Iterator[bytes]:
    for number, line in enumerate(lines, 1):
        if len(line) > limit:
            raise InputFileError(f"{name}:{number}: {too_long('a line')}")
        yield line


class _Lines:
    """The lines of a file, with those of the row that is being read, which can be read again.

    Attributes:
        number: the number of the last line, from 1.
    """

    def __init__(self, stream: Iterator[str], number: int, limit: int) -> None:
        self.number = number
        self._stream = stream
        self._limit = limit
        self._length = 0
        self._row: list[str] = []
        self._again: deque[str] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._stream)
        self._length += len(line)
        if self._length > self._limit:
            self._again.appendleft(line)
            raise csv.Error(too_long("a row").partition(";")[0])
        self._row.append(line)
        self.number += 1
        return line

    @property
    def first(self) -> int:
        """The number of the row's first line."""
        return self.number - max(len(self._row), 1) + 1

    def begin_row(self) -> None:
        """The next line is the first of a row."""
        self._row.clear()
        self._length = 0

    def end_row_with_first_line(self) -> None:
        """Read all lines of the row but the first again."""
        later = self._row[1:]
        del self._row[1:]
        self._again.extendleft(reversed(later))
        self.number -= len(later)


def _parse(lines: _Lines, name: str, delimiter: str) -> Iterator[list[str] | BadRowError]:
    """Yield the cells of every row that is not blank."""
    rows = csv.reader(lines, strict=True, delimiter=delimiter)
    while True:
        lines.begin_row()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            lines.end_row_with_first_line()
            yield BadRowError(SkippedRow(name, lines.first, f"not valid CSV ({error}); close every quote"))
            continue
        if any(cell.strip() for cell in cells):
            yield cells


def _row(
    header: list[str], cells: list[str], lines: _Lines, name: str, delimiter: str, place: Mapping[str, Any]
) -> Row | BadRowError:
    if any("\0" in cell for cell in cells):
        return BadRowError(SkippedRow(name, lines.first, "contains a NUL byte; remove it"))
    # Spreadsheets write empty cells after the last one.
    if len(cells) < len(header) or any(cells[len(header) :]):
        end = f" up to line {lines.number}" if lines.number > lines.first else ""
        return BadRowError(
            SkippedRow(
                name,
                lines.first,
                f"must have {len(header)} columns like the header, got {len(cells)}{end}; "
                f'put fields that contain {_DELIMITERS.get(delimiter, repr(delimiter))} in "quotes"',
            )
        )
    values = (None if cell in _NULLS else cell for cell in cells)
    return Row(lines.first, dict(zip(header, values, strict=False)), place)


def _delimiter(line: str, default: str, fields: Fields) -> str:
    """Return the delimiter that gives a header line a column of the text or title, or else most columns."""
    split = {
        delimiter: [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
        for delimiter in (default, *_DELIMITERS)
    }
    named = next((delimiter for delimiter, names in split.items() if fields.is_header(names)), None)
    return named or max(split, key=lambda delimiter: len(split[delimiter]))
