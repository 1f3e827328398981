"""Forked processes: an open index stays its parent's, and one writer at a time holds the lock."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from serotine import Index
from serotine.errors import IndexLockedError, SerotineError
from serotine.index.store import forks
from serotine.index.store.forks import ForkAware

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

# Two children and their parent write to one open index, one after the other.
PROGRAM = """
import os, sys
import numpy as np
from serotine import Index
from serotine.errors import ReadOnlyError

def add(index, id_):
    index.add(ids=[id_], vectors=[np.eye(2)])

index = Index.create(sys.argv[1], dim=2)
add(index, "first")
for child in range(2):
    pid = os.fork()
    if not pid:
        try:
            add(index, f"child {child}")
        except ReadOnlyError as error:
            print(f"refused: {error}")
        print("reads", len(index), index.search(np.eye(2, dtype=np.float32), k=1)[0].id)
        print("locks", any("writer.lock" in os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                           if os.path.exists(f"/proc/self/fd/{fd}")) if os.path.exists("/proc/self/fd") else False)
        # Not os._exit: whatever finalizers do must not harm the parent.
        index.close() if child else None
        sys.exit(0)
    os.waitpid(pid, 0)
    add(index, f"parent {child}")
print("parent", list(index), flush=True)
ready, go = os.pipe(), os.pipe()
if not os.fork():
    os.close(go[1])
    os.read(go[0], 1)
    print("after the parent's commit", len(index))
    os.read(go[0], 1)
    print("after the parent closed", len(index), flush=True)
    sys.exit(0)
add(index, "last")
os.write(go[1], b"1")
index.close()
with Index.open(sys.argv[1]) as index:
    add(index, "reopened")
os.write(go[1], b"2")
os.wait()
"""


def test_a_child_reads_and_its_parent_writes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    run = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    refused = f"refused: {path}: opened for writing by the process that this one was forked from"
    assert [line.startswith(refused) for line in lines[:6]] == [True, False, False] * 2
    assert [lines[1], lines[2], lines[4], lines[5]] == ["reads 1 first", "locks False", "reads 2 first", "locks False"]
    assert lines[6] == "parent ['first', 'parent 0', 'parent 1']"
    assert lines[7:] == ["after the parent's commit 4", "after the parent closed 5"]
    with Index.open(path) as index:
        assert list(index) == ["first", "parent 0", "parent 1", "last", "reopened"]
        assert index.verify().documents == 5


def test_a_removed_lock_file_admits_no_second_writer(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", dim=2) as index:
        (tmp_path / "x" / "writer.lock").unlink()
        with pytest.raises(IndexLockedError, match="another writer has this index open"):
            Index.open(tmp_path / "x")
        index.add(ids=["a"], vectors=[np.eye(2)])
    Index.open(tmp_path / "x").close()


def test_numbers_that_another_process_took_are_not_used_twice(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x", dim=2) as index:
        index.add(ids=["a"], vectors=[np.eye(2)])
        store = index._store
        number = store.catalog.next_number()
        with store.transaction() as transaction:
            transaction.insert_documents(number, [("b", None, "{}")])
        with (
            pytest.raises(SerotineError, match="must be 2, got 3: another process"),
            store.transaction() as transaction,
        ):
            transaction.insert_documents(number, [("c", None, "{}")])


# A process uses the pool, its child opens the index, forks, and so does the child's child. No process may hang.
NESTED = """
import multiprocessing, os, sys
import numpy as np
from serotine import Index
from serotine.errors import ReadOnlyError
from serotine.maxsim import score

random = np.random.default_rng(0)
query = random.standard_normal((8, 16)).astype(np.float32)
documents = [random.standard_normal((40, 16)).astype(np.float32) for _ in range(2000)]

def best(_=None):
    return index.search(query, k=1)[0].id

def level(depth):
    global index
    if depth != "child":
        index.search(query)
        try:
            index.add(ids=["x"], vectors=[query])
        except ReadOnlyError:
            print(depth, "refused")
    else:
        index = Index.open(sys.argv[1])
        index.add(ids=["child"], vectors=[query])
    print(depth, len(index), best(), float(score(query, documents[:64]).max()) == top)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(depth, "pool", set(pool.map(best, range(8))), flush=True)
    deeper = {"child": "grandchild", "grandchild": "its child"}.get(depth)
    if deeper:
        fork(deeper)
        index.search(query)

def fork(depth):
    pid = os.fork()
    if not pid:
        try:
            level(depth)
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.waitpid(pid, 0)

with Index.create(sys.argv[1], dim=16, keep_vectors=False) as index:
    index.add(ids=[str(i) for i in range(2000)], vectors=documents)
    index.search(query)
top = float(score(query, documents[:64]).max())
fork("child")
"""


def test_an_index_opened_in_a_child_survives_further_forks(tmp_path: Path) -> None:
    environment = {**os.environ, "SEROTINE_NUM_THREADS": "4"}
    command = [sys.executable, "-c", NESTED, str(tmp_path / "x")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert (run.returncode, run.stderr) == (0, "")
    reads = [f"{depth} 2001 child True" for depth in ("child", "grandchild", "its child")]
    pools = [f"{depth} pool {{'child'}}" for depth in ("child", "grandchild", "its child")]
    assert run.stdout.splitlines() == [
        *(reads[0], pools[0]),
        *("grandchild refused", reads[1], pools[1]),
        *("its child refused", reads[2], pools[2]),
    ]


ENCODING = """
import os, sys
import numpy as np
from serotine import Encoder

encoder = Encoder()
texts = ["a text of several words " * 20] * 64
expected = encoder.encode_documents(texts)

def check(levels):
    print(all(np.array_equal(a, b) for a, b in zip(encoder.encode_documents(texts), expected)), flush=True)
    if levels:
        pid = os.fork()
        if not pid:
            try:
                check(levels - 1)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)

check(2)
"""


def test_the_native_encoder_works_in_a_child_and_in_its_child() -> None:
    environment = {**os.environ, "SEROTINE_NUM_THREADS": "4"}
    run = subprocess.run([sys.executable, "-c", ENCODING], capture_output=True, text=True, timeout=120, env=environment)
    assert (run.returncode, run.stdout.split()) == (0, ["True"] * 3), run.stderr


def test_threads_that_fork_at_the_same_time_leave_no_lock_behind() -> None:
    # The second thread starts to fork while the first is between its hooks.
    first_waits, second_started = threading.Event(), threading.Event()
    calls: list[str] = []

    class Slow(ForkAware):
        def before_fork(self) -> None:
            calls.append("before")
            first_waits.set()
            second_started.wait(0.5)

        def after_fork_in_parent(self) -> None:
            calls.append("after")

    slow = Slow()
    forks.watch(slow)
    threads = [threading.Thread(target=_fork_and_wait) for _ in range(2)]
    threads[0].start()
    assert first_waits.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    del slow
    assert calls == ["before", "after"] * 2


def _fork_and_wait() -> None:
    with warnings.catch_warnings():
        # Python 3.12 warns of forks in processes with threads.
        warnings.simplefilter("ignore")
        pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
