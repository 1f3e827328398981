"""Values of metadata and of filters as JSON has them: scalars of NumPy and pandas, dates, missing values.

| given | stored |
|---|---|
| NaN, `pandas.NA`, NaT | null |
| a NumPy scalar, an enum of strings or numbers | the string, number or boolean |
| a date | ISO 8601 text: "2024-01-31" |
| a datetime, `datetime64`, a pandas Timestamp | ISO 8601 text: "2024-01-31T12:00:00" |
| one with a time zone | the same in UTC: "2024-01-31T12:00:00+00:00" |
| a Decimal | the number, where a float has all its digits; an error otherwise |
| a UUID, a path | text |
| a tuple, an array | a list |

Text of dates of one kind sorts as the dates do. Anything else is an error: bytes, a set, a timedelta, infinity.
"""

from __future__ import annotations

import datetime
import enum
import math
import uuid
from collections.abc import Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import numpy as np

from serotine.errors import reason, shown
from serotine.nesting import MAX_DEPTH
from serotine.texts import MAX_METADATA_CHARACTERS, is_text

_AS_THEY_ARE = frozenset({bool, type(None)})
# Python writes integers of at most 4,300 digits.
_MAX_DIGITS = 4300
_TOO_LARGE = 10**_MAX_DIGITS
_MISSING = ("NAType", "NaTType")
_ACCEPTED = "a string, number, boolean, date, list, dict or None"


class _InvalidError(Exception):
    """A value that JSON does not have; `path` leads to it, `error` is raised with the place in its message."""

    def __init__(self, error: type[TypeError] | type[ValueError], message: str) -> None:
        super().__init__(message)
        self.error = error
        self.path: list[object] = []

    def at(self, place: str) -> TypeError | ValueError:
        """Return the error for a value at or below `place`."""
        return self.error(f"{place}{''.join(f'[{shown(key)}]' for key in self.path)}: {self}")


def characters(value: object) -> int:
    """Return how many characters the strings and numbers of a JSON value have, names of members included.

    Other values count one, empty lists and objects too.

    >>> characters({"title": "bat", "years": [2020, 2021]})
    21
    """
    if isinstance(value, str):
        return len(value)
    if isinstance(value, int) and not isinstance(value, bool):
        # Python does not write larger ones, which only a file that is read can have.
        return len(str(int(value))) if -_TOO_LARGE < value < _TOO_LARGE else value.bit_length()
    if isinstance(value, float):
        return len(repr(float(value)))
    if isinstance(value, Mapping):
        return sum(map(characters, value)) + sum(map(characters, value.values())) or 1
    return (isinstance(value, (list, tuple)) and sum(map(characters, value))) or 1


def metadata_problem(
    value: Mapping[str, Any],
    limit: int = MAX_METADATA_CHARACTERS,
    *,
    fix: str = "make it a part of the text, or leave it out",
) -> str:
    """Return what is wrong where the metadata of a document have too many characters, or "".

    Args:
        value: the metadata.
        limit: characters of the metadata.
        fix: what to do with the longest field.
    """
    size = characters(value)
    if size <= limit:
        return ""
    longest = max(value, key=lambda name: len(name) + characters(value[name]))
    return f"must have at most {limit:,} characters, got {size:,}; the longest field is {shown(longest)}: {fix}"


def json_value(value: object, place: str) -> Any:
    """Return a value as JSON represents it; a dict or list with everything in it.

    Args:
        value: the value.
        place: where it comes from, for messages: ``metadata[3]``.

    Raises:
        TypeError, ValueError: JSON has no such value; names the place and the key.
    """
    try:
        return _converted(value, 0)
    except _InvalidError as invalid:
        if len(invalid.path) > MAX_DEPTH:
            raise _too_deep(value, invalid, place) from None
        raise invalid.at(place) from None


def filter_values(value: object) -> list[Any] | None:
    """Return the values of a filter's list: of a list, tuple, set or array of one dimension; None for anything else."""
    if isinstance(value, (list, tuple, set, frozenset)) or (isinstance(value, np.ndarray) and value.ndim == 1):
        return list(value)
    return None


def json_scalar(value: object, place: str) -> Any:
    """Return a scalar of a filter as JSON represents it, and anything that is no scalar unchanged.

    Raises:
        ValueError: the value is missing, such as NaN, or JSON has no such value.
    """
    if value is None or isinstance(value, (str, dict, list, tuple)):
        return value
    try:
        plain = _scalar(value)
    except _InvalidError as invalid:
        if invalid.error is TypeError:
            return value
        raise invalid.at(place) from None
    if plain is None:
        raise ValueError(f"{place}: must be finite, got {value}")
    return plain


def _too_deep(value: Any, invalid: _InvalidError, place: str) -> ValueError:
    """Return the error for a value that is nested too deeply; the shortest path to what contains itself names it."""
    path, invalid.path = invalid.path, []
    seen = [value]
    for key in path:
        value = value[key]
        invalid.path.append(key)
        if any(value is outer for outer in seen):
            return ValueError(f"{invalid.at(place)}".partition(": ")[0] + ": contains itself; store it as text")
        seen.append(value)
    invalid.path = [*path[:3], ...]
    return ValueError(f"{place}{''.join(f'[{shown(key)}]' for key in path[:3])}...: {invalid}")


def _converted(value: object, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise _InvalidError(ValueError, f"nested more than {MAX_DEPTH} levels deep; store it as text")
    if isinstance(value, dict):
        converted: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise _InvalidError(TypeError, f"keys must be strings, got {shown(key)}")
            kind = type(item)
            if key.isascii() and (
                kind in _AS_THEY_ARE
                or (kind is str and item.isascii())
                or (kind is int and -_TOO_LARGE < item < _TOO_LARGE)
            ):
                converted[str.__str__(key)] = item
                continue
            try:
                converted[_text(key)] = _converted(item, depth + 1)
            except _InvalidError as invalid:
                invalid.path.insert(0, key)
                raise
        return converted
    if isinstance(value, np.ndarray):
        # Items, not `tolist`, which returns datetime64 in nanoseconds as ints.
        value = list(value) if value.ndim else value[()]
    if isinstance(value, (list, tuple)):
        items = []
        for i, item in enumerate(value):
            try:
                items.append(_converted(item, depth + 1))
            except _InvalidError as invalid:
                invalid.path.insert(0, i)
                raise
        return items
    return _scalar(value)


def _scalar(value: object) -> str | int | float | bool | None:
    """Return a scalar as JSON represents it; a missing one as None."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (datetime.date, np.datetime64)) or type(value).__name__ in _MISSING:
        return _date(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, np.timedelta64):
        number = int(value)
        if not -_TOO_LARGE < number < _TOO_LARGE:
            raise _InvalidError(ValueError, f"an integer must have at most {_MAX_DIGITS:,} digits; store it as text")
        return number
    if isinstance(value, (float, np.floating)):
        return _finite(float(value))
    if isinstance(value, enum.Enum) and isinstance(value.value, (str, int, float)):
        return _scalar(value.value)
    if isinstance(value, datetime.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, (uuid.UUID, PurePath)):
        return _text(str(value))
    raise _InvalidError(TypeError, f"must be {_ACCEPTED}, got {type(value).__name__}; convert it")


def _text(value: str) -> str:
    plain = str.__str__(value)
    if not (plain.isascii() or is_text(plain)):
        raise _InvalidError(ValueError, "contains a lone surrogate; decode its source as UTF-8")
    return plain


def _finite(value: float) -> float | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise _InvalidError(ValueError, f"must be finite, got {value}")
    return value


def _number(value: Decimal) -> int | float | None:
    if value.is_nan():
        return None
    number = _finite(float(value))
    if number is not None and Decimal(repr(number)) != value:
        raise _InvalidError(
            ValueError, f"a float cannot hold the digits of {shown(value)}; pass float(...) or str(...)"
        )
    return number


def _date(value: Any) -> str | None:
    """Return a date or datetime as ISO 8601 text, with a time zone in UTC; NaT and NA as None."""
    nanoseconds = 0
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            return None
        is_date = np.datetime_data(value)[0] in ("Y", "M", "W", "D")
        if not is_date:
            nanoseconds = int((value - value.astype("datetime64[us]")).astype("timedelta64[ns]").astype(int))
        value = value.astype("datetime64[D]" if is_date else "datetime64[us]").item()
        if not isinstance(value, datetime.date):
            raise _InvalidError(ValueError, "must be a date from year 1 to 9999")
    elif type(value).__name__ in _MISSING:
        return None
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        try:
            value = value.astimezone(datetime.UTC)
        except (OverflowError, ValueError) as error:
            raise _InvalidError(ValueError, f"cannot be converted to UTC ({reason(error)})") from None
    text: str = value.isoformat()
    if nanoseconds:
        text = f"{value.isoformat(timespec='microseconds')}{nanoseconds:03d}"
    return text
