"""kill -9 at every durable operation: what is found afterwards is the state before, or the state after."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from helpers.fakes import WordEncoder
from helpers.small_engine import THRESHOLDS

from serotine import Index
from serotine.errors import NotAnIndexError

BEFORE = {"a": "alpha bat", "b": "beta owl", "c": "gamma fox"}

# The child dies by SIGKILL just before, or just after, its N-th durable operation.
CHILD = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from helpers.fakes import WordEncoder
from serotine import Index
from serotine.index.store import catalog
from serotine.index.files import durable
from helpers.small_engine import shrink

if {small}:
    shrink()
left = int(sys.argv[1])
after = sys.argv[2] == "after"

def deadly(function):
    def wrapped(*arguments):
        global left
        left -= 1
        if left == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments)
        if left == 0 and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return wrapped

for module, names in ((durable, ("write", "sync", "rename", "sync_folder", "remove")), (catalog, ("commit",))):
    for name in names:
        setattr(module, name, deadly(getattr(module, name)))

{work}
print("done", flush=True)
"""

WORKS = {
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
    "delete": (
        "with Index.open({path!r}, encoder=WordEncoder()) as index:\n    index.delete(['a', 'c'])",
        {"b": "beta owl"},
    ),
}


def fresh(path: Path) -> None:
    with Index.create(path, encoder=WordEncoder()) as index:
        index.add(ids=["a", "b"], texts=[BEFORE["a"], BEFORE["b"]])
        index.add(ids=["c"], texts=[BEFORE["c"]])


def content(path: Path) -> dict[str, str | None]:
    with Index.open(path, read_only=True, encoder=WordEncoder()) as index:
        index.verify()
        ids = index.ids()
        assert {hit.id for hit in index.search("bat", k=len(ids) + 1)} == set(ids)
        return {hit.id: hit.text for hit in index.get(ids)}


def run_child(work: str, count: int, when: str, *, small: bool = False) -> bool:
    """Runs the work, killed at its `count`-th operation; returns whether it finished instead."""
    program = CHILD.format(tests=str(Path(__file__).parent), work=work, small=small)
    done = subprocess.run([sys.executable, "-c", program, str(count), when], capture_output=True, text=True, timeout=60)
    if done.returncode == 0:
        assert done.stdout == "done\n"
        return True
    assert done.returncode == -signal.SIGKILL, done.stderr
    return False


@pytest.mark.parametrize("name", WORKS)
def test_killed_at_every_operation(tmp_path: Path, name: str) -> None:
    template, after = WORKS[name]
    seen: list[bool] = []
    for count in range(1, 100):
        finished = False
        for when in ("before", "after"):
            path = tmp_path / f"{name}-{count}-{when}"
            fresh(path)
            finished = run_child(template.format(path=str(path)), count, when)
            found = content(path)
            assert found in (BEFORE, after), f"killed {when} operation {count}: {found}"
            if finished:
                assert found == after
            seen.append(found == after)
            # A writer goes on from there, and sweeps what the dead one left.
            with Index.open(path, encoder=WordEncoder()) as index:
                index.add(ids=["later"], texts=["a later bat"])
                assert index.verify().stray_files == ()
            assert content(path) == {**found, "later": "a later bat"}
        if finished:
            break
    else:
        pytest.fail("the work never finished")
    # The commit is where the state changes: there must be both kinds, and no going back.
    assert seen == sorted(seen)
    assert not seen[0]
    assert seen[-1]


# What the engine does of itself: an addition that has a codebook trained and the head encoded, one that has segments
# merged, and the compaction of all of it. Texts, because they must survive as well.
SEEN = {f"s{i}": f"seen bat {i} {i * i}" for i in range(12)}
MORE = {f"m{i}": f"more owl {i} {i + 7}" for i in range(9)}


def add(index: Index, documents: dict[str, str]) -> None:
    index.add(ids=list(documents), texts=list(documents.values()))


def engine_before(path: Path, name: str) -> dict[str, str]:
    """An index just before the work `name`, and what it holds."""
    with Index.create(path, encoder=WordEncoder(), keep_vectors="bare" not in name) as index:
        if name == "train":
            return {}
        add(index, SEEN)
        if name == "merge":
            for id_, text in list(MORE.items())[:-1]:
                add(index, {id_: text})
            return {**SEEN, **dict(list(MORE.items())[:-1])}
        add(index, MORE)
        index.delete(["s3", "m1", "m2"])
        return {id_: text for id_, text in {**SEEN, **MORE}.items() if id_ not in ("s3", "m1", "m2")}


ENGINE_WORKS = {
    "train": (f"index.add(ids={list(SEEN)!r}, texts={list(SEEN.values())!r})", SEEN),
    "merge": (f"index.add(ids=['m8'], texts=[{MORE['m8']!r}])", {"m8": MORE["m8"]}),
    "compact": ("index.compact()", {}),
    "compact bare": ("index.compact()", {}),
}


@pytest.mark.parametrize("name", ENGINE_WORKS)
def test_killed_while_the_engine_rewrites(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, attribute, value in THRESHOLDS:
        monkeypatch.setattr(module, attribute, value)
    statement, added = ENGINE_WORKS[name]
    original = tmp_path / "original"
    before = engine_before(original, name)
    after = {**before, **added}
    seen: list[bool] = []
    for count in range(1, 400):
        path = tmp_path / f"killed-{count}"
        shutil.copytree(original, path)
        work = f"with Index.open({str(path)!r}, encoder=WordEncoder()) as index:\n    {statement}"
        finished = run_child(work, count, "before", small=True)
        found = content(path)
        assert found in (before, after), f"killed before operation {count}: {found}"
        seen.append(found == after)
        with Index.open(path, encoder=WordEncoder()) as index:
            # Whatever was left undone is done now, from where it was.
            if added and found == before:
                add(index, added)
            else:
                index.compact()
            assert index.verify().stray_files == ()
        assert content(path) == after
        shutil.rmtree(path)
        if finished:
            break
    else:
        pytest.fail("the work never finished")
    assert seen == sorted(seen)
    assert seen[-1]
    assert len(seen) > 20


def test_killed_while_creating(tmp_path: Path) -> None:
    for count in range(1, 20):
        path = tmp_path / f"new-{count}"
        finished = run_child(f"Index.create({str(path)!r}, encoder=WordEncoder()).close()", count, "before")
        if finished:
            break
        try:
            assert content(path) == {}
        except NotAnIndexError:
            assert not path.exists()
            fresh(path)
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


def test_what_was_acknowledged_survives_a_kill_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "x"
    Index.create(path, encoder=WordEncoder()).close()
    random.seed(4)
    expected: set[str] = set()
    for _ in range(4):
        # Numbers never repeat: every round starts above all that went before.
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
        found = set(content(path))
        # One operation may have been committed without its acknowledgement being read.
        assert len(found ^ expected) <= 1, (found, expected)
        expected = found
    assert len(expected) > 4
