"""Values of metadata and filters are stored as JSON has them; an error names the key of what JSON does not have."""

from __future__ import annotations

import datetime
import enum
import json
import math
import re
import uuid
from datetime import UTC, date, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from serotine.json_values import json_scalar, json_value

Color = enum.Enum("Color", {"RED": "red"}, type=str)
Level = enum.IntEnum("Level", {"HIGH": 3})
PARIS = timezone(timedelta(hours=2))
NOON = datetime.datetime(2024, 1, 31, 12)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, True),
        (np.True_, True),
        (3, 3),
        (Level.HIGH, 3),
        (np.int64(-3), -3),
        (np.uint8(255), 255),
        (1.5, 1.5),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (math.nan, None),
        (np.float32("nan"), None),
        ("é🦇", "é🦇"),
        (np.str_("a"), "a"),
        (Color.RED, "red"),
        (date(2024, 1, 31), "2024-01-31"),
        (NOON, "2024-01-31T12:00:00"),
        (NOON.replace(microsecond=500), "2024-01-31T12:00:00.000500"),
        (NOON.replace(tzinfo=UTC), "2024-01-31T12:00:00+00:00"),
        (NOON.replace(tzinfo=PARIS), "2024-01-31T10:00:00+00:00"),
        (datetime.time(7, 30), "07:30:00"),
        (np.datetime64("2024-01-31"), "2024-01-31"),
        (np.datetime64("2024-01"), "2024-01-01"),
        (np.datetime64("2024-01-31T12"), "2024-01-31T12:00:00"),
        (np.datetime64("2024-01-31T12:00:00", "ns"), "2024-01-31T12:00:00"),
        (np.datetime64("2024-01-31T12:00:00.000000007"), "2024-01-31T12:00:00.000000007"),
        (np.datetime64("1969-12-31T23:59:59.999999999"), "1969-12-31T23:59:59.999999999"),
        (np.datetime64("NaT"), None),
        (Decimal("12.50"), 12.5),
        (Decimal("NaN"), None),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (PurePosixPath("a/b"), "a/b"),
        ((1, np.int8(2)), [1, 2]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(1.5), 1.5),
        (np.array([1.0, math.nan]), [1.0, None]),
        (np.array(["2024-01-31", "NaT"], "datetime64[ns]"), ["2024-01-31T00:00:00", None]),
        ({"a": {"b": (date(2024, 1, 31),)}}, {"a": {"b": ["2024-01-31"]}}),
    ],
)
def test_values_are_stored_as_json_has_them(value: object, stored: object) -> None:
    result = json_value(value, "x")
    assert (result, type(result)) == (stored, type(stored))
    json.dumps(result, allow_nan=False).encode()
    if isinstance(stored, (str, int, float)):
        assert json_scalar(value, "x") == stored


def test_values_of_pandas_are_stored_as_json_has_them() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "n": pandas.array([1, None], dtype="Int64"),
            "price": [1.5, None],
            "when": pandas.to_datetime(["2024-01-31 12:00:00.000000007", None]),
            "zoned": pandas.to_datetime(["2024-01-31 12:00", None]).tz_localize("Etc/GMT-2"),
            "word": pandas.array(["a", None], dtype="string"),
        }
    )
    first, second = (json_value(row, "x") for row in frame.to_dict("records"))
    assert first == {
        "n": 1,
        "price": 1.5,
        "when": "2024-01-31T12:00:00.000000007",
        "zoned": "2024-01-31T10:00:00+00:00",
        "word": "a",
    }
    assert set(second.values()) == {None}


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"price": b"x"}, TypeError, "metadata[3]['price']: must be a string, number, boolean, date"),
        ({"tags": {1}}, TypeError, "metadata[3]['tags']: must be a string, number, boolean, date, list, dict or None"),
        ({"a": [1, {"b": object()}]}, TypeError, "metadata[3]['a'][1]['b']: must be a string"),
        ({"d": timedelta(1)}, TypeError, "metadata[3]['d']: must be a string, number"),
        ({"d": np.timedelta64(1, "D")}, TypeError, "metadata[3]['d']: must be a string, number"),
        ({"z": 1j}, TypeError, "metadata[3]['z']: must be a string"),
        ({"n": math.inf}, ValueError, "metadata[3]['n']: must be finite, got inf"),
        ({"n": np.float32("-inf")}, ValueError, "metadata[3]['n']: must be finite, got -inf"),
        ({"n": Decimal("Infinity")}, ValueError, "metadata[3]['n']: must be finite, got inf"),
        ({"n": Decimal("0.12345678901234567890")}, ValueError, "metadata[3]['n']: a float cannot hold the digits"),
        ({"s": "\ud800"}, ValueError, "metadata[3]['s']: contains a lone surrogate"),
        ({"\ud800": 1}, ValueError, "contains a lone surrogate"),
        ({"p": Path("\udcff")}, ValueError, "metadata[3]['p']: contains a lone surrogate"),
        ({1: 2}, TypeError, "metadata[3]: keys must be strings, got 1"),
        ({"a": {None: 2}}, TypeError, "metadata[3]['a']: keys must be strings, got None"),
        ({"d": np.datetime64("20000-01-01")}, ValueError, "metadata[3]['d']: must be a date from year 1 to 9999"),
        (
            {"d": datetime.datetime.max.replace(tzinfo=timezone(timedelta(hours=-2)))},
            ValueError,
            "metadata[3]['d']: cannot be converted to UTC",
        ),
    ],
)
def test_what_json_does_not_have_is_an_error_with_its_key(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)) as raised:
        json_value(value, "metadata[3]")
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)


def test_values_that_contain_themselves_are_rejected() -> None:
    circular: dict[str, Any] = {}
    circular["a"] = [circular]
    with pytest.raises(ValueError, match=r"^metadata\[0\]\['a'\]\[0\]: contains itself; store it as text$"):
        json_value(circular, "metadata[0]")
    inner: list[Any] = []
    inner.append(inner)
    with pytest.raises(ValueError, match=r"^metadata\[0\]\['x'\]\['y'\]\[0\]: contains itself"):
        json_value({"w": 1, "x": {"y": inner}}, "metadata[0]")
    deep: Any = 1
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(ValueError, match=r"^metadata\[0\](\['a'\]){3}\.\.\.: nested more than 200 levels deep"):
        json_value(deep, "metadata[0]")


def test_enums_are_stored_as_their_values() -> None:
    for kind, stored in (
        (enum.Enum("Color", {"A": "red"}), "red"),
        (enum.Enum("Count", {"A": 2}), 2),
        (enum.Enum("Text", {"A": "x"}, type=str), "x"),
        (enum.IntEnum("Number", {"A": 3}), 3),
    ):
        assert json_value({"e": kind["A"]}, "x") == {"e": stored}
        assert json_scalar(kind["A"], "where") == stored
    with pytest.raises(TypeError, match=r"x\['e'\]: must be a string, .* got Pair"):
        json_value({"e": enum.Enum("Pair", {"A": (1, 2)})["A"]}, "x")


def test_missing_values_match_nothing_in_a_filter() -> None:
    for value in (math.nan, np.datetime64("NaT"), Decimal("NaN")):
        with pytest.raises(ValueError, match=r"where\['a'\]: must be finite, got (nan|NaN|NaT)"):
            json_scalar(value, "where['a']")
    # What is no scalar is left to the caller.
    for value in (None, [math.nan], {"a": 1}, b"x"):
        assert json_scalar(value, "where") is value


def test_text_of_dates_sorts_as_the_dates_do() -> None:
    moments = [NOON + timedelta(days=days, microseconds=us) for days in (-800_000 // 2, 0, 9) for us in (0, 1, 500_000)]
    for moved in (moments, [moment.replace(tzinfo=PARIS) for moment in moments]):
        texts = [json_value(moment, "x") for moment in moved]
        assert texts == sorted(texts)
        assert [datetime.datetime.fromisoformat(text) for text in texts] == moved


@pytest.mark.parametrize("nested", [False, True])
def test_an_integer_of_too_many_digits_names_its_field(nested: bool) -> None:
    value: Any = {"n": -(10**5000)}
    place = r"metadata\[0\]\['n'\]"
    if nested:
        value, place = {"m": [value]}, r"metadata\[0\]\['m'\]\[0\]\['n'\]"
    with pytest.raises(ValueError, match=f"{place}: an integer must have at most 4,300 digits; store it as text"):
        json_value(value, "metadata[0]")
    assert json.dumps(json_value({"n": 10**4300 - 1}, "metadata[0]"))
