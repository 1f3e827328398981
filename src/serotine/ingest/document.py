"""A document read from a file, and the field names it is read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serotine.errors import InputFileError
from serotine.texts import is_text

ID_FIELDS = ("_id", "id")


@dataclass(frozen=True, slots=True)
class Document:
    """One document on its way into an index.

    Attributes:
        id: not empty.
        text: title and text, joined by a space; may be empty.
        metadata: every other field, valid JSON.
        origin: the file, with the line where it has many documents; for messages.
        line: the line or row, from 1; None where a file is one text.
        record: id of the record of which it is a passage; None for a document that is whole, and in files of one text.
    """

    id: str
    text: str
    metadata: dict[str, Any]
    origin: str
    line: int | None = None
    record: str | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that it takes: its own, and its record's."""
        return (self.id,) if self.record is None else (self.id, self.record)

    @property
    def size(self) -> int:
        """Number of bytes of its text."""
        return len(self.text) if self.text.isascii() else len(self.text.encode(errors="surrogatepass"))


def from_fields(fields: Mapping[str, Any], file: str, line: int) -> Document:
    """Create a document from named fields, as BEIR names them: `_id` (or `id`), `title`, `text`; the rest is metadata.

    Without an id field, file and line are the id. The members of an object named `metadata` become
    metadata themselves.

    Raises:
        InputFileError: a missing text, an empty id, or a field of the wrong type.
    """
    origin = f"{file}:{line}"
    rest = dict(fields)
    name = next((name for name in ID_FIELDS if name in rest), None)
    id_ = origin_as_id(origin) if name is None else rest.pop(name)
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    if not isinstance(id_, str) or not id_:
        raise InputFileError(f"{origin}: {name!r} must be a string that is not empty, got {_json_type(id_)}")
    if "text" not in rest and "title" not in rest:
        raise InputFileError(f"{origin}: has neither 'text' nor 'title'; put the text to search in 'text'")
    # Collections without titles often have "title": null.
    title = _string(rest.pop("title", None) or "", "title", origin)
    text = rest.pop("text", "")
    # A null is no value, as in Parquet; a title is a text of its own.
    text = _string("" if text is None and title else text, "text", origin)
    nested = rest.get("metadata")
    if isinstance(nested, dict):
        del rest["metadata"]
        duplicate = next((key for key in nested if key in rest), None)
        if duplicate is not None:
            raise InputFileError(f"{origin}: duplicate field {duplicate!r}, beside 'metadata' and in it; rename one")
        rest.update(nested)
    return Document(id_, f"{title} {text}".strip(), rest, origin, line)


def origin_as_id(origin: str) -> str:
    """Return a file's name, with the line where it has many documents, as an id; InputFileError if it is not UTF-8."""
    if not is_text(origin):
        raise InputFileError(f"{origin!r}: its name is not UTF-8 and cannot be an id; rename the file")
    return origin


def _string(value: object, field: str, origin: str) -> str:
    if not isinstance(value, str):
        raise InputFileError(f"{origin}: {field!r} must be a string, got {_json_type(value)}")
    return value


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    if value == "":
        return "''"
    return {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}[type(value)]
