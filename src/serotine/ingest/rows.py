"""Rows of files with many documents: read rows, bad rows, and the count of skipped ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
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
        place: where in its file it is, beside the line, such as its sheet, and the encoding of the file.
    """

    line: int
    fields: Mapping[str, Any]
    place: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """What a reader read, but maybe not as it was meant; it is yielded among the rows.

    Attributes:
        line: from 1.
        reason: what is read in which way, and what to do.
    """

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unread:
    """What a reader of records does not read of their file; it is yielded among the rows.

    Attributes:
        counts: how many images, attachments and the like, by their name in the plural.
    """

    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that is not indexed, while the rest of its file is.

    Attributes:
        file: name of its file.
        line: its first line, or its row where a file has no lines; from 1.
        reason: what is wrong with it, and what to do.
        collisions: how many rows of its file are skipped because their ids are taken, this one the first of them; 0:
            something else is wrong with it. Of a file that keeps its rows under other ids: 1.
    """

    file: str
    line: int
    reason: str
    collisions: int = 0

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


ReadRow = Row | BadRowError | Problem | Unread
"""What a reader of records yields."""


@dataclass(frozen=True, slots=True)
class SkippedRows:
    """Rows that are not indexed, while the rest of their files is.

    Attributes:
        count: how many.
        files: of how many files.
        first: the first ten by file and line, after one of every file with ids that are taken.
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
        # Rows that are not unique are found after later ones that are not valid.
        first = sorted((*self.first, row), key=_order)[:MAX_NAMED]
        return SkippedRows(self.count + max(row.collisions, 1), 1, tuple(first))

    @classmethod
    def total(cls, files: Iterable[SkippedRows]) -> SkippedRows:
        """Return the rows of several files together."""
        by_file = [skipped for skipped in files if skipped]
        rows = [row for skipped in by_file for row in skipped.first]
        first = sorted(rows, key=lambda row: not row.collisions)[:MAX_NAMED]
        return cls(sum(skipped.count for skipped in by_file), sum(skipped.files for skipped in by_file), tuple(first))

    def to_json(self) -> dict[str, Any]:
        """Return count, files and the first rows as JSON values."""
        return {"count": self.count, "files": self.files, "first": [asdict(row) for row in self.first]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], file: str) -> SkippedRows:
        """Return the rows of one file from what `to_json` returned, under the name that the file has now."""
        first = (SkippedRow(file, row["line"], row["reason"], row.get("collisions", 0)) for row in value["first"])
        return cls(value["count"], value["files"], tuple(first))


def _order(row: SkippedRow) -> tuple[bool, int]:
    return not row.collisions, row.line
