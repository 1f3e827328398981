"""The names of the fields that a request's body may have, for messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import Request
from pydantic import TypeAdapter


def body_fields(request: Request, place: Sequence[str | int]) -> list[str]:
    """Return the fields that the object at `place` in the body of a request may have; none where it is unknown."""
    field = getattr(request.scope.get("route"), "body_field", None)
    if field is None:
        return []
    schema = TypeAdapter(field.field_info.annotation).json_schema()
    nodes = [schema]
    for key in place:
        inner = [child for node in nodes for child in _children(_alternatives(node, schema), key)]
        # In a union the place also has the name of the alternative.
        nodes = inner or nodes
    return list(dict.fromkeys(name for node in nodes for one in _alternatives(node, schema) for name in _fields(one)))


def _alternatives(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what a node of a JSON schema refers to."""
    if "$ref" in node:
        yield from _alternatives(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]], schema)
    elif "anyOf" in node:
        for alternative in node["anyOf"]:
            yield from _alternatives(alternative, schema)
    else:
        yield node


def _children(nodes: Iterator[Mapping[str, Any]], key: str | int) -> Iterator[dict[str, Any]]:
    for node in nodes:
        child = node.get("items") if isinstance(key, int) else _fields(node).get(key)
        if isinstance(child, dict):
            yield child


def _fields(node: Mapping[str, Any]) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = node.get("properties", {})
    return fields
