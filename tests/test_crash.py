"""kill -9 at every durable operation: the index is afterwards in the state before the change, or after it."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.fakes import DenseEncoder, WordEncoder
from helpers.small_engine import THRESHOLDS

from serotine import Index
from serotine.errors import NotAnIndexError

BEFORE = {"a": "alpha bat", "b": "beta owl", "c": "gamma fox"}

# One process loads everything, and forks for every kill: the child dies by SIGKILL just before, or just after, its N-th
# durable operation.
FORKS = """
import json, os, signal, sys
sys.path.insert(0, {tests!r})
from helpers.fakes import DenseEncoder, WordEncoder
from serotine import Index
from serotine.index.store import sql
from serotine.index.files import durable
from helpers.small_engine import shrink

def deadly(function):
    def wrapped(*arguments):
        global remaining
        remaining -= 1
        if remaining == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments)
        if remaining == 0 and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return wrapped

def run(change):
    for module, names in ((durable, ("write", "sync", "rename", "sync_folder", "remove")), (sql, ("commit",))):
        for name in names:
            setattr(module, name, deadly(getattr(module, name)))
    exec(change)

for line in sys.stdin:
    change, remaining, after, small = json.loads(line)
    child = os.fork()
    if child == 0:
        # Not the parent's loop, whatever is raised.
        status = 1
        try:
            if small:
                shrink()
            run(change)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """The process that forks."""

    def __init__(self, errors: Path) -> None:
        self._errors = errors
        program = FORKS.format(tests=str(Path(__file__).parent))
        with errors.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
            )

    def run(self, change: str, count: int, when: str, *, small: bool = False) -> bool:
        """Run a change, killed at its `count`-th operation; return whether it finished instead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([change, count, when == "after", small]), file=self._process.stdin, flush=True)
        status = self._process.stdout.readline().strip()
        assert status in ("0", str(-signal.SIGKILL)), f"status {status!r}: {self._errors.read_text()}"
        return status == "0"

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    process = Forks(tmp_path_factory.mktemp("forks") / "errors")
    yield process
    process.close()


CHANGES = {
    "add": (
        "with Index.open({path!r}, encoder=WordEncoder()) as index:\n"
        "    index.add(ids=['d', 'e'], texts=['delta', 'epsilon bat'])",
        {**BEFORE, "d": "delta", "e": "epsilon bat"},
    ),
    "upsert": (
        "with Index.open({path!r}, encoder=WordEncoder()) as index:\n"
        "    index.add(ids=['b', 'd'], texts=['beta changed', 'delta'], upsert=True)",
        {**BEFORE, "b": "beta changed", "d": "delta"},
    ),
    "update metadata": (
        "with Index.open({path!r}, encoder=WordEncoder()) as index:\n"
        "    index.update_metadata(['a', 'c'], [dict(version=2), dict(version=3)])",
        {**BEFORE, "a": "alpha bat2", "c": "gamma fox3"},
    ),
    "delete where": (
        "with Index.open({path!r}, encoder=WordEncoder()) as index:\n"
        "    index.delete(where=dict(kind={{'!=': 'none'}}))",
        {},
    ),
    "upsert pooled": (
        "with Index.open({path!r}, encoder=DenseEncoder()) as index:\n"
        "    index.add(ids=['b', 'd'], texts=['beta changed', 'delta'], upsert=True)",
        {**BEFORE, "b": "beta changed", "d": "delta"},
    ),
    "delete": (
        "with Index.open({path!r}, encoder=WordEncoder()) as index:\n    index.delete(['a', 'c'])",
        {"b": "beta owl"},
    ),
}


def encoder_of(name: str) -> WordEncoder:
    return DenseEncoder() if "pooled" in name else WordEncoder()


def create(path: Path, name: str = "") -> None:
    with Index.create(path, encoder=encoder_of(name), pooled="pooled" in name) as index:
        index.add(ids=["a", "b"], texts=[BEFORE["a"], BEFORE["b"]], metadata=[{"kind": "bat"}, {"kind": "owl"}])
        index.add(ids=["c"], texts=[BEFORE["c"]], metadata=[{"kind": "fox"}])


def content(path: Path, name: str = "") -> dict[str, str]:
    encoder = encoder_of(name)
    with Index.open(path, read_only=True, encoder=encoder) as index:
        index.verify()
        if isinstance(encoder, DenseEncoder):
            vectors_are_stored(index, encoder)
        ids = index.ids()
        assert {hit.id for hit in index.search("bat", k=len(ids) + 1)} == set(ids)
        # With what `update metadata` sets.
        return {hit.id: f"{hit.text}{hit.metadata.get('version', '')}" for hit in index.get(ids)}


def vectors_are_stored(index: Index, encoder: DenseEncoder) -> None:
    """Check that every document is at its own vector: their similarity is 1."""
    for hit in index.get(index.ids()):
        best = index.search(hit.text or "", k=1, mode="pooled", weights=(0, 1))[0]
        assert best.id == hit.id


@pytest.mark.parametrize("name", CHANGES)
def test_killed_at_every_operation(tmp_path: Path, name: str, forks: Forks) -> None:
    template, after = CHANGES[name]
    committed: list[bool] = []
    for count in range(1, 100):
        finished = False
        for when in ("before", "after"):
            path = tmp_path / f"{name}-{count}-{when}"
            create(path, name)
            finished = forks.run(template.format(path=str(path)), count, when)
            state = content(path, name)
            assert state in (BEFORE, after), f"killed {when} operation {count}: {state}"
            if finished:
                assert state == after
            committed.append(state == after)
            # The next writer removes the files of the killed one.
            with Index.open(path, encoder=encoder_of(name)) as index:
                index.add(ids=["later"], texts=["a later bat"])
                assert index.verify().stray_files == ()
            assert content(path, name) == {**state, "later": "a later bat"}
        if finished:
            break
    else:
        pytest.fail("the change never finished")
    # The state changes once, at the commit.
    assert committed == sorted(committed)
    assert not committed[0]
    assert committed[-1]


# Maintenance: an addition that trains a codebook and encodes the head, one that merges segments, and compaction. With
# texts, because they must survive as well.
FIRST = {f"s{i}": f"seen bat {i} {i * i}" for i in range(12)}
MORE = {f"m{i}": f"more owl {i} {i + 7}" for i in range(9)}


def add(index: Index, documents: dict[str, str]) -> None:
    index.add(ids=list(documents), texts=list(documents.values()))


def index_before(path: Path, name: str) -> dict[str, str]:
    """Create an index as it is before the job `name`; return its documents."""
    with Index.create(
        path, encoder=encoder_of(name), pooled="pooled" in name, keep_vectors="bare" not in name
    ) as index:
        if name == "train":
            return {}
        add(index, FIRST)
        if name == "merge":
            for id_, text in list(MORE.items())[:-1]:
                add(index, {id_: text})
            return {**FIRST, **dict(list(MORE.items())[:-1])}
        add(index, MORE)
        index.delete(["s3", "m1", "m2"])
        return {id_: text for id_, text in {**FIRST, **MORE}.items() if id_ not in ("s3", "m1", "m2")}


MAINTENANCE = {
    "train": (f"index.add(ids={list(FIRST)!r}, texts={list(FIRST.values())!r})", FIRST),
    "merge": (f"index.add(ids=['m8'], texts=[{MORE['m8']!r}])", {"m8": MORE["m8"]}),
    "compact": ("index.compact()", {}),
    "compact bare": ("index.compact()", {}),
    "compact pooled": ("index.compact()", {}),
}


# Compaction trains and merges too.
@pytest.mark.parametrize(
    "name",
    [
        "train",
        "compact",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("merge", "compact bare", "compact pooled")),
    ],
)
def test_killed_during_maintenance(tmp_path: Path, name: str, forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, attribute, value in THRESHOLDS:
        monkeypatch.setattr(module, attribute, value)
    statement, added = MAINTENANCE[name]
    original = tmp_path / "original"
    before = index_before(original, name)
    after = {**before, **added}
    committed: list[bool] = []
    for count in range(1, 400):
        path = tmp_path / f"killed-{count}"
        shutil.copytree(original, path)
        change = (
            f"with Index.open({str(path)!r}, encoder={type(encoder_of(name)).__name__}()) as index:\n    {statement}"
        )
        finished = forks.run(change, count, "before", small=True)
        state = content(path, name)
        assert state in (before, after), f"killed before operation {count}: {state}"
        committed.append(state == after)
        with Index.open(path, encoder=encoder_of(name)) as index:
            # The interrupted change is completed now.
            if added and state == before:
                add(index, added)
            else:
                index.compact()
            assert index.verify().stray_files == ()
        assert content(path, name) == after
        shutil.rmtree(path)
        if finished:
            break
    else:
        pytest.fail("the change never finished")
    assert committed == sorted(committed)
    assert committed[-1]
    assert len(committed) > 20


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_measuring_recall(
    tmp_path: Path, when: str, forks: Forks, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, attribute, value in THRESHOLDS:
        monkeypatch.setattr(module, attribute, value)
    original = tmp_path / "original"
    index_before(original, "compact")
    with Index.open(original, encoder=WordEncoder()) as index:
        # More than the least effort scores.
        index.add([f"more {i}" for i in range(40)], [f"bat {i} of the barn" for i in range(40)])
        index.compact()
        before = content(original)
        old = index.tune(["seen bat"]).calibration
    measured = []
    for count in range(1, 20):
        path = tmp_path / f"killed-{count}"
        shutil.copytree(original, path)
        change = f"with Index.open({str(path)!r}, encoder=WordEncoder()) as index:\n    index.tune(['owl', 'bat 4'])"
        finished = forks.run(change, count, when, small=True)
        assert content(path) == before
        with Index.open(path, read_only=True, encoder=WordEncoder()) as index:
            calibration = index.stats().calibration
            assert calibration is not None
            assert calibration == old or calibration.queries == 2
            measured.append(calibration.queries == 2)
            assert index.search("bat", recall=0.5).stats.expected_recall is not None
        if finished:
            break
    else:
        pytest.fail("the measurement never finished")
    assert measured == sorted(measured)
    assert (measured[0], measured[-1]) == (False, True)


def test_killed_while_creating(tmp_path: Path, forks: Forks) -> None:
    for count in range(1, 20):
        path = tmp_path / f"new-{count}"
        finished = forks.run(f"Index.create({str(path)!r}, encoder=WordEncoder()).close()", count, "before")
        if finished:
            break
        try:
            assert content(path) == {}
        except NotAnIndexError:
            assert not path.exists()
            create(path)
    else:
        pytest.fail("creation never finished")


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from helpers.fakes import WordEncoder
from serotine import Index
with Index.open({path!r}, encoder=WordEncoder()) as index:
    number = len(index)
    while True:
        index.add(ids=[f"n{{number}}"], texts=[f"text number {{number}}"])
        print(number, flush=True)
        if number % 3 == 2:
            index.delete([f"n{{number - 1}}"])
            print(-(number - 1), flush=True)
        number += 1
"""


def test_acknowledged_changes_survive_a_kill_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "x"
    Index.create(path, encoder=WordEncoder()).close()
    random.seed(4)
    expected: set[str] = set()
    for _ in range(4):
        # Every round starts above the numbers of the rounds before: numbers never repeat.
        program = WRITER.format(tests=str(Path(__file__).parent), path=str(path)).replace(
            "number = len(index)", "number = 1 + max([int(i[1:]) for i in index.ids()] + [0]) // 3 * 3 + 3"
        )
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(random.uniform(0.02, 0.3))
        child.kill()
        output = first + child.stdout.read()
        child.wait()
        child.stdout.close()
        for line in output.split():
            number = int(line)
            if number >= 0:
                expected.add(f"n{number}")
            else:
                expected.discard(f"n{-number}")
        state = set(content(path))
        # One operation may have been committed without its acknowledgement being read.
        assert len(state ^ expected) <= 1, (state, expected)
        expected = state
    assert len(expected) > 4
