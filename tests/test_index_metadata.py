"""Metadata of an index: values that JSON lacks, dates in filters, paths into nested objects, changes and deletion."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from datetime import UTC, date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder

from serotine import Index
from serotine.errors import DuplicateIdError, ReadOnlyError, UnknownIdError
from serotine.index import documents
from serotine.index.store import catalog
from serotine.nesting import MAX_DEPTH

WORDS = {"a": "alpha bat", "b": "beta bat", "c": "gamma fox"}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "x", encoder=WordEncoder(), filterable={"lang": str, "meta.year": int}) as opened:
        opened.add(
            ids=list(WORDS),
            texts=list(WORDS.values()),
            metadata=[
                {"lang": "en", "day": date(2024, 1, 31), "meta": {"source": "x", "year": 2020}},
                {"lang": "fr", "day": date(2024, 2, 1), "meta.source": "x", "meta": {"source": "y", "year": 2021}},
                {"lang": "fr", "n": np.int64(3), "price": float("nan"), "meta": "x"},
            ],
        )
        yield opened


def found(index: Index, where: dict[str, Any]) -> list[str]:
    ids = sorted(hit.id for hit in index.search("bat", where=where))
    assert ids == index.ids(where=where)
    return ids


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"day": date(2024, 1, 31)}, ["a"]),
        ({"day": {">=": date(2024, 1, 31), "<": date(2024, 2, 1)}}, ["a"]),
        ({"day": {">": datetime.date(2024, 1, 31)}}, ["b"]),
        ({"day": {"in": [np.datetime64("2024-02-01"), date(1999, 1, 1)]}}, ["b"]),
        ({"day": {"<": datetime.datetime(2024, 1, 31, tzinfo=UTC)}}, ["a"]),
        ({"n": np.int32(3)}, ["c"]),
        ({"n": {"<=": np.float32(3)}}, ["c"]),
        ({"price": None, "n": {"!=": None}}, ["c"]),
        # A field of that name first, then the path.
        ({"meta.source": "x"}, ["a", "b"]),
        ({"meta.source": "y"}, []),
        ({"meta.source": {"contains": "x"}}, ["a", "b"]),
        ({"meta.source": None}, ["c"]),
        ({"meta.year": {">": 2020}}, ["b"]),
        ({"meta.year": {"in": [2020, 2021]}}, ["a", "b"]),
        ({"not": {"meta.year": 2020}}, ["b", "c"]),
        ({"meta": "x"}, ["c"]),
    ],
)
def test_filters_match_dates_numpy_scalars_and_nested_fields(
    index: Index, where: dict[str, Any], expected: list[str]
) -> None:
    assert found(index, where) == expected


def test_stored_metadata_are_plain(index: Index) -> None:
    assert index["a"].metadata["day"] == "2024-01-31"
    assert index["c"].metadata == {"lang": "fr", "n": 3, "price": None, "meta": "x"}


def test_declared_nested_fields_are_checked(index: Index) -> None:
    with pytest.raises(TypeError, match=r"metadata\[0\]\['meta.year'\]: must be int"):
        index.add(ids=["d"], texts=["x"], metadata=[{"meta": {"year": "2020"}}])


def test_metadata_are_merged_and_nothing_is_encoded(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    before = index.stats()
    monkeypatch.setattr(WordEncoder, "encode_documents", None)
    index.update_metadata(["c", "a"], [{"lang": "de", "n": None, "day": date(2025, 1, 1)}, {"meta": {"new": 1}}])
    assert index["c"].metadata == {"lang": "de", "price": None, "meta": "x", "day": "2025-01-01"}
    assert index["a"].metadata == {"lang": "en", "day": "2024-01-31", "meta": {"new": 1}}
    assert index["b"].metadata["lang"] == "fr"
    assert found(index, {"lang": "de"}) == ["c"]
    assert found(index, {"lang": "fr"}) == ["b"]
    assert found(index, {"meta.source": "x"}) == ["b"]
    assert index.stats().tokens == before.tokens
    assert list(index) == ["a", "b", "c"]
    index.verify()


def test_metadata_are_replaced_on_request(index: Index) -> None:
    index.update_metadata(["a"], [{"lang": "it", "n": None}], replace=True)
    assert index["a"].metadata == {"lang": "it", "n": None}
    assert found(index, {"day": {"!=": None}}) == ["b"]


def test_readers_see_new_metadata_at_once(index: Index) -> None:
    with Index.open(index.path, read_only=True, encoder=WordEncoder()) as reader:
        assert found(reader, {"lang": "en"}) == ["a"]
        index.update_metadata(["a"], [{"lang": "de"}])
        assert found(reader, {"lang": "en"}) == []
        assert found(reader, {"lang": "de"}) == ["a"]
        for mode in ("bm25", "hybrid"):
            assert [hit.metadata["lang"] for hit in reader.search("alpha", mode=mode, where={"lang": "de"})] == ["de"]


def test_metadata_survive_rewriting_and_reopening(index: Index) -> None:
    index.update_metadata(["a"], [{"lang": "de"}])
    index.delete(["b"])
    index.compact()
    index.close()
    with Index.open(index.path, encoder=WordEncoder()) as opened:
        assert found(opened, {"lang": "de"}) == ["a"]
        opened.verify()


@pytest.mark.parametrize(
    ("ids", "metadata", "error", "message"),
    [
        (["a", "no"], [{}, {}], UnknownIdError, "ids: 'no' is not in the index; nothing was changed"),
        (["a", "a"], [{}, {}], DuplicateIdError, r"ids\[1\]: duplicate id 'a'"),
        (["a"], [{}, {}], ValueError, "metadata: must have one value per id, 1, got 2"),
        (["a"], ["x"], TypeError, r"metadata\[0\]: must be a dict, got str"),
        (["a", "b"], [{}, {"lang": 3}], TypeError, r"metadata\[1\]\['lang'\]: must be str"),
        (["a", "b"], [{"x": 1}, {"p": b""}], TypeError, r"metadata\[1\]\['p'\]: must be a string"),
    ],
)
def test_an_invalid_change_changes_nothing(
    index: Index, ids: list[str], metadata: list[Any], error: type[Exception], message: str
) -> None:
    before = [document.metadata for document in index.documents()]
    with pytest.raises(error, match=message):
        index.update_metadata(ids, metadata)
    assert [document.metadata for document in index.documents()] == before
    with Index.open(index.path, read_only=True) as reader, pytest.raises(ReadOnlyError):
        reader.update_metadata(["a"], [{}])


def test_hits_always_pass_the_filter_while_metadata_change(index: Index) -> None:
    stop = threading.Event()

    def toggle() -> None:
        lang = "de"
        while not stop.is_set():
            index.update_metadata(["a"], [{"lang": lang}])
            lang = "en" if lang == "de" else "de"

    thread = threading.Thread(target=toggle)
    thread.start()
    try:
        with Index.open(index.path, read_only=True, encoder=WordEncoder()) as reader:
            for _ in range(200):
                for hit in reader.search("alpha", where={"lang": "de"}):
                    assert hit.metadata["lang"] == "de"
    finally:
        stop.set()
        thread.join()


def test_a_hit_whose_metadata_changed_in_between_is_searched_again(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = catalog.Catalog.rows

    def late(self: catalog.Catalog, numbers: Any, where: Any = None) -> Any:
        monkeypatch.undo()
        index.update_metadata(["a"], [{"lang": "de"}])
        return rows(self, numbers, where)

    with Index.open(index.path, read_only=True, encoder=WordEncoder()) as reader:
        monkeypatch.setattr(catalog.Catalog, "rows", late)
        assert list(reader.search("alpha", where={"lang": "en"})) == []


def test_documents_are_deleted_by_a_filter(index: Index) -> None:
    assert index.delete(where={"lang": "fr", "meta.source": "x"}) == 1
    assert list(index) == ["a", "c"]
    assert index.delete(where={"lang": "nowhere"}) == 0
    assert index.delete(where={"or": [{"lang": "en"}, {"n": 3}]}) == 2
    assert len(index) == 0
    assert list(index.search("bat", mode="hybrid")) == []
    index.verify()


def test_deletion_returns_how_many(index: Index) -> None:
    assert index.delete(["a", "b", "a"]) == 2
    assert index.delete([]) == 0


@pytest.mark.parametrize("arguments", [{}, {"ids": ["a"], "where": {"lang": "en"}}, {"ids": [], "where": {"n": 1}}])
def test_deletion_takes_ids_or_a_filter(index: Index, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ids, where: exactly one of the two is needed"):
        index.delete(**arguments)
    assert len(index) == 3


def test_an_invalid_filter_deletes_nothing(index: Index) -> None:
    for where in ({}, {"lang": {}}, {"day": float("nan")}):
        with pytest.raises(ValueError, match="where"):
            index.delete(where=where)
    with pytest.raises(TypeError, match="where: must be a dict"):
        index.delete(where=[])  # type: ignore[arg-type]
    with Index.open(index.path, read_only=True) as reader, pytest.raises(ReadOnlyError):
        reader.delete(where={"lang": "en"})
    assert len(index) == 3


def test_the_id_of_a_split_document_means_its_passages(tmp_path: Path) -> None:
    text = "The serotine is a large bat that leaves its roost late. " * 120
    with Index.create(tmp_path / "split") as index:
        index.add(ids=["long", "short"], texts=[text, "A bat."], metadata=[{"n": 1}, {}], long_texts="split")
        passages = index.ids(where={"document": "long"})
        assert len(passages) > 1
        before = [index[id_].metadata for id_ in passages]
        index.update_metadata(["long", "short"], [{"n": 2}, {"n": 3}])
        assert [index[id_].metadata for id_ in passages] == [{**fields, "n": 2} for fields in before]
        assert index["short"].metadata == {"n": 3}
        index.update_metadata(["long"], [{"lang": "en"}], replace=True)
        changed = [{key: fields[key] for key in ("document", "start", "end")} | {"lang": "en"} for fields in before]
        assert [index[id_].metadata for id_ in passages] == changed
        for fields in ({"start": 7}, {"document": "other"}, {"end": None}):
            name = next(iter(fields))
            for replace in (False, True):
                message = (
                    rf"^metadata\[1\]\['{name}'\]: says which part of its document the passage 'long#1' is, and cannot"
                )
                with pytest.raises(ValueError, match=message):
                    index.update_metadata(["short", "long"], [{}, fields], replace=replace)
        # What hits have may be given back.
        index.update_metadata([passages[0]], [index[passages[0]].metadata], replace=True)
        assert [index[id_].metadata for id_ in passages] == changed
        assert index.delete(["long"]) == len(passages)
        assert list(index) == ["short"]
        index.verify()


def test_a_busy_writer_of_metadata_does_not_block_searches(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = catalog.Catalog.rows

    def late(self: catalog.Catalog, numbers: Any, where: Any = None) -> Any:
        if where is None:
            return rows(self, numbers)
        index.update_metadata(["a"], [{"lang": "de"}])
        answer = rows(self, numbers, where)
        index.update_metadata(["a"], [{"lang": "en"}])
        return answer

    index.update_metadata(["a"], [{"lang": "en"}])
    expected = [hit.id for hit in index.search("alpha", where={"lang": "en"}) if hit.id != "a"]
    monkeypatch.setattr(catalog.Catalog, "rows", late)
    assert [hit.id for hit in index.search("alpha", where={"lang": "en"})] == expected


@pytest.mark.parametrize("kind", [dict, list])
def test_metadata_at_the_limit_of_nesting_can_be_filtered_and_deeper_ones_are_refused(
    tmp_path: Path, kind: type
) -> None:
    def nested(levels: int) -> dict[str, Any]:
        value: Any = 1
        for _ in range(levels):
            value = {"deep": value} if kind is dict else [value]
        return {"n": value}

    with Index.create(tmp_path / "x", dim=2, filterable={"year": int}) as index:
        index.add(ids=["a"], vectors=[np.eye(2)], metadata=[{**nested(MAX_DEPTH - 1), "year": 1}])
        index.update_metadata(["a"], [nested(MAX_DEPTH - 1)])
        for change in (
            lambda: index.add(ids=["b"], vectors=[np.eye(2)], metadata=[nested(MAX_DEPTH + 1)]),
            lambda: index.update_metadata(["a"], [nested(MAX_DEPTH + 1)]),
        ):
            with pytest.raises(ValueError, match=f"nested more than {MAX_DEPTH} levels deep"):
                change()
        index.add(ids=["c"], vectors=[np.eye(2)], metadata=[{"year": 2}])
        assert index.ids(where={"year": 2}) == ["c"]
        assert index.ids(where={"not": {"year": 2}}) == ["a"]
        assert index.verify().documents == 2


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": "x" * 1_048_576},
        {f"field {i}": i for i in range(100_000)},
        {"a": [list(range(1000))] * 1100},
        {"a": [10**4200] * 300},
        {"a": [0.1234567890123456] * 60_000},
        {"a": [{}] * 1_100_000},
        {"a": [[]] * 1_100_000},
    ],
)
def test_metadata_have_a_limit(index: Index, metadata: dict[str, Any]) -> None:
    message = r"metadata\[0\]: must have at most 1,048,576 characters, got "
    with pytest.raises(ValueError, match=message):
        index.add(["d"], ["bat"], metadata=[metadata])
    with pytest.raises(ValueError, match=message):
        index.update_metadata(["a"], [metadata])
    with pytest.raises(ValueError, match=message):
        index.update_metadata(["a"], [metadata], replace=True)
    assert len(index) == len(WORDS)


def test_merged_metadata_have_the_same_limit(index: Index) -> None:
    index.update_metadata(["a"], [{"x": "x" * 1_000_000}])
    message = r"metadata\[0\]: with the fields that 'a' has, must have at most 1,048,576"
    with pytest.raises(ValueError, match=message) as raised:
        index.update_metadata(["a"], [{"y": "y" * 100_000}])
    assert str(raised.value).endswith("the longest field is 'x': shorten it, or remove it with None")
    index.update_metadata(["a"], [{"y": "y" * 100_000}], replace=True)
    assert index["a"].metadata == {"y": "y" * 100_000}


def test_metadata_beyond_the_limit_from_before_can_be_changed_where_they_do_not_grow(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without_limit:
        without_limit.setattr(documents, "metadata_problem", lambda _: "")
        index.add(["old"], ["bat"], metadata=[{"lang": "en", "long": "x" * 2_000_000}])
    index.update_metadata(["old"], [{"lang": "fr"}])
    index.update_metadata(["old"], [{"long": "x" * 1_900_000}])
    with pytest.raises(ValueError, match="the longest field is 'long': shorten it, or remove it with None"):
        index.update_metadata(["old"], [{"note": "a bat"}])
    index.update_metadata(["old"], [{"note": "a bat", "long": None}])
    assert index["old"].metadata == {"lang": "fr", "note": "a bat"}
