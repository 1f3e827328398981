"""The fields that a filter names, and whether documents have them, with values of the kind it compares."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serotine.index.store.filters import Comparison, Condition, Joined, Not, kind_of, parse, type_of, value_of
from serotine.index.store.pages import any_live

_FIRST = 1000
_JSON_TYPES = {"text": ("text",), "number": ("integer", "real"), "bool": ("true", "false")}


@dataclass(frozen=True, slots=True)
class FilterField:
    """A field of a filter.

    Attributes:
        name: its name, or path.
        kind: "text", "number" or "bool", as the values it is compared with; "" where any value can match.
    """

    name: str
    kind: str = ""

    def is_in(self, metadata: Mapping[str, Any]) -> bool:
        """Return whether a document has the field, or a value at the path, of this kind; null is of no kind."""
        value: Any = metadata
        for name in [self.name] if self.name in metadata else self.name.split("."):
            if not isinstance(value, Mapping) or name not in value:
                return False
            value = value[name]
        return self.kind in ("", kind_of(value))


def undeclared_fields(where: object, filterable: Mapping[str, str]) -> list[FilterField]:
    """Return the fields that a filter names and `filterable` does not declare, each once per kind.

    Raises:
        TypeError, ValueError: the filter is malformed; names the place.
    """
    return [field for field in dict.fromkeys(_fields(parse(where, filterable))) if field.name not in filterable]


def absent(connection: sqlite3.Connection, fields: Sequence[FilterField]) -> list[bool]:
    """Return for every field whether no live document has it with a value of its kind, although there are documents.

    Every document's metadata are read, once for all fields.
    """
    if not fields or not any_live(connection, "1"):
        return [False] * len(fields)
    unseen = list(fields)
    # Most fields that a document has are in the first ones.
    for limit in (_FIRST, -1):
        documents = f"(SELECT metadata FROM documents WHERE live LIMIT {limit})"  # noqa: S608
        columns = ", ".join(f"max({_has(field)})" for field in unseen)
        row = connection.execute(f"SELECT {columns} FROM {documents}").fetchone()  # noqa: S608
        # NULL where no document could be compared.
        unseen = [field for field, has in zip(unseen, row, strict=True) if not has]
        if not unseen:
            break
    return [field in unseen for field in fields]


def sample_value(connection: sqlite3.Connection, name: str) -> Any:
    """Return a value that a live document has in a field; None where none has one."""
    has_value = f"{_mentions(name)} AND {type_of(name)} NOT IN ('null', 'object')"
    statement = f"SELECT json_quote({value_of(name)}) FROM documents WHERE live AND {has_value} LIMIT 1"  # noqa: S608
    row = connection.execute(statement).fetchone()
    return None if row is None else json.loads(row[0])


def _has(field: FilterField) -> str:
    """Return the SQL condition that a document has a field, or a value at a path; null counts where any kind does."""
    if not field.kind:
        return f"{_mentions(field.name)} AND {type_of(field.name)} IS NOT NULL"
    types = ", ".join(f"'{name}'" for name in _JSON_TYPES[field.kind])
    return f"{_mentions(field.name)} AND {type_of(field.name)} IN ({types})"


def _mentions(name: str) -> str:
    # Looking for its last name in the text costs half as much as parsing every document's metadata.
    names = {json.dumps(part, ensure_ascii=False).replace("'", "''") for part in (name, name.rpartition(".")[2])}
    return "({})".format(" OR ".join(f"instr(metadata, '{part}')" for part in sorted(names)))


def _fields(condition: Condition) -> Iterator[FilterField]:
    match condition:
        case Comparison(field, operator, value):
            values = value if operator == "in" else [value]
            kinds = {kind_of(item) for item in values} if operator != "contains" else set()
            # One kind only: a value of another may be meant for other documents.
            yield FilterField(field, kinds.pop() if len(kinds) == 1 and value is not None else "")
        case Not(inner):
            yield from _fields(inner)
        case Joined(_, conditions):
            for item in conditions:
                yield from _fields(item)
