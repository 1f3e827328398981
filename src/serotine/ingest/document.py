"""A document as a file tells it, and the field names by which it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serotine.errors import InputFileError

ID_FIELDS = ("_id", "id")


@dataclass(frozen=True, slots=True)
class Document:
    """One document on its way into an index.

    Attributes:
        id: never empty.
        text: title and text, joined by a space; may be empty.
        metadata: every other field, JSON-serialisable.
        origin: the file and, where it holds many documents, the line; for messages.
    """

    id: str
    text: str
    metadata: dict[str, Any]
    origin: str


def from_fields(fields: Mapping[str, Any], origin: str) -> Document:
    """Makes a document of named fields, as BEIR names them: `_id` (or `id`), `title`, `text`; the rest is metadata.

    Where there is no field for the id, `origin` is the id: the file and the line.
    An object named `metadata` is unfolded: its members become metadata themselves.

    Raises:
        InputFileError: no text, an empty id, or a field of the wrong kind.
    """
    rest = dict(fields)
    name = next((name for name in ID_FIELDS if name in rest), None)
    id_ = place_as_id(origin) if name is None else rest.pop(name)
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    if not isinstance(id_, str) or not id_:
        raise InputFileError(f"{origin}: {name!r} is {_kind(id_)}; want a string that is not empty")
    if "text" not in rest and "title" not in rest:
        raise InputFileError(f"{origin}: has neither 'text' nor 'title'; put the words to search in 'text'")
    # Collections without titles often carry "title": null.
    title = rest.pop("title", None)
    words = [_string(value, field, origin) for field, value in (("title", title or ""), ("text", rest.pop("text", "")))]
    unfolded = rest.get("metadata")
    if isinstance(unfolded, dict):
        del rest["metadata"]
        clash = next((key for key in unfolded if key in rest), None)
        if clash is not None:
            raise InputFileError(f"{origin}: {clash!r} stands both beside 'metadata' and in it; rename one of the two")
        rest.update(unfolded)
    return Document(id_, " ".join(words).strip(), rest, origin)


def place_as_id(place: str) -> str:
    """A file's name, perhaps with a line, as a document's id; InputFileError where the name is not UTF-8."""
    try:
        place.encode("utf-8")
    except UnicodeEncodeError:
        raise InputFileError(f"{place!r}: its name is not UTF-8 and cannot be an id; rename the file") from None
    return place


def _string(value: object, field: str, origin: str) -> str:
    if not isinstance(value, str):
        raise InputFileError(f"{origin}: {field!r} is {_kind(value)}; want a string")
    return value


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if value == "":
        return "empty"
    return {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}[type(value)]
