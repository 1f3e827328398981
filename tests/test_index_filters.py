"""Filters: SQL agrees with the Python reference, indexes are used, and errors name their place."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.filter_reference import matches
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serotine.index.store.filters import check_filterable, check_metadata, compile_where, index_statements

# With paths, and with fields of which others may be paths.
FIELDS = ["lang", "it's", "a.b[0]", "a", "a.", ".c", "é🦇", "é🦇.c", "it's.b[0]", "$", "Lang"]


def database(filterable: dict[str, str] | None = None) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute(
        "CREATE TABLE documents (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, text TEXT, "
        "metadata TEXT NOT NULL, live INTEGER NOT NULL DEFAULT 1)"
    )
    for statement in index_statements(filterable or {}):
        connection.execute(statement)
    return connection


def fill(connection: sqlite3.Connection, documents: list[dict[str, Any]]) -> None:
    connection.executemany(
        "INSERT INTO documents (number, metadata) VALUES (?, ?)",
        [(i, json.dumps(metadata, ensure_ascii=False)) for i, metadata in enumerate(documents)],
    )


def matching(
    connection: sqlite3.Connection, where: dict[str, Any], filterable: dict[str, str] | None = None
) -> list[int]:
    condition, values = compile_where(where, filterable or {})
    rows = connection.execute(f"SELECT number FROM documents WHERE live AND {condition} ORDER BY number", values)  # noqa: S608
    return [row[0] for row in rows]


@pytest.fixture(scope="module")
def empty() -> Iterator[sqlite3.Connection]:
    connection = database()
    yield connection
    connection.close()


DOCUMENTS: list[dict[str, Any]] = [
    {"lang": "en", "year": 2020, "done": True, "tags": ["a", "b", 1]},
    {"lang": "de", "year": 2021.5, "done": 1, "tags": "abc"},
    {"lang": None, "year": "abc", "done": False, "tags": ["ab", True, ["a"]]},
    {"year": "2020", "done": 0, "tags": {"x": "a"}},
    {"lang": ["en"], "year": -1, "done": "true", "tags": []},
    {"lang": '["en"]', "year": 2**63, "tags": [None, 2.0]},
]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"lang": "en"}, [0]),
        ({"lang": {"==": "en"}}, [0]),
        ({"lang": {"!=": "en"}}, [1, 2, 3, 4, 5]),
        # Missing equals null.
        ({"lang": None}, [2, 3]),
        ({"lang": {"!=": None}}, [0, 1, 4, 5]),
        ({"nowhere": {"!=": 1}}, [0, 1, 2, 3, 4, 5]),
        ({"nowhere": {">": 0}}, []),
        # A list does not equal its JSON text.
        ({"lang": '["en"]'}, [5]),
        ({"lang": {"in": ["en", '["en"]', "xx"]}}, [0, 5]),
        # Numbers compare only with numbers, strings only with strings.
        ({"year": {">": 2000}}, [0, 1, 5]),
        ({"year": {"<": 2000}}, [4]),
        ({"year": {">=": 2020, "<": 2021.5}}, [0]),
        ({"year": {">": "2"}}, [2, 3]),
        ({"year": 2020.0}, [0]),
        ({"year": {"in": [2020, "2020", 2021.5]}}, [0, 1, 3]),
        ({"year": float(2**63)}, [5]),
        # True is not 1.
        ({"done": True}, [0]),
        ({"done": 1}, [1]),
        ({"done": False}, [2]),
        ({"done": 0}, [3]),
        ({"done": {"!=": True}}, [1, 2, 3, 4, 5]),
        ({"done": {"in": [True, 0]}}, [0, 3]),
        ({"done": {"in": [True, False, "true"]}}, [0, 2, 4]),
        ({"done": {">=": 0}}, [1, 3]),
        # A list contains a value; a string contains a substring.
        ({"tags": {"contains": "a"}}, [0, 1]),
        ({"tags": {"contains": "ab"}}, [1, 2]),
        ({"tags": {"contains": ""}}, [1]),
        ({"tags": {"contains": 1}}, [0]),
        ({"tags": {"contains": True}}, [2]),
        ({"tags": {"contains": 2}}, [5]),
        ({"and": [{"lang": "en"}, {"year": 2020}]}, [0]),
        ({"or": [{"lang": "en"}, {"lang": "de"}]}, [0, 1]),
        ({"not": {"lang": "en"}}, [1, 2, 3, 4, 5]),
        ({"not": {"year": {">": 2000}}}, [2, 3, 4]),
        ({"not": {"not": {"lang": "en"}}}, [0]),
        ({"not": {"or": [{"lang": "en"}, {"year": {"<": 0}, "done": "true"}]}}, [1, 2, 3, 5]),
        ({"or": [{"lang": "en"}, {"lang": "de"}], "done": True}, [0]),
        # A path into an object; nothing is inside a list or text.
        ({"tags.x": "a"}, [3]),
        ({"tags.x": None}, [0, 1, 2, 4, 5]),
        ({"tags.0": "a"}, []),
        ({"tags.x.y": {"!=": None}}, []),
    ],
)
def test_semantics(where: dict[str, Any], expected: list[int]) -> None:
    connection = database()
    fill(connection, DOCUMENTS)
    assert matching(connection, where) == expected
    assert [i for i, metadata in enumerate(DOCUMENTS) if matches(where, metadata)] == expected
    connection.close()


TEXTS = st.text(st.sampled_from("aAbé'\"\\%_[]{}🦇 1"), max_size=3)
# The limits of 53-bit and 64-bit integers, and values just beyond them.
INTEGERS = st.integers(-3, 3) | st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30])
FLOATS = st.sampled_from([0.0, -0.0, 0.1, 0.1 + 0.2, 0.3, 1.0, -1.5, 1e22, 2.0**53, 2.0**63, 1e300, 5e-324])
SCALARS = TEXTS | INTEGERS | FLOATS | st.booleans()
METADATA = st.dictionaries(
    st.sampled_from(FIELDS),
    SCALARS
    | st.none()
    | st.lists(SCALARS | st.none() | st.lists(SCALARS, max_size=1), max_size=3)
    | st.dictionaries(TEXTS | st.sampled_from(["b[0]", "", "c"]), SCALARS | st.none(), max_size=2),
    max_size=4,
)
OPERATORS = st.one_of(
    st.dictionaries(st.sampled_from(["==", "!="]), SCALARS | st.none(), min_size=1),
    st.dictionaries(st.sampled_from(["<", "<=", ">", ">="]), TEXTS | INTEGERS | FLOATS, min_size=1),
    st.fixed_dictionaries({"in": st.lists(SCALARS, min_size=1, max_size=5)}),
    st.fixed_dictionaries({"contains": SCALARS}),
)
LEAVES = st.dictionaries(st.sampled_from(FIELDS), SCALARS | st.none() | OPERATORS, min_size=1, max_size=2)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"and": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
        st.builds(lambda left, right: {**left, "or": [right]}, LEAVES, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=st.lists(METADATA, min_size=1, max_size=6), filters=st.lists(FILTERS, min_size=1, max_size=4))
def test_sql_agrees_with_the_reference(
    empty: sqlite3.Connection, documents: list[dict[str, Any]], filters: list[dict[str, Any]]
) -> None:
    empty.execute("DELETE FROM documents")
    fill(empty, documents)
    for where in filters:
        assert matching(empty, where) == [i for i, metadata in enumerate(documents) if matches(where, metadata)]


@settings(max_examples=100, deadline=None)
@given(
    documents=st.lists(st.fixed_dictionaries({}, optional={"s": TEXTS, "n": INTEGERS | FLOATS, "b": st.booleans()})),
    where=st.one_of(
        st.fixed_dictionaries({"s": TEXTS | st.dictionaries(st.sampled_from(["<", ">=", "=="]), TEXTS, min_size=1)}),
        st.fixed_dictionaries({"n": FLOATS | st.dictionaries(st.sampled_from(["<", ">", "=="]), FLOATS, min_size=1)}),
        st.fixed_dictionaries({"b": st.booleans()}),
        st.fixed_dictionaries({"n": st.fixed_dictionaries({"in": st.lists(FLOATS, min_size=1)})}),
    ),
)
def test_declared_fields_match_the_same_documents(documents: list[dict[str, Any]], where: dict[str, Any]) -> None:
    filterable = check_filterable({"s": str, "n": float, "b": bool})
    connection = database(filterable)
    fill(connection, documents)
    assert matching(connection, where, filterable) == [
        i for i, metadata in enumerate(documents) if matches(where, metadata)
    ]
    connection.close()


def plan(connection: sqlite3.Connection, where: dict[str, Any], filterable: dict[str, str]) -> str:
    condition, values = compile_where(where, filterable)
    rows = connection.execute(f"EXPLAIN QUERY PLAN SELECT number FROM documents WHERE live AND {condition}", values)  # noqa: S608
    return "; ".join(row[3] for row in rows)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"lang": "en"}, "SEARCH documents USING INDEX documents_where_0 (<expr>=?)"),
        ({"it's": {"==": 0.5}}, "SEARCH documents USING INDEX documents_where_1 (<expr>=?)"),
        ({"it's": {">=": 1, "<": 2.5}}, "SEARCH documents USING INDEX documents_where_1 (<expr>>? AND <expr><?)"),
        ({"lang": {"in": ["en", "de"]}}, "SEARCH documents USING INDEX documents_where_0 (<expr>=?)"),
        ({"lang": None}, "SEARCH documents USING INDEX documents_where_0 (<expr>=?)"),
        ({"Lang": True}, "SEARCH documents USING INDEX documents_where_2 (<expr>=?)"),
        ({"and": [{"other": 1}, {"and": [{"lang": "en"}, {"not": {"not": {"other": 2}}}]}]}, "documents_where_0"),
        ({"or": [{"lang": "en"}, {"it's": 2.0}]}, "MULTI-INDEX OR"),
        ({"other": "en"}, "SCAN documents"),
        ({"meta.source": "x"}, "SEARCH documents USING INDEX documents_where_3 (<expr>=?)"),
        ({"meta.source": {">": "x"}}, "SEARCH documents USING INDEX documents_where_3 (<expr>>?)"),
    ],
)
def test_indexes_are_used(where: dict[str, Any], expected: str) -> None:
    filterable = check_filterable({"lang": str, "it's": float, "Lang": bool, "meta.source": str})
    connection = database(filterable)
    assert expected in plan(connection, where, filterable)
    connection.close()


def test_many_values_and_deep_nesting(empty: sqlite3.Connection) -> None:
    empty.execute("DELETE FROM documents")
    fill(empty, [{"n": i, "s": str(i)} for i in range(300)])
    assert matching(empty, {"n": {"in": list(range(7, 10_007))}}) == list(range(7, 300))
    assert matching(empty, {"s": {"in": [str(i) for i in range(10_000)]}}) == list(range(300))
    assert matching(empty, {"or": [{"n": i} for i in range(256)]}) == list(range(256))
    assert matching(empty, {"and": [{"n": {"!=": i}} for i in range(256)]}) == list(range(256, 300))
    assert matching(empty, {"and": [{"a.b.c": {"!=": i}} for i in range(256)]}) == list(range(300))
    # Overflows the stack of SQLite's parser unless little of the nesting is written as parentheses.
    where: dict[str, Any] = {"n": 1}
    for i in range(63):
        where = [{"not": where}, {"or": [{"n": i + 2}, where]}, {"and": [{"n": {"<": 299}}, where]}][i % 3]
    assert matching(empty, where) == [i for i in range(300) if matches(where, {"n": i, "s": str(i)})]
    for first in (False, True):
        where = {"n": 1}
        for i in range(63):
            operands = [{"n": i + 2, "s": str(i + 2)}, where]
            where = {("and", "or")[i % 2]: operands[::-1] if first else operands}
        assert matching(empty, where) == [i for i in range(300) if matches(where, {"n": i, "s": str(i)})]


@st.composite
def deep(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a filter of nested "and" and "or" up to the limits, in any shape."""
    field = draw(st.sampled_from(["n", "a.b"]))
    where: dict[str, Any] = {field: 0}
    pool: list[dict[str, Any]] = [{field: i} for i in range(draw(st.integers(2, 120)))]
    connectives = ["and", "or"]
    while len(pool) > 1:
        width = draw(st.integers(2, 3))
        where = {
            connectives[len(pool) % 2]: [pool.pop(draw(st.integers(0, len(pool) - 1))) for _ in range(width) if pool]
        }
        pool.append(where)
    return where


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deep())
def test_any_shape_compiles(empty: sqlite3.Connection, where: dict[str, Any]) -> None:
    try:
        condition, values = compile_where(where, {})
    except ValueError as error:
        assert "nested" in str(error)  # noqa: PT017
        return
    empty.execute(f"SELECT number FROM documents WHERE live AND {condition}", values).fetchall()  # noqa: S608


def test_filters_cannot_inject_sql(empty: sqlite3.Connection) -> None:
    empty.execute("DELETE FROM documents")
    injection = "x') OR 1=1; DROP TABLE documents; --"
    fill(empty, [{injection: injection}, {"y": injection}])
    assert matching(empty, {injection: injection}) == [0]
    assert matching(empty, {injection: {"contains": "DROP TABLE"}}) == [0]
    assert matching(empty, {"y": {"in": [injection]}}) == [1]


def nested(depth: int) -> dict[str, Any]:
    where: dict[str, Any] = {"n": 1}
    for _ in range(depth - 1):
        where = {"not": where}
    return where


def self_referencing() -> dict[str, Any]:
    where: dict[str, Any] = {}
    where["and"] = [where, where]
    return where


def doubling() -> dict[str, Any]:
    where: dict[str, Any] = {"n": 1}
    for _ in range(50):
        where = {"and": [where, where]}
    return where


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        ([], TypeError, "where: must be a dict such as {'lang': 'en'}, got list"),
        ({}, ValueError, "where: must not be empty"),
        ({"and": []}, ValueError, "where['and']: must not be empty"),
        ({"or": {"lang": "en"}}, TypeError, "where['or']: must be a list of filters, got dict"),
        ({"or": [{"lang": "en"}, {}]}, ValueError, "where['or'][1]: must not be empty"),
        ({"not": [{"lang": "en"}]}, TypeError, "where['not']: must be a dict"),
        ({"and": ["lang"]}, TypeError, "where['and'][0]: must be a dict such as {'lang': 'en'}, got str"),
        ({"year": {}}, ValueError, "where['year']: must not be empty; use an operator"),
        ({"year": {"=": 1}}, ValueError, "where['year']['=']: unknown operator; valid operators: ==, !=, <"),
        ({"year": {1: 1}}, ValueError, "where['year'][1]: unknown operator"),
        ({">=": 2020}, ValueError, "where['>=']: '>=' is reserved in filters"),
        ({1: 2}, TypeError, "where[1]: must be the name of a field, a string, got int"),
        ({"": 2}, ValueError, "where['']: must have 1 to 128 characters, got 0"),
        ({"x" * 1000: 2}, ValueError, "must have 1 to 128 characters, got 1000"),
        ({'a"b': 2}, ValueError, "contains a double quote"),
        ({"a\\b": 2}, ValueError, "contains a double quote, a backslash"),
        ({"a\nb": 2}, ValueError, "where['a\\nb']: contains a double quote"),
        ({"a\ud800b": 2}, ValueError, "a lone surrogate; rename the field"),
        ({"AND": [{"a": 1}]}, TypeError, "where['AND']: must be one value, got a list"),
        ({"a": {"in": "abc"}}, TypeError, "where['a']['in']: must be a list of values, got str"),
        ({"a": {"in": []}}, ValueError, "where['a']['in']: must not be empty"),
        ({"a": {"in": [1, None]}}, TypeError, "where['a']['in'][1]: must be a string, a number or a boolean"),
        ({"a": {"<": None}}, TypeError, "where['a']['<']: must be a string, a number"),
        (
            {"a": {"contains": [1]}},
            TypeError,
            "where['a']['contains']: must be a string, a number or a boolean, got list",
        ),
        ({"a": {">": True}}, TypeError, "where['a']['>']: booleans have no order"),
        ({"a": math.nan}, ValueError, "where['a']: must be finite, got nan"),
        ({"a": {"in": [1, math.inf]}}, ValueError, "where['a']['in'][1]: must be finite, got inf"),
        ({"a": -(10**400)}, ValueError, "where['a']: must be finite, got -inf"),
        ({"a": "b\0"}, ValueError, "where['a']: contains a NUL character"),
        ({"a": "\udc80"}, ValueError, "where['a']: contains a NUL character or a lone surrogate"),
        ({"a": b"b"}, TypeError, "where['a']: must be a string, a number or a boolean, got bytes"),
        (nested(65), ValueError, "where: must be nested at most 64 deep"),
        (nested(100_000), ValueError, "where: must be nested at most 64 deep"),
        (self_referencing(), ValueError, "where: must be nested at most 64 deep"),
        (doubling(), ValueError, "where: must have at most 256 comparisons"),
        ({"or": [{"n": i} for i in range(257)]}, ValueError, "where: must have at most 256 comparisons; use 'in'"),
        (
            {"n": {"in": list(range(10_001))}},
            ValueError,
            "where['n']['in']: a filter must have at most 10,000 values of 'in', got 10,001; give the",
        ),
        (
            {"or": [{"n": {"in": list(range(6000))}}, {"m": {"in": list(range(6000))}}]},
            ValueError,
            "where['or'][1]['m']['in']: a filter must have at most 10,000 values of 'in', got 12,000; give the",
        ),
        # Declared fields.
        ({"year": "2020"}, TypeError, "where['year']: must be int, as 'year' is declared, got str"),
        ({"year": {">": 2020.5}}, TypeError, "where['year']['>']: must be int, as 'year' is declared, got float"),
        ({"year": True}, TypeError, "where['year']: must be int, as 'year' is declared, got bool"),
        ({"year": 2**63}, ValueError, "where['year']: must fit 64 bits"),
        (
            {"not": {"lang": {"in": ["en", 1]}}},
            TypeError,
            "where['not']['lang']['in'][1]: must be str, as 'lang' is declared",
        ),
        (
            {"lang": {"contains": 1}},
            TypeError,
            "where['lang']['contains']: must be str, as 'lang' is declared, got int",
        ),
        ({"done": 1}, TypeError, "where['done']: must be bool, as 'done' is declared, got int"),
        ({"price": False}, TypeError, "where['price']: must be float, as 'price' is declared, got bool"),
    ],
)
def test_invalid_filters_are_rejected(where: Any, error: type[Exception], message: str) -> None:
    filterable = check_filterable({"lang": str, "year": int, "price": float, "done": bool})
    with pytest.raises(error, match=re.escape(message)) as caught:
        compile_where(where, filterable)
    assert "\n" not in str(caught.value)


def test_declared_types_accept_valid_values() -> None:
    filterable = check_filterable({"lang": str, "price": float})
    compile_where({"price": {">": 1, "<": 2.5, "!=": None}, "lang": None}, filterable)
    compile_where(nested(64), filterable)


def test_check_filterable() -> None:
    declared = {"lang": str, "year": int, "price": float, "done": bool}
    assert check_filterable(declared) == {"lang": "str", "year": "int", "price": "float", "done": "bool"}
    assert check_filterable({}) == {}


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (["lang"], TypeError, "filterable: must be a dict such as {'lang': str}, got list"),
        ({"lang": "str"}, TypeError, "filterable['lang']: must be str, int, float or bool, got 'str'"),
        ({"tags": list}, TypeError, "filterable['tags']: must be str, int, float or bool, got <class 'list'>"),
        ({1: str}, TypeError, "filterable[1]: must be the name of a field"),
        ({"": str}, ValueError, "filterable['']: must have 1 to 128"),
        ({"or": str}, ValueError, "filterable['or']: 'or' is reserved in filters"),
        ({"contains": str}, ValueError, "'contains' is reserved in filters"),
        ({'"': str}, ValueError, "contains a double quote"),
        ({f"f{i}": str for i in range(65)}, ValueError, "filterable: must have at most 64 fields, got 65"),
    ],
)
def test_check_filterable_rejects_invalid_declarations(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        check_filterable(value)


FILTERABLE = {"lang": "str", "year": "int", "price": "float", "done": "bool", "meta.n": "int"}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"lang": None, "other": object()},
        {"lang": "en", "year": 1, "price": 1.5, "done": False},
        {"meta": {"n": 1}},
        {"meta.n": 1, "meta": {"n": "of another kind, but not looked at"}},
        {"lang": ["en", "de"], "year": [], "price": [1, 2.5], "done": (True,)},
    ],
)
def test_check_metadata_accepts(metadata: dict[str, Any]) -> None:
    check_metadata(FILTERABLE, metadata, 0)


@pytest.mark.parametrize(
    ("metadata", "error", "message"),
    [
        ({"year": "2020"}, TypeError, "metadata[3]['year']: must be int, as 'year' is declared, got str"),
        ({"year": True}, TypeError, "metadata[3]['year']: must be int, as 'year' is declared, got bool"),
        ({"year": 2.0}, TypeError, "metadata[3]['year']: must be int, as 'year' is declared, got float"),
        ({"year": -(2**63) - 1}, ValueError, "metadata[3]['year']: must fit 64 bits"),
        ({"price": True}, TypeError, "metadata[3]['price']: must be float, as 'price' is declared, got bool"),
        ({"done": 0}, TypeError, "metadata[3]['done']: must be bool, as 'done' is declared, got int"),
        ({"meta": {"n": "1"}}, TypeError, "metadata[3]['meta.n']: must be int, as 'meta.n' is declared, got str"),
        ({"lang": {"en": 1}}, TypeError, "metadata[3]['lang']: must be str, as 'lang' is declared, got dict"),
        ({"lang": ["en", None]}, TypeError, "metadata[3]['lang'][1]: must be str, as 'lang' is declared, got NoneType"),
    ],
)
def test_check_metadata_rejects_invalid_values(metadata: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        check_metadata(FILTERABLE, metadata, 3)


def test_the_values_of_in_are_any_collection() -> None:
    for values in ([2, 3], (2, 3), {2, 3}, frozenset({2, 3}), np.array([2, 3]), np.array([2.0, 3.0])):
        condition, bound = compile_where({"year": {"in": values}}, {})
        assert sorted(json.loads(bound[0])) == [2, 3]
        assert condition == compile_where({"year": {"in": [2, 3]}}, {})[0]
    for values in ("ab", {"a": 1}, np.array(2), iter([2])):
        with pytest.raises(TypeError, match=r"where\['year'\]\['in'\]: must be a list of values"):
            compile_where({"year": {"in": values}}, {})


def test_a_filter_inside_a_field_names_the_path() -> None:
    for where in ({"meta": {"source": "x"}}, {"meta": {"source": {"==": "x"}}}):
        with pytest.raises(ValueError, match=r"unknown operator; .*; for a field inside 'meta' write 'meta.source'$"):
            compile_where(where, {})
    with pytest.raises(ValueError, match=r"\['=>'\]: unknown operator; valid operators: [^;]*$"):
        compile_where({"year": {"=>": 1}}, {})
