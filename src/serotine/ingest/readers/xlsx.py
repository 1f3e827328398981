"""Spreadsheets: the rows of every sheet, each value with the name of its column."""

from __future__ import annotations

import datetime
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError, MissingExtraError
from serotine.ingest.extract import Extract
from serotine.ingest.fields import ID_FIELDS, Fields, distinct_names
from serotine.ingest.limits import check_expansion, reading_limits, too_long
from serotine.ingest.lines import read_whole
from serotine.ingest.readers.package import Package
from serotine.ingest.readers.text_writer import TextWriter
from serotine.ingest.rows import BadRowError, Problem, ReadRow, Row, Unread

# A formula without the value that it had when the file was saved.
_WITHOUT_VALUE = re.compile(rb"<f[^<>]*(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v></v>|</c>)")
# As Excel and as openpyxl name it.
_COMMENTS_PART = re.compile(r"xl/comments(?:/comment)?\d*\.xml")
_COMMENT = re.compile(rb"<(?:\w+:)?comment[\s>]")
_MIN_COLUMNS = 2
# A row with fewer values than one in this many cells is sparse; the cells that such rows may have in all.
_SPARSE = 100
_MAX_BLANK = 5_000_000
# As many as a sheet has in Excel. A row of a few bytes may have any number, and openpyxl yields all before it.
_MAX_ROWS = 1 << 20


def read_xlsx(data: bytes, name: str) -> Extract:
    """Return the text of a .xlsx file, one line a row; what is not read of it is counted.

    Where the first row of a sheet has only texts, they name the columns: "name: Anna; age: 7".

    Raises:
        InputFileError: it is encrypted, damaged or too large, or openpyxl is not installed.
    """
    package = Package(data, name, ".xlsx")
    writer = TextWriter(name)
    hidden: list[str] = []
    for title, rows, is_hidden in _sheets(package, data, name):
        hidden += [title] * is_hidden
        writer.unit(title)
        writer.position("sheet", title)
        _write_rows(writer, rows)
    extract = writer.extract(package.core_properties(), _unread(package))
    return replace(extract, problems=tuple((1, _hidden(title)) for title in hidden))


def read_xlsx_rows(path: Path, name: str, fields: Fields) -> Iterator[ReadRow]:
    """Yield the rows of all sheets of a .xlsx file, whose first row names the columns; an error for other sheets.

    Raises:
        InputFileError: as `read_xlsx`; or no sheet has the columns of `fields`.
    """
    data = read_whole(path, name)
    is_first = True
    problem: InputFileError | None = None
    package = Package(data, name, ".xlsx")
    for title, rows, is_hidden in _sheets(package, data, name):
        filled = ((number, row) for number, row in rows if any(map(_text, row)))
        number, header = next(filled, (1, ()))
        columns, problems = distinct_names(map(_text, header), number)
        try:
            fields.check_columns(filter(None, columns), f"{name}:{number}: sheet {title!r} must have")
        except InputFileError as error:
            if header:
                problem = problem or error
                yield BadRowError.of(name, number, error)
            continue
        yield from problems
        if is_hidden:
            yield Problem(number, _hidden(title))
        for number, row in filled:
            values = {
                column: value if value is None or isinstance(value, (bool, int, float)) else _text(value)
                for column, value in zip(columns, row, strict=False)
                if column
            }
            # Rows of two sheets have the same numbers.
            has_id = fields.id or not set(ID_FIELDS).isdisjoint(map(str.lower, values))
            own_id = {} if is_first or has_id else {"_id": f"{name}:{title}:{number}"}
            yield Row(number, {**own_id, **values}, {"sheet": title})
        is_first = False
    if is_first and problem is not None:
        raise problem
    if unread := _unread(package):
        yield Unread(unread)


def _unread(package: Package) -> dict[str, int]:
    """Return how many images, charts, comments and formulas a file has that are not read."""
    sheets = [entry for entry in package.names if re.fullmatch(r"xl/worksheets/[^/]+\.xml", entry)]
    notes = [entry for entry in package.names if _COMMENTS_PART.fullmatch(entry)]
    counts = {
        "images": package.count("xl/media/"),
        "charts": package.count("xl/charts/chart"),
        "comments": sum(len(_COMMENT.findall(package.read(part))) for part in notes),
        "formulas without a value": sum(len(_WITHOUT_VALUE.findall(package.read(sheet))) for sheet in sheets),
    }
    return {kind: count for kind, count in counts.items() if count}


def _hidden(title: str) -> str:
    return f"sheet {title!r} is hidden, and indexed like the others; delete it if it should not be found"


def _sheets(package: Package, data: bytes, name: str) -> Iterator[tuple[str, Any, bool]]:
    """Yield the title and the rows of every sheet, and whether it is hidden; errors as of `read_xlsx`."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise MissingExtraError(name, "reading spreadsheets", "ingest") from None
    package.check_size(package.parts_size())
    try:
        with _quiet():
            workbook = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        parts = {sheet._worksheet_path for sheet in workbook.worksheets}
        # Many sheets of one part would be read many times; openpyxl tells which in no other way.
        if len(parts) < len(workbook.worksheets):
            raise package.damaged()
        bounds = _Bounds(name, len(data))
        for sheet in workbook.worksheets:
            sheet.reset_dimensions()
            yield sheet.title, _rows(sheet, package, bounds), sheet.sheet_state != "visible"
        workbook.close()
    except InputFileError:
        raise
    # What openpyxl raises for a broken file is of any kind.
    except Exception:
        raise package.damaged() from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence openpyxl about styles, dates and extensions that it does not know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Bounds:
    """What the rows of all sheets of a file may have together: a few bytes may stand for many cells, and long ones.

    Args:
        name: the file's name in messages.
        file_bytes: its size.
    """

    def __init__(self, name: str, file_bytes: int) -> None:
        self._name = name
        self._file_bytes = file_bytes
        self._blank = 0
        self._characters = 0

    def add(self, row: Sequence[Any], number: int, title: str) -> None:
        """Count a row; InputFileError where it is too long, or there are too many."""
        if (len(row) - row.count(None)) * _SPARSE < len(row):
            # A cell in the last column takes some bytes, and makes a row of 16,384.
            self.add_blank(len(row), number, title)
        # Cells may share one text.
        characters = sum(len(value) for value in row if isinstance(value, str))
        if characters > reading_limits().record_bytes:
            raise InputFileError(f"{self._name}:{number}: {too_long('a row')}")
        self._characters += characters
        check_expansion(self._characters, self._file_bytes, self._name)

    def add_blank(self, cells: int, number: int, title: str) -> None:
        """Count blank cells of a sparse row, a row without cells as one; InputFileError where there are too many."""
        self._blank += cells
        if number > _MAX_ROWS:
            raise InputFileError(
                f"{self._name}: sheet {title!r} has a row of a number above {_MAX_ROWS:,}; remove what is far down"
            )
        if self._blank > _MAX_BLANK:
            raise InputFileError(
                f"{self._name}: up to sheet {title!r} it has more than {_MAX_BLANK:,} blank cells beside few others, "
                "or blank rows; remove what is far to the right or far down"
            )


def _rows(sheet: Any, package: Package, bounds: _Bounds) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield the rows that have cells, with their numbers."""
    rows = sheet.iter_rows(values_only=True)
    try:
        for number in count(1):
            # Only while openpyxl works: the warnings of who takes the rows are heard.
            with _quiet():
                row = next(rows, None)
            if row is None:
                return
            if row:
                bounds.add(row, number, sheet.title)
                yield number, row
            else:
                bounds.add_blank(1, number, sheet.title)
    except InputFileError:
        raise
    except Exception:
        raise package.damaged() from None


def _write_rows(writer: TextWriter, rows: Any) -> None:
    numbered = ((number, [_text(value) for value in row], row) for number, row in rows)
    filled = ((number, cells, row) for number, cells, row in numbered if any(cells))
    first = next(filled, None)
    if first is None:
        return
    second = next(filled, None)
    header = _header(first[2]) if second is not None else []
    rest = chain([second] if second is not None else [], filled)
    for number, cells, _ in rest if header else chain([first], rest):
        named = header + [""] * (len(cells) - len(header))
        if header:
            values = [
                f"{column}: {cell}" if column else cell for column, cell in zip(named, cells, strict=False) if cell
            ]
            text = "; ".join(values)
        else:
            text = "\t".join(cells).rstrip("\t")
        writer.position("row", number)
        writer.add(text, separator="\n" if number > first[0] + bool(header) else "\n\n")


def _header(row: Sequence[Any]) -> list[str]:
    """Return the names of columns, if a row is one: at least two values, all of them different texts."""
    names = [value.strip() for value in row if isinstance(value, str) and value.strip()]
    values = [value for value in row if value is not None and value != ""]
    if len(names) < _MIN_COLUMNS or len(names) < len(values) or len(set(names)) < len(names):
        return []
    return [" ".join(value.split()) if isinstance(value, str) else "" for value in row]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.15g}"
    return " ".join(str(value).split())
