"""`where=` filters over documents' metadata, compiled to SQL conditions with bound values.

A filter is a dict:

- `{"lang": "en"}`: the field equals the value.
- `{"year": {">=": 2020, "<": 2024}}`: operators `==`, `!=`, `<`, `<=`, `>`, `>=`, `in` (a list of values), and
  `contains` (the field is a list that contains the value, or a string that contains the substring). The values of `in`
  may also be a set or an array; a filter has at most 10,000.
- `{"and": [...]}`, `{"or": [...]}`, `{"not": {...}}` contain filters. Fields and operators in one dict are
  joined by "and".

Values compare with values of the same kind only: strings with strings (by code point), numbers with numbers (ints and
floats alike), booleans with booleans, so that `{"year": {">": 2000}}` does not match the year "abc" and
`{"done": 1}` does not match true. Lists and objects equal nothing; `contains` looks into lists.

Dates and datetimes compare as the text that `serotine.json_values` stores for them, and scalars of NumPy as Python's.

A name with dots is a field of that name where a document has one, and otherwise a path into nested objects:
`{"meta.source": "x"}` matches `{"meta": {"source": "x"}}`.

A field that is missing, null or of another kind makes every comparison false and `!=` true, because `!=` negates `==`.
`{"field": None}` and `{"field": {"!=": None}}` test whether the field is missing or null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from serotine.errors import shown, wrong_type
from serotine.json_values import filter_values, json_scalar
from serotine.texts import is_text

Filterable = dict[str, type]

_TYPES: dict[type, str] = {str: "str", int: "int", float: "float", bool: "bool"}
_ACCEPTED: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}
_ORDERS = ("<", "<=", ">", ">=")
_OPERATORS = ("==", "!=", *_ORDERS, "in", "contains")
_CONNECTIVES = ("and", "or", "not")
_MAX_FIELDS = 64
_MAX_NAME = 128
_MAX_DEPTH = 64
# SQLite accepts expressions 1,000 deep, and a chain of ANDs is as deep as it is long.
_MAX_COMPARISONS = 256
# Of all lists of "in" together. Parsing and looking up this many takes tenths of a second.
MAX_VALUES = 10_000
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field compared with a str, int, float, bool or None, or with a list of these for "in"."""

    field: str
    operator: str
    value: Any
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """Conditions joined by "and" or "or"."""

    connective: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The negation of a condition."""

    condition: Condition


Condition = Comparison | Joined | Not


def check_filterable(value: object) -> dict[str, str]:
    """Validate the declared fields of an index, `{"lang": str, "year": int}`.

    Returns:
        The fields as JSON represents them: `{"lang": "str", "year": "int"}`.

    Raises:
        TypeError, ValueError: a name is not valid, or a type is not str, int, float or bool.
    """
    if not isinstance(value, dict):
        raise wrong_type("filterable", "a dict such as {'lang': str}", value)
    if len(value) > _MAX_FIELDS:
        raise ValueError(
            f"filterable: must have at most {_MAX_FIELDS} fields, got {len(value)}; declare only those that filters use"
        )
    checked = {}
    for name, kind in value.items():
        place = _within("filterable", name)
        checked[_field(name, place)] = _type_name(kind, place)
    return checked


def index_statements(filterable: Mapping[str, str]) -> list[str]:
    """Return the CREATE INDEX statements that make comparisons of the declared fields fast, one per field."""
    return [
        # Numbered, because names of SQL indexes are case-insensitive, and fields are not.
        f"CREATE INDEX documents_where_{i} ON documents ({value_of(field)})"
        for i, field in enumerate(filterable)
    ]


def check_metadata(filterable: Mapping[str, str], metadata: Mapping[str, Any], position: int) -> None:
    """Validate the declared fields of one document.

    A field may be missing or None, and may be a list of the declared type. A float may be an int, but an
    int may not be a bool.

    Args:
        filterable: the return value of `check_filterable`.
        metadata: the document's metadata.
        position: the document's position in the call, for the message.

    Raises:
        TypeError: a value has another type.
        ValueError: an int beyond 64 bits, which comparisons would round.
    """
    for field, declared in filterable.items():
        value = field_value(metadata, field)
        if value is None:
            continue
        place = f"metadata[{position}][{field!r}]"
        if not isinstance(value, (list, tuple)):
            _check_declared(value, field, declared, place)
            continue
        for i, item in enumerate(value):
            _check_declared(item, field, declared, f"{place}[{i}]")


def field_value(metadata: Mapping[str, Any], field: str) -> Any:
    """Return the value that a filter compares: of the field of that name, else of the path, else None."""
    if field in metadata or "." not in field:
        return metadata.get(field)
    value: Any = metadata
    for name in field.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value


def compile_where(where: Mapping[str, Any], filterable: Mapping[str, str]) -> tuple[str, list[Any]]:
    """Compile a filter to an SQL condition on the table `documents`, and the values to bind.

    The condition is in parentheses. Its `==`, `in` and order comparisons can use the indexes of
    `index_statements`; undeclared fields work too, document by document.

    Raises:
        TypeError, ValueError: the filter is malformed, or a value does not have the declared type of its field; names
            the place.
    """
    sql = _write(_without_not(parse(where, filterable), negated=False))
    return f"({sql.text})", sql.values


def parse(where: object, filterable: Mapping[str, str]) -> Condition:
    """Parse a filter into conditions, checking everything.

    Raises:
        TypeError, ValueError: the filter is malformed; names the place.
    """
    return _Parser(filterable).parse(where)


class _Parser:
    """Parser of one filter into conditions."""

    def __init__(self, filterable: Mapping[str, str]) -> None:
        self._filterable = filterable
        self._comparisons = 0
        self._values = 0

    def parse(self, where: object) -> Condition:
        return self._group(where, "where", 1)

    def _group(self, where: object, place: str, depth: int) -> Condition:
        if depth > _MAX_DEPTH:
            raise ValueError(f"where: must be nested at most {_MAX_DEPTH} deep; flatten it")
        if not isinstance(where, Mapping):
            raise wrong_type(place, "a dict such as {'lang': 'en'}", where)
        if not where:
            raise ValueError(f"{place}: must not be empty; name a field, or omit it to match every document")
        conditions: list[Condition] = []
        for name, value in where.items():
            inside = _within(place, name)
            if name == "not":
                conditions.append(Not(self._group(value, inside, depth + 1)))
            elif name in _CONNECTIVES:
                conditions.append(self._joined(name, value, inside, depth))
            else:
                conditions += self._field(_field(name, inside), value, inside)
        return _join("and", conditions)

    def _joined(self, connective: str, value: object, place: str, depth: int) -> Condition:
        if not isinstance(value, (list, tuple)):
            raise wrong_type(place, "a list of filters", value)
        if not value:
            raise ValueError(f"{place}: must not be empty; list at least one filter")
        return _join(connective, [self._group(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(value)])

    def _field(self, field: str, value: object, place: str) -> list[Condition]:
        if not isinstance(value, Mapping):
            if isinstance(value, (list, tuple)):
                raise TypeError(
                    f"{place}: must be one value, got a list; write {{'in': [...]}} or {{'contains': ...}}, "
                    "and 'and', 'or', 'not' in lower case"
                )
            return [self._comparison(field, "==", value, place)]
        if not value:
            raise ValueError(f"{place}: must not be empty; use an operator such as {{'>=': 2020}}")
        return [self._comparison(field, name, operand, _within(place, name)) for name, operand in value.items()]

    def _comparison(self, field: str, name: object, value: object, place: str) -> Condition:
        if name not in _OPERATORS:
            nested = isinstance(name, str) and any(character.isalpha() for character in name)
            hint = f"; for a field inside {field!r} write {field + '.' + str(name)!r}" if nested else ""
            raise ValueError(f"{place}: unknown operator; valid operators: {', '.join(_OPERATORS)}{hint}")
        self._comparisons += 1
        if self._comparisons > _MAX_COMPARISONS:
            raise ValueError(
                f"where: must have at most {_MAX_COMPARISONS} comparisons; use 'in' for long lists of values"
            )
        if name == "in":
            values = filter_values(value)
            if values is None:
                raise wrong_type(place, "a list of values", value)
            if not values:
                raise ValueError(f"{place}: must not be empty; list at least one value")
            self._values += len(values)
            if self._values > MAX_VALUES:
                raise ValueError(
                    f"{place}: a filter must have at most {MAX_VALUES:,} values of 'in', got {self._values:,}; "
                    "give the documents a field to filter by, or search several times"
                )
            return Comparison(field, "in", [self._value(field, item, f"{place}[{i}]") for i, item in enumerate(values)])
        plain = None if value is None and name in ("==", "!=") else self._value(field, value, place)
        if name in _ORDERS and isinstance(plain, bool):
            raise TypeError(f"{place}: booleans have no order; compare them with == or !=")
        if name == "!=":
            return Not(Comparison(field, "==", plain))
        return Comparison(field, str(name), plain)

    def _value(self, field: str, value: object, place: str) -> str | int | float | bool:
        value = json_scalar(value, place)
        plain = _scalar(value, place)
        if field in self._filterable:
            _check_declared(value, field, self._filterable[field], place)
        return plain


def _within(place: str, name: object) -> str:
    return f"{place}[{shown(name)}]"


def _field(name: object, place: str) -> str:
    """Return `name` if it is a valid field name."""
    if not isinstance(name, str):
        raise wrong_type(place, "the name of a field, a string", name)
    if name in _OPERATORS or name in _CONNECTIVES:
        raise ValueError(f"{place}: {name!r} is reserved in filters; rename the field")
    if not 0 < len(name) <= _MAX_NAME:
        raise ValueError(f"{place}: must have 1 to {_MAX_NAME} characters, got {len(name)}")
    # Characters that JSON escapes: versions of SQLite differ in how a path represents them.
    if any(character in '"\\' or character < " " for character in name) or not is_text(name):
        raise ValueError(
            f"{place}: contains a double quote, a backslash, a control character or a lone surrogate; rename the field"
        )
    return name


def _type_name(kind: object, place: str) -> str:
    for type_, name in _TYPES.items():
        if kind is type_:
            return name
    raise TypeError(f"{place}: must be str, int, float or bool, got {shown(kind)}")


def _scalar(value: object, place: str) -> str | int | float | bool:
    """Return `value` as SQLite compares it: exactly a str, int, float or bool."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if "\0" in value or not is_text(value):
            raise ValueError(f"{place}: contains a NUL character or a lone surrogate, which no filter matches")
        return str.__str__(value)
    if isinstance(value, (int, float)):
        number = _number(value)
        if not math.isfinite(number):
            raise ValueError(f"{place}: must be finite, got {number}")
        return number
    raise wrong_type(place, "a string, a number or a boolean", value)


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


def _check_declared(value: object, field: str, declared: str, place: str) -> None:
    if not isinstance(value, _ACCEPTED[declared]) or isinstance(value, bool) != (declared == "bool"):
        raise TypeError(f"{place}: must be {declared}, as {field!r} is declared, got {type(value).__name__}")
    if declared == "int" and value not in _INT64:
        raise ValueError(f"{place}: must fit 64 bits, beyond which comparisons round; declare {field!r} as str")


def _join(connective: str, conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else Joined(connective, tuple(conditions))


def kind_of(value: object) -> str:
    """Return the kind of a value: only values of one kind are equal or ordered. Lists and objects have none."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, (int, float)) else "none"


def _without_not(condition: Condition, *, negated: bool) -> Comparison | Joined:
    """Push every "not" down to single comparisons, and merge "and" within "and", and "or" within "or".

    SQLite's parser has a stack of 100 entries, which nested parentheses fill. Afterwards only an "or" within an "and"
    needs them.
    """
    match condition:
        case Not(inner):
            return _without_not(inner, negated=not negated)
        case Joined(connective, conditions):
            if negated:
                connective = "or" if connective == "and" else "and"
            merged: list[Condition] = []
            for item in conditions:
                plain = _without_not(item, negated=negated)
                merged += plain.conditions if isinstance(plain, Joined) and plain.connective == connective else [plain]
            return Joined(connective, tuple(merged))
        case Comparison():
            return replace(condition, negated=negated)


@dataclass(frozen=True, slots=True)
class _Sql:
    """A piece of SQL; `stack` estimates the entries it takes on the stack of SQLite's parser."""

    text: str
    values: list[Any]
    stack: int = 1


def _write(condition: Condition) -> _Sql:
    if isinstance(condition, Comparison):
        return _compare(condition)
    if isinstance(condition, Not):
        return _write(_without_not(condition, negated=False))
    pieces = [_write(item) for item in condition.conditions]
    if condition.connective == "and":
        pieces = [
            replace(piece, text=f"({piece.text})", stack=piece.stack + 1) if isinstance(item, Joined) else piece
            for item, piece in zip(condition.conditions, pieces, strict=True)
        ]
    # The piece that needs the deepest stack goes first, where the stack is still empty.
    pieces.sort(key=lambda piece: -piece.stack)
    return _Sql(
        f" {condition.connective.upper()} ".join(piece.text for piece in pieces),
        [value for piece in pieces for value in piece.values],
        max(piece.stack + (2 if i else 0) for i, piece in enumerate(pieces)),
    )


def _compare(comparison: Comparison) -> _Sql:
    """Write a comparison as SQL that is true exactly where it holds, else false or NULL."""
    field, value = comparison.field, comparison.value
    if comparison.operator == "contains":
        sql = _contains(field, value)
    elif comparison.operator == "in":
        sql = _one_of(field, value)
    elif value is None:
        sql = _Sql(f"{value_of(field)} IS NULL", [])
    else:
        placeholder, bound = _bind(value)
        sign = "=" if comparison.operator == "==" else comparison.operator
        sql = _Sql(f"{value_of(field)} {sign} {placeholder} AND {_is_kind(type_of(field), value)}", bound)
    if comparison.negated:
        # Not with NOT, which leaves NULL: a missing field differs from every value.
        return _Sql(f"({sql.text}) IS NOT TRUE", sql.values, sql.stack + 1)
    return sql


def _one_of(field: str, values: list[Any]) -> _Sql:
    pieces = []
    for kind in ("text", "number", "bool"):
        chosen = [value for value in values if kind_of(value) == kind]
        if chosen:
            # One bound array of any length: SQLite limits the number of bound values.
            among = f"{value_of(field)} IN (SELECT value FROM json_each(?))"  # noqa: S608
            numbers = [int(value) if isinstance(value, bool) else value for value in chosen]
            kinds = dict.fromkeys(_is_kind(type_of(field), value) for value in chosen)
            pieces.append(_Sql(f"{among} AND ({' OR '.join(kinds)})", [json.dumps(numbers)]))
    if len(pieces) == 1:
        return pieces[0]
    return _Sql(f"({' OR '.join(piece.text for piece in pieces)})", [piece.values[0] for piece in pieces], 2)


def _contains(field: str, value: Any) -> _Sql:
    placeholder, bound = _bind(value)
    item = (
        f"{type_of(field)} IS 'array' AND EXISTS (SELECT 1 FROM json_each(metadata, {_path(field)}) AS item "  # noqa: S608
        f"WHERE item.value = {placeholder} AND {_is_kind('item.type', value)})"
    )
    if not isinstance(value, str):
        return _Sql(item, bound)
    substring = f"{type_of(field)} IS 'text' AND instr({value_of(field)}, ?)"
    return _Sql(f"({item} OR {substring})", [*bound, value], 2)


def _path(field: str) -> str:
    # A literal, because an index on an expression serves only the same expression. `_field` rejects every character
    # that could end the name within the path; SQL itself needs only the single quote escaped.
    literal = _sql_path([field])
    if "." not in field:
        return literal
    return f"CASE WHEN json_type(metadata, {literal}) IS NULL THEN {_sql_path(field.split('.'))} ELSE {literal} END"


def _sql_path(names: list[str]) -> str:
    path = "".join(f'."{name}"' for name in names)
    return "'${}'".format(path.replace("'", "''"))


def value_of(field: str) -> str:
    """Return the SQL expression of a field's value."""
    return f"json_extract(metadata, {_path(field)})"


def type_of(field: str) -> str:
    """Return the SQL expression of a field's JSON type, NULL where it is missing."""
    return f"json_type(metadata, {_path(field)})"


def _is_kind(type_of: str, value: Any) -> str:
    """Return the SQL that restricts a comparison to one kind: json_extract gives 1 for true, and text for lists."""
    if isinstance(value, bool):
        return f"{type_of} IS '{'true' if value else 'false'}'"
    return f"{type_of} IS 'text'" if isinstance(value, str) else f"{type_of} IN ('integer', 'real')"


def _bind(value: Any) -> tuple[str, list[Any]]:
    """Return the placeholder of a value, and the values to bind."""
    if isinstance(value, float):
        # SQLite parses the digits as it does those in metadata, because it may round differently from Python.
        return "json_extract(?, '$')", [json.dumps(value)]
    return "?", [value]
