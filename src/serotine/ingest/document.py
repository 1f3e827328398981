"""A document read from a file, and the field names it is read from."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from serotine.cutting import PassageContext, new_names, with_own
from serotine.errors import InputFileError
from serotine.ingest.fields import (
    ID_FIELDS,
    STANDARD,
    Fields,
    listed,
    matching,
    standard_names,
    text_field_advice,
    text_like,
)
from serotine.texts import MAX_ID_BYTES, has_visible, is_long_id, is_text
from serotine.wording import worded

if TYPE_CHECKING:
    from serotine.ingest.context import PassageGroup

# From here on not every integer is a float.
_MAX_EXACT = 1 << 53


@dataclass(frozen=True, slots=True)
class Document:
    """One document on its way into an index.

    Attributes:
        id: not empty.
        text: title and text, joined by a space; not empty.
        metadata: every other field, valid JSON.
        origin: the file, with the line where it has many documents; for messages.
        line: the line or row, from 1; None where a file is one text.
        record: id of the record of which it is a passage; None for a document that is whole, and in files of one text.
        added: the members of `metadata` that are no fields of a record: its title, and where in its file it is.
        renamed: new names of a record's own fields that have the name of one of these.
        unused: fields whose names mean the text, the title or the id, by the field of that meaning which is used.
        group: the passages that it is encoded with; None for a text that is encoded alone.
        place: its place among them.
    """

    id: str
    text: str
    metadata: dict[str, Any]
    origin: str
    line: int | None = None
    record: str | None = None
    added: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)
    group: PassageGroup | None = None
    place: int = 0

    @property
    def context(self) -> PassageContext | None:
        """What its text is encoded in; None for one that is encoded alone."""
        return None if self.group is None else self.group.context(self.place)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that it takes: its own, and its record's."""
        return (self.id,) if self.record is None else (self.id, self.record)

    @property
    def size(self) -> int:
        """Number of bytes of its text."""
        return len(self.text) if self.text.isascii() else len(self.text.encode(errors="surrogatepass"))


def from_fields(values: Mapping[str, Any], file: str, line: int, fields: Fields = STANDARD) -> Document:
    """Create a document from named values, as BEIR names them: `_id` (or `id`), `title`, `text`; the rest is metadata.

    These names may be of any case.

    Without an id, file and line are the id. The members of an object named `metadata` become metadata themselves.

    Args:
        values: the fields of a record with their values.
        file: name of its file.
        line: its line or row.
        fields: which of them are text, title, id and metadata.

    Raises:
        InputFileError: a missing or empty text, an empty id, or a field of the wrong type.
    """
    origin = f"{file}:{line}"
    rest = dict(zip(standard_names(values), values.values(), strict=True))
    names = [*rest]
    id_ = _take_id(rest, fields, origin, file)
    title, text = "", ""
    if fields.all_fields:
        text = "\n".join(f"{name}: {shown}" for name, value in rest.items() if (shown := _as_line(value)))
        rest.pop("text", None)
    else:
        has_text = bool(fields.text) or "text" in rest
        value = _take_text(rest, fields, origin) if fields.text else rest.pop("text", "")
        name = fields.title or "title"
        key = matching(rest, name) if fields.title else name
        if not has_text and key not in rest:
            raise InputFileError(
                f"{origin}: has neither 'text' nor {name!r}, only {listed(rest)}; {text_field_advice()}"
            )
        if not has_text and (likely := next((key for key in text_like(rest) if _as_line(rest[key])), None)):
            fix = worded(
                f"name the text: Fields(text={likely!r})",
                http=f"rename the field of the text to 'text', such as {likely!r}",
                command=f"name the text with --text-field, such as --text-field {shlex.quote(likely)}",
            )
            raise InputFileError(f"{origin}: has no 'text', only {listed(rest)}; {fix}")
        # Collections without titles often have "title": null.
        title = _string(rest.pop(key, None) or "", name, origin) if key is not None else ""
        # A null is no value, as in Parquet; a title is a text of its own.
        text = _string("" if value is None and title else value, " and ".join(fields.text) or "text", origin)
    if not has_visible(f"{title}{text}"):
        where = "every field" if fields.all_fields else repr(" and ".join(fields.text) or "text")
        raise InputFileError(f"{origin}: {where} is empty; give it a text, or remove the row")
    unused = _unused(rest, names, fields)
    nested = rest.get("metadata")
    if isinstance(nested, dict):
        del rest["metadata"]
        duplicate = next((key for key in nested if key in rest), None)
        if duplicate is not None:
            raise InputFileError(f"{origin}: duplicate field {duplicate!r}, beside 'metadata' and in it; rename one")
        rest.update(nested)
    added = {"title": title} if title else {}
    if fields.metadata is not None:
        kept = {name.strip().casefold() for name in fields.metadata}
        rest = {name: value for name, value in rest.items() if name.strip().casefold() in kept}
        if kept.isdisjoint(("title", (fields.title or "title").strip().casefold())):
            added = {}
    if title and rest.get("title") == title:
        del rest["title"]
    renamed = new_names(rest, added)
    return Document(
        id_,
        f"{title} {text}".strip(),
        with_own(rest, added, renamed),
        origin,
        line,
        added=added,
        renamed=renamed,
        unused=unused,
    )


def _unused(rest: Mapping[str, Any], names: Sequence[str], fields: Fields) -> dict[str, str]:
    """Return the fields left in a record that mean its text, title or id, by the one that is used; "" for none.

    Args:
        rest: its fields without those that are used.
        names: all its fields.
        fields: which of them are text, title and id.
    """
    meanings: list[tuple[str, ...]] = [ID_FIELDS if fields.id is None else (fields.id,)]
    if not fields.all_fields:
        meanings += [(name,) for name in (*(fields.text or ("text",)), fields.title or "title")]
    unused = {}
    for meaning in meanings:
        spellings = {name.strip().casefold() for name in meaning}
        same = [name for name in names if name.strip().casefold() in spellings]
        used = next((name for name in same if name not in rest), "")
        unused.update({name: used for name in same if name != used and len(same) > 1})
    return unused


def _take_id(rest: dict[str, Any], fields: Fields, origin: str, file: str) -> str:
    """Return the id among the values, and remove it from them."""
    if fields.id is None:
        name = next((name for name in ID_FIELDS if name in rest), None)
    else:
        name = matching(rest, fields.id)
        if name is None:
            raise InputFileError(f"{origin}: has no field {fields.id!r} for the id, only {listed(rest)}; add it")
    id_ = origin_as_id(origin) if name is None else rest.pop(name)
    # A column of integers with gaps is one of floats in pandas.
    if isinstance(id_, float) and id_.is_integer() and abs(id_) < _MAX_EXACT:
        id_ = int(id_)
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    if not isinstance(id_, str) or not id_:
        shown = repr(id_) if isinstance(id_, float) else _json_type(id_)
        raise InputFileError(f"{origin}: {name!r} must be an integer, or a string that is not empty, got {shown}")
    prefixed = f"{origin_as_id(file)}:{id_}"
    # As long as it may become: passages have a number after it.
    if is_long_id(f"{prefixed}#{'0' * 20}"):
        raise InputFileError(
            f"{origin}: {name!r} must be at most {MAX_ID_BYTES:,} bytes with the name of its file, "
            f"got {len(id_):,} characters; name another field for the id"
        )
    return prefixed if fields.prefix_ids and name is not None else id_


def _take_text(rest: dict[str, Any], fields: Fields, origin: str) -> str | None:
    """Return the named fields of the text that have a value, joined by a blank line, and remove all of them.

    None where each is null.
    """
    names = [name for name in (matching(rest, name) for name in fields.text) if name is not None]
    if not names:
        wanted = " or ".join(map(repr, fields.text))
        raise InputFileError(
            f"{origin}: has no field {wanted} for the text, only {listed(rest)}; {text_field_advice()}"
        )
    values = {name: rest.pop(name) for name in dict.fromkeys(names)}
    if len(values) == 1:
        ((name, value),) = values.items()
        return None if value is None else _text(value, name, origin)
    texts = [_text(value, name, origin) for name, value in values.items() if value is not None]
    return "\n\n".join(text for text in texts if text.strip()) if texts else None


def _text(value: object, field: str, origin: str) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return _string(value, field, origin)


def _as_line(value: object) -> str:
    """Return a value on one line; empty where there is none."""
    if value is None:
        return ""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return " ".join(shown.split())


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
