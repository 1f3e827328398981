"""Concurrent readers and a writer: no errors, and only correct results."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder

from serotine import Index
from serotine.errors import IndexDamagedError, SerotineError
from serotine.index import VerifyReport
from serotine.index.verify import verify_index

# Set SEROTINE_LIVE_SECONDS=60 for a longer run.
SECONDS = float(os.environ.get("SEROTINE_LIVE_SECONDS", "5"))

COMMON = """
import random, sys, time
sys.path.insert(0, {tests!r})
import numpy as np
from serotine import Index, maxsim
from helpers.small_engine import shrink

shrink()
path, seed, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
end = time.monotonic() + seconds
DIM = 16

def vectors(number, version):
    rng = np.random.default_rng([number, version])
    values = rng.standard_normal((1 + number % 5, DIM)).astype(np.float32)
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float16)
"""

WRITER = (
    COMMON
    + """
random.seed(seed)
versions = {{number: 0 for number in range(10)}}
done = 0
with Index.open(path) as index:
    while time.monotonic() < end:
        choice = random.random()
        # Numbers below 10 are never deleted or replaced: readers always expect them.
        if choice < 0.6:
            numbers = random.sample(range(10, 300), 5)
            for number in numbers:
                versions[number] = versions.get(number, 0) + 1
            metadata = [{{"number": n, "version": versions[n]}} for n in numbers]
            index.add(ids=[str(n) for n in numbers], vectors=[vectors(n, versions[n]) for n in numbers],
                      metadata=metadata, texts=[f"word{{n}} common" for n in numbers], upsert=True)
        elif choice < 0.95:
            deletable = [int(id_) for id_ in index.ids() if int(id_) >= 10]
            index.delete([str(n) for n in random.sample(deletable, min(3, len(deletable)))])
        else:
            index.compact()
        done += 1
    index.verify()
print(done)
"""
)

READER = (
    COMMON
    + """
rng = np.random.default_rng(seed)
done = 0
with Index.open(path, read_only=True) as index:
    while time.monotonic() < end:
        anchor = int(rng.integers(10))
        query = vectors(anchor, 0).astype(np.float32)
        exact = bool(rng.random() < 0.5)
        hits = index.search(query, k=8, exact=exact)
        assert len(hits) == 8
        assert len({{hit.id for hit in hits}}) == 8
        assert hits[0].id == str(anchor), hits
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        for hit in hits:
            truth = maxsim.score(query, [vectors(hit.metadata["number"], hit.metadata["version"])])[0]
            assert hit.score == truth, (hit, truth)
        filtered = index.search(query, k=50, where={{"number": {{"<": 10}}}})
        assert sorted(int(hit.id) for hit in filtered) == list(range(10))
        (match,) = index.search(f"word{{anchor}}", k=1, mode="bm25")
        assert match.id == str(anchor)
        if rng.random() < 0.02:
            index.verify()
        done += 1
print(done)
"""
)


def racing(index: Index, name: str, monkeypatch: pytest.MonkeyPatch, *, rounds: int = 1) -> None:
    """Replace document "a" just before each of the first `rounds` calls of the catalog's method `name`."""
    read = getattr(index._store.catalog, name)
    remaining = iter(range(rounds))

    def overtaken(*arguments: Any) -> Any:
        if next(remaining, None) is not None:
            index.add(["a"], ["bat owl"], metadata=[{"lang": "en"}], upsert=True)
        return read(*arguments)

    monkeypatch.setattr(index._store.catalog, name, overtaken)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        index.add(["a", "b"], ["bat owl", "bat"], metadata=[{"lang": "en"}] * 2)
        yield index


@pytest.mark.parametrize("exact", [True, False])
def test_a_filter_sees_the_same_state_as_the_search(
    two: Index, monkeypatch: pytest.MonkeyPatch, *, exact: bool
) -> None:
    racing(two, "matching", monkeypatch)
    assert [hit.id for hit in two.search("bat owl", where={"lang": "en"}, exact=exact)] == ["a", "b"]


def test_both_rankings_of_a_hybrid_search_see_one_state(two: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    racing(two, "lexical", monkeypatch)
    assert [hit.id for hit in two.search("bat owl", mode="hybrid")] == ["a", "b"]


def test_a_busy_writer_does_not_block_searches(two: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    racing(two, "matching", monkeypatch, rounds=1000)
    assert "b" in {hit.id for hit in two.search("bat owl", where={"lang": "en"})}
    with pytest.raises(SerotineError, match="rewritten faster than it can be read") as caught:
        two.search("bat owl", where={"lang": "en"}, exact=True)
    assert not isinstance(caught.value, IndexDamagedError)


def test_verify_reports_no_damage_while_another_thread_adds(two: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def overtaken(*arguments: Any) -> VerifyReport:
        calls.append(arguments)
        if len(calls) == 1:
            two.add(["c"], ["fox"])
        return verify_index(*arguments)

    monkeypatch.setattr("serotine.index.upkeep.verify_index", overtaken)
    assert two.verify().documents == 3
    assert len(calls) == 2


def test_two_readers_and_a_writer(tmp_path: Path) -> None:
    tests = str(Path(__file__).parent)
    path = tmp_path / "x"
    setup = COMMON.format(tests=tests) + (
        "with Index.create(path, dim=DIM, filterable={'number': int}) as index:\n"
        "    index.add(ids=[str(n) for n in range(10)], vectors=[vectors(n, 0) for n in range(10)],\n"
        "              texts=[f'word{n} common' for n in range(10)],\n"
        "              metadata=[{'number': n, 'version': 0} for n in range(10)])\n"
    )
    subprocess.run([sys.executable, "-c", setup, str(path), "0", "0"], check=True)
    programs = [WRITER, READER, READER]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program.format(tests=tests), str(path), str(seed), str(SECONDS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, program in enumerate(programs)
    ]
    for child in children:
        output, errors = child.communicate(timeout=SECONDS + 60)
        assert child.returncode == 0, errors
        # Each has run often enough to have overlapped with the others.
        assert int(output) > SECONDS
