"""`where=` filters over documents' metadata, compiled to SQL conditions with bound values.

A filter is a dict:

- `{"lang": "en"}`: the field equals the value.
- `{"year": {">=": 2020, "<": 2024}}`: operators `==`, `!=`, `<`, `<=`, `>`, `>=`, `in` (a list of values), and
  `contains` (the field is a list that holds the value, or a string that holds the substring).
- `{"and": [...]}`, `{"or": [...]}`, `{"not": {...}}` hold filters in turn. Fields and operators that stand in one dict
  are joined by "and".

Values compare with values of their own kind only: strings with strings (by code point), numbers with numbers (ints and
floats alike), true and false with true and false, so that `{"year": {">": 2000}}` does not match the year "abc" and
`{"done": 1}` does not match true. Lists and objects equal nothing; `contains` looks into lists.

A field that is missing, or null, or of another kind, makes every comparison false and `!=` true, for `!=` is the
negation of `==`. `{"field": None}` and `{"field": {"!=": None}}` ask whether the field is missing or null.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from serotine.texts import is_text

Filterable = dict[str, type]

_TYPES: dict[type, str] = {str: "str", int: "int", float: "float", bool: "bool"}
_FITTING: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPERATORS = ("==", "!=", *_ORDERS, "in", "contains")
_JOINTS = ("and", "or", "not")
_MOST_FIELDS = 64
_LONGEST_NAME = 128
_DEEPEST = 64
# SQLite takes expressions 1,000 deep, and a chain of ANDs is as deep as it is long.
_MOST_COMPARISONS = 256
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One field against one value; `value` is plain: str, int, float, bool, None, or a list of these for "in"."""

    field: str
    operator: str
    value: Any
    negated: bool = False


@dataclass(frozen=True, slots=True)
class _Joined:
    """Conditions joined by "and" or "or"."""

    joint: str
    parts: tuple[_Condition, ...]


@dataclass(frozen=True, slots=True)
class _Not:
    part: _Condition


_Condition = _Comparison | _Joined | _Not


def check_filterable(value: object) -> dict[str, str]:
    """Checks the declared fields of an index, `{"lang": str, "year": int}`.

    Returns:
        The same as JSON can hold it: `{"lang": "str", "year": "int"}`.

    Raises:
        TypeError, ValueError: a name cannot be a field's, or a type is none of str, int, float and bool.
    """
    if not isinstance(value, dict):
        raise TypeError(f"filterable: want a dict such as {{'lang': str}}, got {type(value).__name__}")
    if len(value) > _MOST_FIELDS:
        raise ValueError(f"filterable: want at most {_MOST_FIELDS} fields, got {len(value)}; declare what filters need")
    checked = {}
    for name, kind in value.items():
        place = _within("filterable", name)
        checked[_field(name, place)] = _type_name(kind, place)
    return checked


def index_statements(filterable: Mapping[str, str]) -> list[str]:
    """The CREATE INDEX statements that make comparisons of the declared fields fast, one a field."""
    return [
        # Numbered, because names of indexes do not tell upper case from lower, and fields do.
        f"CREATE INDEX documents_where_{i} ON documents ({_extract(field)})"
        for i, field in enumerate(filterable)
    ]


def check_metadata(filterable: Mapping[str, str], metadata: Mapping[str, Any], position: int) -> None:
    """Checks that the declared fields of one document have the declared types.

    A field may be missing or None, and may be a list of the declared type. An int is a float too; a bool is no int.

    Args:
        filterable: what `check_filterable` returned.
        metadata: the document's.
        position: the document's in the call, for the message.

    Raises:
        TypeError: a value of another type.
        ValueError: an int beyond 64 bits, which comparisons would round.
    """
    for field, declared in filterable.items():
        value = metadata.get(field)
        if value is None:
            continue
        place = f"metadata[{position}][{field!r}]"
        if not isinstance(value, (list, tuple)):
            _check_declared(value, field, declared, place)
            continue
        for i, item in enumerate(value):
            _check_declared(item, field, declared, f"{place}[{i}]")


def compile_where(where: Mapping[str, Any], filterable: Mapping[str, str]) -> tuple[str, list[Any]]:
    """A filter as an SQL condition on the table `documents`, and the values to bind.

    The condition stands in parentheses. Its `==`, `in` and order comparisons can use the indexes of
    `index_statements`; fields that were not declared work as well, document by document.

    Raises:
        TypeError, ValueError: what is wrong with the filter, and where in it; also a value that is not of the
            declared type of its field.
    """
    sql = _write(_without_not(_Parser(filterable).parse(where), negated=False))
    return f"({sql.text})", sql.values


def matches(where: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Whether a filter takes a document, in plain Python: the reference of what `compile_where` writes."""
    return _holds(_Parser({}).parse(where), metadata)


class _Parser:
    """Turns one filter into conditions, checking everything."""

    def __init__(self, filterable: Mapping[str, str]) -> None:
        self._filterable = filterable
        self._comparisons = 0

    def parse(self, where: object) -> _Condition:
        return self._group(where, "where", 1)

    def _group(self, where: object, place: str, depth: int) -> _Condition:
        if depth > _DEEPEST:
            raise ValueError(f"where: is nested more than {_DEEPEST} deep; write it flatter")
        if not isinstance(where, Mapping):
            raise TypeError(f"{place}: want a dict such as {{'lang': 'en'}}, got {type(where).__name__}")
        if not where:
            raise ValueError(f"{place}: is empty; name a field, or leave it out to take every document")
        parts: list[_Condition] = []
        for name, value in where.items():
            inside = _within(place, name)
            if name == "not":
                parts.append(_Not(self._group(value, inside, depth + 1)))
            elif name in _JOINTS:
                parts.append(self._joined(name, value, inside, depth))
            else:
                parts += self._field(_field(name, inside), value, inside)
        return _join("and", parts)

    def _joined(self, joint: str, value: object, place: str, depth: int) -> _Condition:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{place}: want a list of filters, got {type(value).__name__}")
        if not value:
            raise ValueError(f"{place}: is empty; give it at least one filter")
        return _join(joint, [self._group(part, f"{place}[{i}]", depth + 1) for i, part in enumerate(value)])

    def _field(self, field: str, value: object, place: str) -> list[_Condition]:
        if not isinstance(value, Mapping):
            if isinstance(value, (list, tuple)):
                raise TypeError(
                    f"{place}: a list is no value to compare with; write {{'in': [...]}} or {{'contains': ...}}, "
                    "and 'and', 'or', 'not' in small letters"
                )
            return [self._comparison(field, "==", value, place)]
        if not value:
            raise ValueError(f"{place}: is empty; give an operator, such as {{'>=': 2020}}")
        return [self._comparison(field, name, operand, _within(place, name)) for name, operand in value.items()]

    def _comparison(self, field: str, name: object, value: object, place: str) -> _Condition:
        if name not in _OPERATORS:
            raise ValueError(f"{place}: unknown operator; there are {', '.join(_OPERATORS)}")
        self._comparisons += 1
        if self._comparisons > _MOST_COMPARISONS:
            raise ValueError(
                f"where: makes more than {_MOST_COMPARISONS} comparisons; use 'in' for long lists of values"
            )
        if name == "in":
            if not isinstance(value, (list, tuple)):
                raise TypeError(f"{place}: want a list of values, got {type(value).__name__}")
            if not value:
                raise ValueError(f"{place}: is empty; give it at least one value")
            return _Comparison(field, "in", [self._value(field, item, f"{place}[{i}]") for i, item in enumerate(value)])
        plain = None if value is None and name in ("==", "!=") else self._value(field, value, place)
        if name in _ORDERS and isinstance(plain, bool):
            raise TypeError(f"{place}: true and false have no order; compare them with == or !=")
        if name == "!=":
            return _Not(_Comparison(field, "==", plain))
        return _Comparison(field, str(name), plain)

    def _value(self, field: str, value: object, place: str) -> str | int | float | bool:
        plain = _scalar(value, place)
        if field in self._filterable:
            _check_declared(value, field, self._filterable[field], place)
        return plain


def _within(place: str, name: object) -> str:
    return f"{place}[{_shown(name)}]"


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_NAME else shown[:_LONGEST_NAME] + "..."


def _field(name: object, place: str) -> str:
    """`name` if a field that is filtered on can have it."""
    if not isinstance(name, str):
        raise TypeError(f"{place}: want a field's name, a string, got {type(name).__name__}")
    if name in _OPERATORS or name in _JOINTS:
        raise ValueError(f"{place}: {name!r} is a word of filters; it cannot be a field's name")
    if not 0 < len(name) <= _LONGEST_NAME:
        raise ValueError(f"{place}: a field's name has 1 to {_LONGEST_NAME} characters, got {len(name)}")
    # What JSON would escape: versions of SQLite differ in how such a name is to be written in a path.
    if any(character in '"\\' or character < " " for character in name) or not is_text(name):
        raise ValueError(
            f"{place}: holds a double quote, a backslash, a control character or a lone surrogate; rename the field"
        )
    return name


def _type_name(kind: object, place: str) -> str:
    for known, name in _TYPES.items():
        if kind is known:
            return name
    raise TypeError(f"{place}: want str, int, float or bool, got {_shown(kind)}")


def _scalar(value: object, place: str) -> str | int | float | bool:
    """`value` as SQLite compares it, of exactly the type str, int, float or bool."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if "\0" in value or not is_text(value):
            raise ValueError(f"{place}: holds a NUL character or a lone surrogate, which no filter finds")
        return str.__str__(value)
    if isinstance(value, (int, float)):
        number = _number(value)
        if not math.isfinite(number):
            raise ValueError(f"{place}: want a finite number, got {number}")
        return number
    raise TypeError(f"{place}: want a string, a number, true or false, got {type(value).__name__}")


def _number(value: float) -> int | float:
    """A number as SQLite reads it from JSON: integers beyond 64 bits become floats."""
    if not isinstance(value, int):
        return float(value)
    if int(value) in _INT64:
        return int(value)
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _check_declared(value: object, field: str, declared: str, place: str) -> None:
    if not isinstance(value, _FITTING[declared]) or isinstance(value, bool) != (declared == "bool"):
        raise TypeError(f"{place}: {field!r} is declared as {declared}, got {type(value).__name__}")
    if declared == "int" and value not in _INT64:
        raise ValueError(f"{place}: is beyond 64 bits, where comparisons round; declare {field!r} as str")


def _join(joint: str, parts: list[_Condition]) -> _Condition:
    return parts[0] if len(parts) == 1 else _Joined(joint, tuple(parts))


def _holds(condition: _Condition, metadata: Mapping[str, Any]) -> bool:
    match condition:
        case _Not(part):
            return not _holds(part, metadata)
        case _Joined("and", parts):
            return all(_holds(part, metadata) for part in parts)
        case _Joined(_, parts):
            return any(_holds(part, metadata) for part in parts)
        case _Comparison(field, name, value):
            found = metadata.get(field)
            if name == "==":
                return _equal(found, value)
            if name == "in":
                return any(_equal(found, item) for item in value)
            if name == "contains":
                if isinstance(found, (list, tuple)):
                    return any(_equal(item, value) for item in found)
                return isinstance(found, str) and isinstance(value, str) and value in found
            if _kind(found) != _kind(value):
                return False
            return _ORDERS[name](_comparable(found), _comparable(value))


def _kind(value: object) -> str:
    """What may be equal, or in order: values of one kind. Lists and objects are of none."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, (int, float)) else "none"


def _comparable(value: Any) -> Any:
    return _number(value) if _kind(value) == "number" else value


def _equal(found: object, value: object) -> bool:
    return _kind(found) == _kind(value) and bool(_comparable(found) == _comparable(value))


def _without_not(condition: _Condition, *, negated: bool) -> _Comparison | _Joined:
    """The same with every "not" pushed down to single comparisons, and "and" within "and" merged, likewise "or".

    SQLite's parser has a stack of 100 entries, which nested parentheses fill. Now only an "or" within an "and" needs
    them.
    """
    match condition:
        case _Not(part):
            return _without_not(part, negated=not negated)
        case _Joined(joint, parts):
            if negated:
                joint = "or" if joint == "and" else "and"
            merged: list[_Condition] = []
            for part in parts:
                plain = _without_not(part, negated=negated)
                merged += plain.parts if isinstance(plain, _Joined) and plain.joint == joint else [plain]
            return _Joined(joint, tuple(merged))
        case _Comparison():
            return replace(condition, negated=negated)


@dataclass(frozen=True, slots=True)
class _Sql:
    """A piece of SQL; `stack` is about what SQLite's parser stacks up while it reads it."""

    text: str
    values: list[Any]
    stack: int = 1


def _write(condition: _Condition) -> _Sql:
    if isinstance(condition, _Comparison):
        return _compare(condition)
    if isinstance(condition, _Not):
        return _write(_without_not(condition, negated=False))
    pieces = [_write(part) for part in condition.parts]
    if condition.joint == "and":
        pieces = [
            replace(piece, text=f"({piece.text})", stack=piece.stack + 1) if isinstance(part, _Joined) else piece
            for part, piece in zip(condition.parts, pieces, strict=True)
        ]
    # What needs most goes first, where the parser holds nothing else yet.
    pieces.sort(key=lambda piece: -piece.stack)
    return _Sql(
        f" {condition.joint.upper()} ".join(piece.text for piece in pieces),
        [value for piece in pieces for value in piece.values],
        max(piece.stack + (2 if i else 0) for i, piece in enumerate(pieces)),
    )


def _compare(comparison: _Comparison) -> _Sql:
    """One comparison, as SQL that is true exactly where it holds, and else false or NULL."""
    field, value = comparison.field, comparison.value
    if comparison.operator == "contains":
        sql = _contains(field, value)
    elif comparison.operator == "in":
        sql = _one_of(field, value)
    elif value is None:
        sql = _Sql(f"{_extract(field)} IS NULL", [])
    else:
        mark, bound = _bind(value)
        sign = "=" if comparison.operator == "==" else comparison.operator
        sql = _Sql(f"{_extract(field)} {sign} {mark} AND {_is_kind(_type_of(field), value)}", bound)
    if comparison.negated:
        # Not NOT, which keeps NULL: a missing field differs from every value.
        return _Sql(f"({sql.text}) IS NOT TRUE", sql.values, sql.stack + 1)
    return sql


def _one_of(field: str, values: list[Any]) -> _Sql:
    pieces = []
    for kind in ("text", "number", "bool"):
        chosen = [value for value in values if _kind(value) == kind]
        if chosen:
            # One bound array, however long: SQLite limits the number of bound values.
            among = f"{_extract(field)} IN (SELECT value FROM json_each(?))"  # noqa: S608
            numbers = [int(value) if isinstance(value, bool) else value for value in chosen]
            kinds = dict.fromkeys(_is_kind(_type_of(field), value) for value in chosen)
            pieces.append(_Sql(f"{among} AND ({' OR '.join(kinds)})", [json.dumps(numbers)]))
    if len(pieces) == 1:
        return pieces[0]
    return _Sql(f"({' OR '.join(piece.text for piece in pieces)})", [piece.values[0] for piece in pieces], 2)


def _contains(field: str, value: Any) -> _Sql:
    mark, bound = _bind(value)
    item = (
        f"{_type_of(field)} IS 'array' AND EXISTS (SELECT 1 FROM json_each(metadata, {_path(field)}) AS item "  # noqa: S608
        f"WHERE item.value = {mark} AND {_is_kind('item.type', value)})"
    )
    if not isinstance(value, str):
        return _Sql(item, bound)
    substring = f"{_type_of(field)} IS 'text' AND instr({_extract(field)}, ?)"
    return _Sql(f"({item} OR {substring})", [*bound, value], 2)


def _path(field: str) -> str:
    # A literal, for an index on an expression serves only the very same expression. `_field` has refused whatever
    # could end the name within the path; the single quote is all that SQL's own quoting needs.
    return "'$.\"{}\"'".format(field.replace("'", "''"))


def _extract(field: str) -> str:
    return f"json_extract(metadata, {_path(field)})"


def _type_of(field: str) -> str:
    return f"json_type(metadata, {_path(field)})"


def _is_kind(type_of: str, value: Any) -> str:
    """Keeps kinds apart: json_extract gives 1 for true, and for a list or an object its text."""
    if isinstance(value, bool):
        return f"{type_of} IS '{'true' if value else 'false'}'"
    return f"{type_of} IS 'text'" if isinstance(value, str) else f"{type_of} IN ('integer', 'real')"


def _bind(value: Any) -> tuple[str, list[Any]]:
    """The placeholder for a value, and what to bind there."""
    if isinstance(value, float):
        # Read by SQLite from the digits that metadata holds, for it may round them otherwise than Python does.
        return "json_extract(?, '$')", [json.dumps(value)]
    return "?", [value]
