"""A reference of filters in plain Python, document by document, which the SQL of `compile_where` must match."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from serotine.index.store.filters import Comparison, Condition, Joined, Not, parse

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_INT64 = range(-(2**63), 2**63)


def matches(where: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Return whether a document passes a filter."""
    return _holds(parse(where, {}), metadata)


def _holds(condition: Condition, metadata: Mapping[str, Any]) -> bool:
    match condition:
        case Not(inner):
            return not _holds(inner, metadata)
        case Joined("and", conditions):
            return all(_holds(item, metadata) for item in conditions)
        case Joined(_, conditions):
            return any(_holds(item, metadata) for item in conditions)
        case Comparison(field, name, value):
            actual = _value(metadata, field)
            if name == "==":
                return _equal(actual, value)
            if name == "in":
                return any(_equal(actual, item) for item in value)
            if name == "contains":
                if isinstance(actual, (list, tuple)):
                    return any(_equal(item, value) for item in actual)
                return isinstance(actual, str) and isinstance(value, str) and value in actual
            if _kind(actual) != _kind(value):
                return False
            return _ORDERS[name](_comparable(actual), _comparable(value))


def _value(metadata: Mapping[str, Any], field: str) -> Any:
    """Return the value of the field of that name, else of the path through nested objects."""
    if field in metadata:
        return metadata[field]
    head, *rest = field.split(".")
    value = metadata.get(head)
    for name in rest:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _kind(value: object) -> str:
    """Return the kind of a value: only values of one kind are equal or ordered. Lists and objects have none."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, (int, float)) else "none"


def _number(value: float) -> int | float:
    """Return a number as SQLite reads it from JSON: integers beyond 64 bits become floats."""
    if not isinstance(value, int):
        return float(value)
    if int(value) in _INT64:
        return int(value)
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _comparable(value: Any) -> Any:
    return _number(value) if _kind(value) == "number" else value


def _equal(actual: object, value: object) -> bool:
    return _kind(actual) == _kind(value) and bool(_comparable(actual) == _comparable(value))
