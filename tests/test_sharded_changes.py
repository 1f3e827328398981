"""Changes of a collection in shards: after the same operations, it is what one index is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from helpers.fakes import ShortEncoder, WordEncoder
from helpers.local_shards import LocalShards, LocalWriters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serotine.distributed import owner
from serotine.errors import DuplicateIdError, SerotineWarning
from serotine.index import Hits, Index, SearchOptions, ShardedChanges, ShardedSearch

WORDS = ["bat", "moth", "night", "wing", "cave", "echo", "the", "roost", "quq", "qux"]
TEXT = st.lists(st.sampled_from(WORDS), min_size=0, max_size=9).map(" ".join)
# Two have shard 0 of three, two have shard 1, ...: see `owner`.
ID = st.sampled_from([f"d{i}" for i in range(12)])
METADATA = st.dictionaries(st.sampled_from(["year", "color", "document"]), st.integers(0, 3), max_size=2)
FILTER = st.dictionaries(st.sampled_from(["year", "color", "yaer"]), st.none() | st.integers(0, 3), max_size=2)
ROWS = st.lists(st.tuples(ID, TEXT, METADATA), max_size=6)
LONG = st.sampled_from(["warn", "split", "truncate", "error"])

Operation = Callable[[Any], Any]


def add(rows: list[tuple[str, str, dict[str, Any]]], upsert: bool, long_texts: Any) -> Operation:
    ids, texts, metadata = [list(column) for column in zip(*rows, strict=True)] if rows else ([], [], [])
    return lambda index: index.add(ids, texts, None, metadata, upsert=upsert, long_texts=long_texts)


def add_batches(rows: list[tuple[str, str, dict[str, Any]]]) -> Operation:
    batches = [{"ids": [row[0]], "texts": [row[1]], "metadata": [row[2]]} for row in rows]
    return lambda index: index.add_batches(batches, upsert=False, long_texts="split")


OPERATION = st.one_of(
    st.builds(add, ROWS, st.booleans(), LONG),
    st.builds(add_batches, ROWS),
    st.lists(ID, max_size=4).map(lambda ids: lambda index: index.delete(ids, where=None)),
    FILTER.map(lambda where: lambda index: index.delete(None, where=where)),
    st.builds(
        lambda ids, fields, replace: lambda index: index.update_metadata(ids, [fields] * len(ids), replace=replace),
        st.lists(ID, max_size=3), METADATA, st.booleans(),
    ),
)  # fmt: skip


class Both:
    """One index, and shards."""

    def __init__(self, folder: Path, count: int, encoder: Any) -> None:
        self.stack = ExitStack()
        self.one = self._create(folder / "one", encoder)
        self.indexes = [self._create(folder / f"shard{shard}", encoder) for shard in range(count)]
        self.sharded = ShardedSearch(LocalShards(self.indexes), self.one._store.settings, encoder)
        self.changes = ShardedChanges(
            LocalWriters(self.indexes),
            self.one._store.settings,
            self.sharded.filter_checks,
            lambda id_: owner(id_, count),
        )

    def _create(self, path: Path, encoder: Any) -> Index:
        return self.stack.enter_context(Index.create(path, encoder=encoder, filterable={"year": int}))

    def search(self, query: Any, **options: Any) -> tuple[Hits, Hits]:
        sharded = self.sharded.search([query], SearchOptions(**options), self.one)[0]
        return self.one.search(query, **options), sharded


def outcome(operation: Operation, index: Any) -> tuple[Any, str, list[tuple[str, str]]]:
    """Return what an operation returns, raises and warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result, raised = operation(index), ""
        except (ValueError, TypeError, KeyError) as error:
            result, raised = None, f"{type(error).__name__}: {error}"
    kinds = {(type(w.message).__name__, str(w.message)) for w in caught if isinstance(w.message, SerotineWarning)}
    return result, raised, sorted(kinds)


def facts(hits: Hits) -> list[tuple[Any, ...]]:
    return sorted((hit.id, hit.score, hit.text, sorted(hit.metadata.items())) for hit in hits)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations=st.lists(OPERATION, min_size=1, max_size=8), count=st.integers(1, 4))
def test_shards_are_what_one_index_is_after_the_same_operations(operations: list[Operation], count: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # Nothing here is about power cuts.
        patch.setattr("os.fsync", lambda _: None)
        both = Both(Path(folder), count, ShortEncoder())
        with both.stack:
            for operation in operations:
                expected, got = outcome(operation, both.one), outcome(operation, both.changes)
                assert got[0] == expected[0]
                # Of what several shards refuse, each counts its own.
                assert got[1].split(" (and ")[0] == expected[1].split(" (and ")[0]
                assert {kind for kind, _ in got[2]} == {kind for kind, _ in expected[2]}
                for shard, index in enumerate(both.indexes):
                    assert {owner(id_, count) for id_ in index} <= {shard}
                documents = [hit for index in both.indexes for hit in index.documents()]
                assert {hit.id: (hit.text, hit.metadata) for hit in documents} == {
                    hit.id: (hit.text, hit.metadata) for hit in both.one.documents()
                }
            for mode in ("late", "bm25", "hybrid"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SerotineWarning)
                    one, sharded = both.search("bat cave", k=50, mode=mode, exact=mode == "late")
                # Reciprocal ranks depend on the order of ties, which is that of shards.
                assert facts(sharded) == facts(one) if mode != "hybrid" else {*ids(sharded)} == {*ids(one)}


def ids(hits: Hits) -> list[str]:
    return [hit.id for hit in hits]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    both = Both(tmp_path, 3, WordEncoder())
    with both.stack:
        yield both


def contents(both: Both) -> list[list[tuple[str, str | None, Any]]]:
    return [[(hit.id, hit.text, hit.metadata) for hit in index.documents()] for index in both.indexes]


IDS = [f"d{i}" for i in range(12)]


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.add([*IDS[6:], "d0"], ["x"] * 7, None, None, upsert=False, long_texts="warn"),
        lambda index: index.add(["n0", "n1", "n1"], ["x"] * 3, None, None, upsert=True, long_texts="warn"),
        lambda index: index.add(["n0", "n1"], ["x", 5], None, None, upsert=True, long_texts="warn"),
        lambda index: index.add(["n0", "n1"], ["x"] * 2, None, [{}, {"year": "x"}], upsert=True, long_texts="warn"),
        lambda index: index.add(["n0", "n1"], None, [np.eye(3)] * 2, None, upsert=True, long_texts="warn"),
        lambda index: index.add(["n0"], ["x"], None, None, upsert="no", long_texts="warn"),
        lambda index: index.add(["n0"], ["x"], None, None, upsert=True, long_texts="cut"),
        lambda index: index.add(["n0"], "x", None, None, upsert=True, long_texts="warn"),
        lambda index: index.delete([*IDS, "missing", "too"], where=None),
        lambda index: index.delete(None, where={"year": {">>": 3}}),
        lambda index: index.delete(None, where={"yaer": None}),
        lambda index: index.delete(None, where=None),
        lambda index: index.update_metadata([*IDS[:6], "missing"], [{}] * 7, replace=False),
        lambda index: index.update_metadata(IDS[:3], [{}, {}, {"year": "x"}], replace=False),
        lambda index: index.update_metadata(IDS[:3], [{}], replace=False),
        lambda index: index.update_metadata([*IDS[:5], "long#1"], [{}] * 5 + [{"start": 7}], replace=False),
        lambda index: index.add_batches([{"ids": ["n0"], "text": ["x"]}], upsert=False, long_texts="warn"),
    ],
)
def test_what_is_wrong_is_said_as_of_one_index_and_nothing_changes(both: Both, change: Operation) -> None:
    passages = {"document": "long", "start": 0, "end": 3}
    for index in (both.one, both.changes):
        index.add(  # type: ignore[attr-defined]
            [*IDS[:6], "long#1"], ["bat"] * 7, None, [{"year": 1}] * 6 + [passages], upsert=False, long_texts="warn"
        )
    before = contents(both)
    expected, got = outcome(change, both.one), outcome(change, both.changes)
    assert expected[1]
    assert got[:2] == expected[:2]
    assert contents(both) == before


def test_a_passage_that_would_take_the_place_of_a_document_is_refused_in_all_shards(tmp_path: Path) -> None:
    both = Both(tmp_path, 3, ShortEncoder())
    with both.stack:
        both.changes.add(["long#1"], ["bat"], None, None, upsert=False, long_texts="warn")
        text = " ".join(WORDS[:8] * 9)
        with pytest.raises(DuplicateIdError, match="'long#1' is a document of its own"):
            both.changes.add([*IDS, "long"], ["bat"] * 12 + [text], None, None, upsert=True, long_texts="split")
        assert [len(index) for index in both.indexes if "long#1" not in index] == [0, 0]


def test_warnings_about_texts_count_those_of_all_shards(tmp_path: Path) -> None:
    both = Both(tmp_path, 3, ShortEncoder())
    with both.stack:
        rows = [(id_, "bat " * 40 if i % 2 else "quq qux", {}) for i, id_ in enumerate(IDS)]
        rows.append(("empty", " ", {}))
        expected = outcome(add(rows, False, "warn"), both.one)
        got = outcome(add(rows, False, "warn"), both.changes)
        assert len(expected[2]) == 3
        for (kind, message), (expected_kind, expected_message) in zip(got[2], expected[2], strict=True):
            assert kind == expected_kind
            assert message.split(", the first is")[0] == expected_message.split(", the first is")[0]
