"""A filter on a field that no document has warns, wherever filters are accepted."""

from __future__ import annotations

import json
import re
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.serving_cases import serving
from test_cli import Shell

from serotine import Client, Index
from serotine.errors import UnknownFieldWarning
from serotine.index.store import Catalog, FilterField
from serotine.index.store.filter_fields import absent

UNKNOWN = [
    ({"yaer": 5}, "where: no document has the field 'yaer'; check the spelling: did you mean 'year'?"),
    ({"yaer": {"!=": 5}}, "where: no document has the field 'yaer'; check the spelling: did you mean 'year'?"),
    ({"year": 2020, "not": {"or": [{"a.b": 1}, {"meta.c": 1}]}}, "where: no document has the fields 'a.b', 'meta.c';"),
    ({"LANG": "en"}, "where: no document has the field 'LANG'; check the spelling: did you mean 'lang'?"),
    ({"old": 1}, "where: no document has the field 'old'; check the spelling"),
]
KNOWN: list[dict[str, Any]] = [
    {"year": 5},
    {"lang": "fr"},
    {"null": None},
    {"meta.source": "x"},
    {"declared": 5},
    {"it's größe": 2},
]
USES: list[Callable[[Any, dict[str, Any]], object]] = [
    lambda index, where: index.count(where=where),
    lambda index, where: index.ids(where=where),
    lambda index, where: list(index.documents(where=where)),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fields") / "bats.serotine"
    metadata: list[dict[str, Any]] = [
        {"year": 2020, "meta": {"source": "y"}},
        {"lang": "en", "null": None, "it's größe": 1},
        {"old": 1},
    ]
    with Index.create(path, filterable={"declared": int}) as index:
        index.add(["a", "b", "deleted"], ["A bat.", "An owl.", "A fish."], metadata=metadata)
        index.delete(["deleted"])
    return path


@pytest.fixture(scope="module", params=["index", "client"])
def index(request: pytest.FixtureRequest, path: Path) -> Iterator[Index | Client]:
    if request.param == "index":
        with Index.open(path, read_only=True) as index:
            yield index
    else:
        with serving(path) as server, server.client("bats") as client:
            yield client


def warned(use: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use()
    assert {warning.category for warning in caught} <= {UnknownFieldWarning}
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("use", USES)
def test_a_field_that_no_document_has_warns_once(
    index: Index | Client, use: Callable[[Any, dict[str, Any]], object]
) -> None:
    for where, expected in UNKNOWN:
        (message,) = warned(partial(use, index, where))
        assert message.startswith(expected)
        assert message.endswith("?") == ("did you mean" in expected)
    for where in KNOWN:
        assert warned(partial(use, index, where)) == []


def test_hits_have_the_warning(index: Index | Client) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hits = index.search("bat", where={"yaer": 5})
        batch = index.search_batch(["bat", "owl"], where={"yaer": 5}, mode="bm25")
    message = "where: no document has the field 'yaer'; check the spelling: did you mean 'year'?"
    assert hits.warnings == (UnknownFieldWarning(message),)
    assert [found.warnings for found in batch] == [hits.warnings] * 2
    assert [(warning.category, str(warning.message)) for warning in caught] == [(UnknownFieldWarning, message)] * 2


def test_fields_are_looked_up_only_where_hits_do_not_show_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []
    looked_up_absent = Catalog.absent

    def recorded(catalog: Catalog, fields: Sequence[FilterField]) -> list[bool]:
        looked_up.extend(field.name for field in fields)
        return looked_up_absent(catalog, fields)

    monkeypatch.setattr(Catalog, "absent", recorded)
    with Index.open(path, read_only=True) as index:
        for where in ({"year": 2020}, {"meta.source": "y"}, {"lang": "en", "null": None}):
            assert len(index.search("bat", where=where)) == 1
        assert looked_up == []
        for _ in range(2):
            assert index.search("bat", where={"year": 5}).warnings == ()
            with pytest.warns(UnknownFieldWarning):
                assert len(index.search("bat", where={"yaer": {"!=": 5}})) == 2
        # By name and by kind of value; a field that no document has, by name alone.
        assert looked_up == ["year", "year", "yaer"]
        with Index.open(path) as writer:
            writer.update_metadata(["a"], [{"yaer": 6}])
            assert warned(lambda: index.search("bat", where={"yaer": {"!=": 5}})) == []
            assert warned(lambda: index.search("bat", where={"yaer": 5})) == []
            assert looked_up == ["year", "year", "yaer", "yaer", "yaer"]
            writer.update_metadata(["a"], [{"yaer": None}])
        assert len(warned(lambda: index.search("bat", where={"yaer": 5}))) == 1


@pytest.mark.parametrize("use", USES)
def test_values_of_another_kind_than_any_document_has_warn(
    index: Index | Client, use: Callable[[Any, dict[str, Any]], object]
) -> None:
    fix = "compare with values of that type, or declare the field's type when the index is created (filterable)"
    for where, kind, field, sample in (
        ({"year": "2020"}, "text", "year", 2020),
        ({"lang": {">=": 5}}, "a number", "lang", "en"),
        ({"lang": {"in": [1, 2]}}, "a number", "lang", "en"),
        ({"not": {"lang": True}}, "true or false", "lang", "en"),
        ({"meta.source": 5}, "a number", "meta.source", "y"),
    ):
        expected = f"where: no document has {kind} in the field {field!r}, but values such as {sample!r}; {fix}"
        assert warned(partial(use, index, where)) == [expected]
    for where in ({"lang": {"in": [1, "en"]}}, {"lang": {"contains": 1}}, {"year": {"!=": None}}):
        assert warned(partial(use, index, where)) == []


def test_a_null_is_of_no_kind(tmp_path: Path) -> None:
    with Index.create(tmp_path / "bats.serotine") as index:
        index.add(
            ["a", "b", "c"], ["A bat."] * 3, metadata=[{"y": "1901"}, {"y": None}, {"none": None, "group": {"x": 1}}]
        )
        for field, found in (
            ("y", ", but values such as '1901'; compare with"),
            ("none", ": all values there are null or objects"),
            ("group", ": all values there are null or objects"),
        ):
            (message,) = warned(lambda field=field: index.search("bat", where={field: {">": 1900}}))
            assert message.startswith(f"where: no document has a number in the field {field!r}{found}")


def test_a_search_warns_about_values_of_another_kind(index: Index | Client) -> None:
    with pytest.warns(UnknownFieldWarning, match="no document has text in the field 'year'") as caught:
        hits = index.search("bat", where={"year": "2020"})
    assert (len(hits), len(caught), len(hits.warnings)) == (0, 1, 1)


def test_an_empty_index_has_no_unknown_fields(tmp_path: Path) -> None:
    with Index.create(tmp_path / "empty.serotine") as index:
        assert warned(lambda: index.count(where={"yaer": 5})) == []


def test_deleting_warns(tmp_path: Path) -> None:
    with Index.create(tmp_path / "bats.serotine") as index:
        index.add(["a"], ["A bat."], metadata=[{"year": 1}])
    with serving(tmp_path / "bats.serotine") as server, server.client("bats") as client:
        assert len(warned(lambda: client.delete(where={"yaer": 1}))) == 1
        assert len(client) == 1
    with Index.open(tmp_path / "bats.serotine") as index:
        assert len(warned(lambda: index.delete(where={"yaer": 1}))) == 1
        assert len(index) == 1


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"yaer": None}, "where: no document has the field 'yaer', so nothing was deleted; use 'year', or "),
        ({"yaer": {"!=": 3}}, "where: no document has the field 'yaer', so "),
        ({"or": [{"year": 1}, {"yaer": 5}]}, "where: no document has the field 'yaer', so "),
        (
            {"year": {"!=": "1"}},
            "where: no document has text in the field 'year', but values such as 1, so nothing was deleted; "
            "compare with values of that type, or ",
        ),
    ],
)
def test_documents_are_not_deleted_for_lack_of_a_field_that_none_has(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], where: dict[str, Any], message: str
) -> None:
    path = tmp_path / "bats.serotine"
    with Index.create(path) as index:
        index.add(["a", "b"], ["A bat.", "An owl."], metadata=[{"year": 1}, {}])
    end = re.compile(r", or pass the (id of the document that matches|ids of the 2 documents that match) without it\Z")
    with serving(path) as server, server.client("bats") as client:
        with pytest.raises(ValueError, match=end) as refused:
            client.delete(where=where)
        assert str(refused.value).startswith(message)
    shell = Shell(capfd)
    shell("delete", path, "--where", json.dumps(where), status=1)
    assert shell.err.startswith(f"error: --{message}")
    assert end.search(shell.err.rstrip())
    with Index.open(path) as index:
        with pytest.raises(ValueError, match=re.escape(message)):
            index.delete(where=where)
        assert len(index) == 2
        index.update_metadata(["b"], [{"yaer": 5, "year": "2"}])
        assert index.delete(where=where) > 0


def test_the_command_line_warns(capfd: pytest.CaptureFixture[str], path: Path) -> None:
    shell = Shell(capfd)
    for command in (("search", path, "bat"), ("delete", path, "--dry-run")):
        shell(*command, "--where", '{"yaer": 5}')
        assert (
            shell.err
            == "warning: --where: no document has the field 'yaer'; check the spelling: did you mean 'year'?\n"
        )


def test_many_fields_are_looked_up_together() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE documents (metadata TEXT, live INTEGER)")
    fields = [FilterField(f"f{i}", kind) for i in range(128) for kind in ("", "number")]
    assert absent(connection, fields) == [False] * 256
    rows = [(json.dumps({"a": i, **({"f2": "x"} if i == 1500 else {})}), 1) for i in range(2000)]
    connection.executemany("INSERT INTO documents VALUES (?, ?)", [*rows, ('{"f1": 1, "f3": null}', 0)])
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    found = absent(connection, fields)
    # The dead document has no fields, and the text of a live one is no number.
    assert [field for field, is_absent in zip(fields, found, strict=True) if not is_absent] == [FilterField("f2")]
    assert sum("max(" in statement for statement in statements) == 2
    statements.clear()
    assert absent(connection, [FilterField("a")]) == absent(connection, [FilterField("a", "number")]) == [False]
    assert absent(connection, []) == []
    assert sum("max(" in statement for statement in statements) == 2
