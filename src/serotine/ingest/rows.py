"""Rows of files with many documents: read rows, bad rows, and the count of skipped ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from serotine.errors import InputFileError

MAX_NAMED = 10
"""Number of skipped rows and files that reports name; the others are counted."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of JSON, or a row of a table, as a reader yields it.

    Attributes:
        line: its first line, or its row where a file has no lines; from 1.
        fields: its values by name.
    """

    line: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that is not indexed, while the rest of its file is.

    Attributes:
        file: name of its file.
        line: its first line, or its row where a file has no lines; from 1.
        reason: what is wrong with it, and what to do.
    """

    file: str
    line: int
    reason: str

    @property
    def message(self) -> str:
        """The reason with file and line: "a.csv:3: must have 2 columns like the header, got 3"."""
        return f"{self.file}:{self.line}: {self.reason}"


OnBadRow = Callable[[SkippedRow], None]


class BadRowError(InputFileError):
    """A row that cannot be indexed; a reader yields it in the row's place.

    Attributes:
        row: file, line and reason.
    """

    def __init__(self, row: SkippedRow) -> None:
        super().__init__(row.message)
        self.row = row

    @classmethod
    def of(cls, file: str, line: int, error: Exception) -> BadRowError:
        """Return the error for a row, from one whose message may begin with file and line."""
        return cls(SkippedRow(file, line, str(error).removeprefix(f"{file}:{line}:").strip()))


@dataclass(frozen=True, slots=True)
class SkippedRows:
    """Rows that are not indexed, while the rest of their files is.

    Attributes:
        count: how many.
        files: of how many files.
        first: the first ten.
    """

    count: int = 0
    files: int = 0
    first: tuple[SkippedRow, ...] = ()

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def lines(self) -> list[int]:
        """The lines of the first ten."""
        return [row.line for row in self.first]

    def with_row(self, row: SkippedRow) -> SkippedRows:
        """Return these rows and one more of the same file."""
        first = self.first if len(self.first) == MAX_NAMED else (*self.first, row)
        return SkippedRows(self.count + 1, 1, first)

    @classmethod
    def total(cls, rows: Iterable[SkippedRows]) -> SkippedRows:
        """Return the rows of several files together."""
        by_file = [skipped for skipped in rows if skipped]
        first = [row for skipped in by_file for row in skipped.first][:MAX_NAMED]
        count, files = sum(skipped.count for skipped in by_file), sum(skipped.files for skipped in by_file)
        return cls(count, files, tuple(first))

    def to_json(self) -> dict[str, Any]:
        """Return count, files and the first rows as JSON values."""
        first = [{"file": row.file, "line": row.line, "reason": row.reason} for row in self.first]
        return {"count": self.count, "files": self.files, "first": first}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], file: str) -> SkippedRows:
        """Return the rows of one file from what `to_json` returned, under the name that the file has now."""
        first = (SkippedRow(file, row["line"], row["reason"]) for row in value["first"])
        return cls(value["count"], value["files"], tuple(first))
