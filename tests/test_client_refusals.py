"""A client refuses what an index refuses, with the same exception and the same words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.serving_cases import TEXTS, serving

from serotine import Client, Index

DIM = 128
NAN = np.full((1, DIM), np.nan, dtype=np.float32)
HUGE = np.full((1, DIM), 7e4, dtype=np.float32)

CALLS: dict[str, Callable[[Any], object]] = {
    "ids of another type": lambda index: index.add([1], ["a"]),
    "one string as ids": lambda index: index.add("abc", ["a"]),
    "one string as texts": lambda index: index.add(["a"], "a"),
    "no text": lambda index: index.add(["a"], [None]),
    "too few texts": lambda index: index.add(["a", "b"], ["a"]),
    "too few vectors": lambda index: index.add(["a", "b"], vectors=[np.eye(DIM)]),
    "an id twice": lambda index: index.add(["a", "a"], ["a", "b"]),
    "an id that is there": lambda index: index.add(["d1"], ["a"]),
    "an empty id": lambda index: index.add([""], ["a"]),
    "neither": lambda index: index.add(["v"]),
    "an unknown choice": lambda index: index.add(["v"], ["a"], long_texts="cut"),
    "None as metadata": lambda index: index.add(["m"], ["a"], metadata=[None]),
    "a string as metadata": lambda index: index.add(["m"], ["a"], metadata="x"),
    "one dict as metadata": lambda index: index.add(["m"], ["a"], metadata={"lang": "en"}),
    "one dict as changed metadata": lambda index: index.update_metadata(["d1"], {"lang": "en"}),
    "no changed metadata": lambda index: index.update_metadata(["d1"], None),
    "texts by id": lambda index: index.add(["m"], {"m": "a"}),
    "a number as texts": lambda index: index.add(["m"], 5),
    "ids of a dict": lambda index: index.delete({"d1": "a"}),
    "queries by id": lambda index: index.search_batch({"q1": "a"}),
    "a set in metadata": lambda index: index.add(["m"], ["a"], metadata=[{"x": {1}}]),
    "a key that is no string": lambda index: index.add(["m"], ["a"], metadata=[{1: 5}]),
    "another type than declared": lambda index: index.add(["m"], ["a"], metadata=[{"lang": 5}]),
    "vectors of another dimension": lambda index: index.add(["v"], vectors=[np.eye(3)]),
    "integers as vectors": lambda index: index.add(["v"], vectors=[np.eye(DIM, dtype=int)]),
    "vectors that are not finite": lambda index: index.add(["v"], vectors=[NAN]),
    "vectors beyond float16": lambda index: index.add(["v"], vectors=[HUGE]),
    "no query": lambda index: index.search(None),
    "an empty query": lambda index: index.search(" "),
    "lists as a query": lambda index: index.search([[1.0]]),
    "a query of another dimension": lambda index: index.search(np.eye(3)),
    "a query that is not finite": lambda index: index.search(NAN),
    "a query beyond float16": lambda index: index.search(HUGE),
    "no query in a batch": lambda index: index.search_batch([None]),
    "an empty query in a batch": lambda index: index.search_batch(["a", " "]),
    "one string as a batch": lambda index: index.search_batch("abc"),
    "k of 0": lambda index: index.search("a", k=0),
    "a lowest score that no hit can have": lambda index: index.search("a", min_score=7),
    "an unknown mode": lambda index: index.search("a", mode="x"),
    "vectors with BM25": lambda index: index.search(np.eye(DIM), mode="bm25"),
    "an exact search by words": lambda index: index.search("a", mode="bm25", exact=True),
    "a string as a filter": lambda index: index.search("a", where="x"),
    "an empty filter": lambda index: index.search("a", where={}),
    "an unknown operator": lambda index: index.search("a", where={"y": {"=>": 1}}),
    "a nested field": lambda index: index.search("a", where={"meta": {"source": 1}}),
    "a list as a value": lambda index: index.search("a", where={"y": [1]}),
    "an object as a value": lambda index: index.search("a", where={"y": object()}),
    "a value for in": lambda index: index.search("a", where={"y": {"in": 5}}),
    "a value of another type than declared": lambda index: index.search("a", where={"lang": 5}),
    "NaN in a filter": lambda index: index.count(where={"n": float("nan")}),
    "a field that is no string": lambda index: index.count(where={1: 2}),
    "an unknown id": lambda index: index.get("zz"),
    "None as ids": lambda index: index.get(None),
    "an unknown choice of missing": lambda index: index.get("d1", missing="x"),
    "an id of another type": lambda index: index[5],
    "an unknown id to delete": lambda index: index.delete(["zz"]),
    "nothing to delete": lambda index: index.delete(),
    "ids and a filter to delete": lambda index: index.delete(["d1"], where={"n": 1}),
    "an empty filter to delete": lambda index: index.delete(where={}),
    "an unknown id to update": lambda index: index.update_metadata(["zz"], [{}]),
    "too few metadata": lambda index: index.update_metadata(["d1"], []),
    "an id twice to update": lambda index: index.update_metadata(["d1", "d1"], [{}, {}]),
    "None as new metadata": lambda index: index.update_metadata(["d1"], [None]),
    "vectors of an unknown id": lambda index: index.vectors("zz"),
    "vectors of no id": lambda index: index.vectors(5),
    "an explanation of an unknown id": lambda index: index.explain("a", "zz"),
    "an explanation of no query": lambda index: index.explain(5, "d1"),
    "an explanation of no id": lambda index: index.explain("a", 5),
    "batches without ids": lambda index: index.add_batches([{"texts": ["a"]}]),
    "batches that are lists": lambda index: index.add_batches([["a"]]),
    "batches with an unknown key": lambda index: index.add_batches([{"ids": ["q"], "txts": ["a"]}]),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Index, Client]]:
    folder = tmp_path_factory.mktemp("errors")
    for name in ("local", "served"):
        create(folder / name)
    with (
        Index.open(folder / "local") as index,
        serving(folder / "served") as server,
        server.client("served") as client,
    ):
        yield index, client


def create(path: Path) -> None:
    with Index.create(path, filterable={"lang": str}) as index:
        index.add(list(TEXTS), list(TEXTS.values()), metadata=[{"lang": "en", "n": i} for i in range(len(TEXTS))])


@pytest.mark.parametrize("case", CALLS)
def test_errors_have_the_words_of_the_index(both: tuple[Index, Client], case: str) -> None:
    index, client = both
    raised = []
    for target in both:
        with pytest.raises((TypeError, ValueError, KeyError)) as caught:
            CALLS[case](target)
        raised.append((type(caught.value), str(caught.value)))
    assert raised[0] == raised[1]
    # One line, which names the argument.
    assert "\n" not in raised[0][1]
    assert raised[0][1].partition(":")[0].split("[")[0].split(",")[0].isidentifier()
    assert len(index) == len(client) == len(TEXTS)
