"""Forked processes: an open index stays its parent's, and one writer at a time holds the lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serotine import Index
from serotine.errors import IndexLockedError, SerotineError

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
