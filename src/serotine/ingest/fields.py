"""Which fields of records and tables are text, title, id and metadata, where their names do not say so."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from serotine.errors import InputFileError, check_flags, invalid
from serotine.ingest.rows import Problem
from serotine.wording import worded

ID_FIELDS = ("_id", "id")
"""Names of the id; the first comes first."""
TEXT_LIKE = ("content", "contents", "body", "message", "description", "abstract", "passage", "document")
"""Names that fields with the text often have."""
_MAX_NAMED = 20
_MEANINGS = frozenset((*ID_FIELDS, "title", "text"))


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of JSON objects and of rows of tables that make a document, and how files are decoded.

    Names match in any case.

    Attributes:
        text: the fields of the text, joined by a blank line; none: `text`.
        id: the field of the id; None: `_id` or `id`, or else file and line are the id.
        title: the field of the title; None: `title`.
        delimiter: what separates the cells of a CSV file; None: found by its header.
        metadata: the fields that become metadata; None: all others.
        all_fields: the text is a line "name: value" of every field but the id.
        prefix_ids: an id that a file declares becomes `FILE:ID`, so that files may have the same ones.
        encoding: the encoding of text files, CSV and JSON, by a name that Python knows; None: detected.

    Raises:
        ValueError: a name is empty, a delimiter is not one character, no text encoding has the name, or both `text`
            and `all_fields` are given.

    >>> Fields(text="body", id="sku").text
    ('body',)
    """

    text: Sequence[str] = ()
    id: str | None = None
    title: str | None = None
    delimiter: str | None = None
    metadata: Sequence[str] | None = None
    all_fields: bool = False
    prefix_ids: bool = False
    encoding: str | None = None

    def __post_init__(self) -> None:
        for name in ("text", "metadata"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        for name in ("text", "id", "title", "metadata"):
            value = getattr(self, name)
            if (value is not None and not all((value,) if isinstance(value, str) else value)) or value == "":
                raise invalid(name, "the name of a field", value)
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise invalid("delimiter", "one character, not a quote", self.delimiter)
        check_flags(all_fields=self.all_fields, prefix_ids=self.prefix_ids)
        if self.encoding is not None:
            object.__setattr__(self, "encoding", _encoding(self.encoding))
        if self.all_fields and (self.text or self.title):
            raise invalid("all_fields", "False where text or title names fields", True)

    def __str__(self) -> str:
        """Return what is not the default, as an index records it; empty where all is."""
        given = {name: value for name, value in asdict(self).items() if value not in (None, (), False)}
        if self.metadata == ():
            given["metadata"] = ()
        return json.dumps(given, sort_keys=True) if given else ""

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Fields:
        """Return the fields from what `str` returns, as a dict; names that a later version wrote are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: item for name, item in value.items() if name in known})

    @property
    def names(self) -> tuple[str, ...]:
        """All names that were given."""
        return (*self.text, *(name for name in (self.id, self.title) if name), *(self.metadata or ()))

    @property
    def has_columns(self) -> bool:
        """Whether columns are named, or all of them are the text: a spreadsheet is a table then."""
        return bool(self.names or self.metadata is not None or self.all_fields)

    def check_columns(self, columns: Iterable[str], subject: str) -> None:
        """Check that a table, as messages begin ("a.csv:1: the header must name"), has the columns of a document.

        Raises:
            InputFileError: one that was named is missing, or none is the text.
        """
        columns = list(columns)
        standard = standard_names(columns)
        missing = next((name for name in self.names if matching(columns, name) is None), None)
        if missing is not None:
            fix = worded(
                "correct its name, or pass fields=Fields(...) for this file",
                http="correct its name",
                command="correct its name, or name the columns of this file with --text-field and the like",
            )
            raise InputFileError(f"{subject} a column {missing!r}, got {listed(columns)}; {fix}")
        if self.text or self.title or self.all_fields:
            return
        if "text" in standard or ("title" in standard and not text_like(columns)):
            return
        raise InputFileError(f"{subject} a column 'text', got {listed(columns)}; {text_field_advice()}")

    def is_header(self, columns: Iterable[str]) -> bool:
        """Return whether a line of a table, so split, names the text or a title."""
        columns = list(columns)
        return any(matching(columns, name) is not None for name in (*self.text, "text", self.title or "title"))


def text_field_advice() -> str:
    """Return what to do about records and tables without a field of the text."""
    return worded(
        "name the text, Fields(text=...), or index all fields, Fields(all_fields=True)",
        http="rename the field of the text to 'text'",
        command="name the text with --text-field NAME, or index all fields with --all-fields",
    )


def _encoding(name: str) -> str:
    """Return Python's name of a text encoding, with which a byte order mark is none of the text.

    Raises:
        ValueError: Python has no encoding of this name.
    """
    try:
        # Codecs that are no text encodings, such as "hex", fail here.
        "".encode(name)
        encoding = codecs.lookup(name).name
    except (LookupError, ValueError, UnicodeError):
        raise invalid("encoding", "the name of a text encoding, such as gbk or cp1252", name) from None
    return "utf-8-sig" if encoding == "utf-8" else encoding


STANDARD = Fields()
"""Fields as BEIR names them."""


def matching(names: Iterable[str], name: str) -> str | None:
    """Return the one of `names` that is `name`, or is it in another case; None where none is."""
    names = list(names)
    if name in names:
        return name
    folded = name.strip().casefold()
    return next((each for each in names if each.strip().casefold() == folded), None)


def standard_names(names: Iterable[str]) -> list[str]:
    """Return names with those that have a meaning in lower case, unless two of them would be the same then."""
    names = list(names)
    if all(name in _MEANINGS or name.lower() not in _MEANINGS for name in names):
        return names
    counts = Counter(name.lower() for name in names)
    return [lower if (lower := name.lower()) in _MEANINGS and counts[lower] == 1 else name for name in names]


def distinct_names(names: Iterable[str], line: int) -> tuple[list[str], list[Problem]]:
    """Return the names of columns, those that a header has again with a number, and what to report of that line.

    Columns without a name at the end of a header, which spreadsheets write, are left out; others get one.
    """
    given = [name.strip() for name in names]
    while given and not given[-1]:
        given.pop()
    taken, seen = set(given), set[str]()
    several_unnamed = given.count("") > 1
    columns: list[str] = []
    repeated: dict[str, list[str]] = {}
    next_numbers: dict[str, int] = {}
    for number, name in enumerate(given, 1):
        column = name
        if name in seen or (not name and several_unnamed):
            stem, count = (name, next_numbers.get(name, 2)) if name else ("column", number)
            while (column := f"{stem}_{count}") in taken:
                count += 1
            taken.add(column)
            next_numbers[name] = count + 1
            repeated.setdefault(name, []).append(column)
        seen.add(name)
        columns.append(column)
    problems = [
        Problem(
            line,
            f"the header has {name!r} more than once; later columns are named {listed(others)}: rename them",
        )
        for name, others in repeated.items()
        if name
    ]
    return columns, problems


def text_like(names: Iterable[str]) -> list[str]:
    """Return those of `names` that fields with the text often have."""
    return [name for name in names if name.strip().casefold() in TEXT_LIKE]


def listed(names: Iterable[str]) -> str:
    """Return names for a message, the first twenty."""
    names = list(names)
    more = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    return (", ".join(names[:_MAX_NAMED]) or "none") + more
