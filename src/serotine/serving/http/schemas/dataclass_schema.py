"""JSON schemas of the library's dataclasses, described by their docstrings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

_ATTRIBUTE = re.compile(r" {4}(\w+): (.*)")
# Scores that may be minus infinity, which JSON lacks: `wire.finite` sends null.
_NULLABLE = frozenset({"bound", "kth_score", "score", "similarity"})


@dataclass(frozen=True, slots=True)
class Described:
    """Annotation that gives a dataclass's JSON schema the descriptions of its docstring, nested dataclasses included.

    Attributes:
        cls: the dataclass.
    """

    cls: type

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema that pydantic derives, with descriptions."""
        schema = handler(core)
        _describe(schema, self.cls, handler)
        return schema


def _describe(schema: JsonSchemaValue, cls: type, handler: GetJsonSchemaHandler) -> None:
    definition = handler.resolve_ref_schema(schema)
    summary, descriptions = _parse_docstring(cls)
    definition["description"] = summary
    hints = get_type_hints(cls)
    for field in fields(cls):
        field_schema = definition["properties"][field.name]
        for nested, ref in zip(_dataclasses_in(hints[field.name]), _refs_in(field_schema), strict=False):
            _describe({"$ref": ref}, nested, handler)
        if field.name in descriptions:
            field_schema.setdefault("description", descriptions[field.name])
        if field.name in _NULLABLE and field_schema.get("type") == "number":
            field_schema["anyOf"] = [{"type": field_schema.pop("type")}, {"type": "null"}]


@cache
def _parse_docstring(cls: type) -> tuple[str, dict[str, str]]:
    """Return a class's summary and the descriptions of its attributes, its bases' included."""
    descriptions: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        section = (base.__doc__ or "").partition("    Attributes:\n")[2].partition("\n\n")[0]
        name = ""
        for line in section.splitlines():
            attribute = _ATTRIBUTE.fullmatch(line.removeprefix("    "))
            if attribute:
                name = attribute[1]
                descriptions[name] = attribute[2]
            elif name and line.strip():
                descriptions[name] += f" {line.strip()}"
    summary = (cls.__doc__ or "").partition("\n\n")[0]
    return _in_json_terms(summary), {name: _in_json_terms(text) for name, text in descriptions.items()}


def _in_json_terms(text: str) -> str:
    words = " ".join(text.split()).replace("-inf", "null").replace("None", "null")
    return words[:1].upper() + words[1:]


def _dataclasses_in(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for argument in get_args(hint):
        yield from _dataclasses_in(argument)


def _refs_in(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"]
        for value in schema.values():
            yield from _refs_in(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _refs_in(item)
