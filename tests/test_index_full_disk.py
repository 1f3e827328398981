"""A full disk: the reserve of an index lets documents be deleted and the index be compacted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from serotine import Index
from serotine.index.store import reserve

# Fills the rest of the file system, to the last byte.
FILL_THE_REST = """
with open(sys.argv[1] + "/other", "wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)):
            pass
    except OSError:
        pass
"""
# Fills a file system of 4 MB by additions, and then with another file to the last byte.
FILL = (
    """
import sys, warnings
import numpy as np
from serotine import Index
from serotine.errors import SerotineError

warnings.simplefilter("ignore")
random = np.random.default_rng(int(sys.argv[2]))
path = sys.argv[1] + "/x"
index, added = Index.create(path, dim=32), 0
try:
    while True:
        size = int(random.integers(1, 30))
        index.add(
            ids=[f"d{added + i}" for i in range(size)],
            texts=[" ".join(map(str, random.integers(1000, size=30))) for _ in range(size)],
            vectors=[random.standard_normal((20, 32)).astype(np.float16) for _ in range(size)],
        )
        added += size
except (SerotineError, OSError) as error:
    assert "disk is full" in str(error), error
"""
    + FILL_THE_REST
    + """
if random.random() < 0.5:
    index.close()
    index = Index.open(path)
assert index.ids() == [f"d{i}" for i in range(added)]
# The more is kept, the more space its rewriting takes.
deleted = added * (2 + int(sys.argv[2]) % 2) // 4
assert index.delete([f"d{i}" for i in range(deleted)]) == deleted
index.compact()
index.add(ids=["new"], texts=["a"], vectors=[random.standard_normal((20, 32)).astype(np.float16)])
assert index.verify().documents == added - deleted + 1
print("freed")
"""
)
# The same with documents of files, whose deletion is recorded in the catalog; the files are on another disk.
FILL_FROM_FILES = (
    """
import json, random, sys, warnings
from pathlib import Path

sys.path.insert(0, sys.argv[3])
from helpers.fakes import WordEncoder
from serotine import Index
from serotine.errors import SerotineError
from serotine.ingest import update

warnings.simplefilter("ignore")
rng = random.Random(int(sys.argv[2]))
path, notes = sys.argv[1] + "/x", Path(sys.argv[4])
for number in range(60):
    rows = [{"id": f"{number}-{i}", "text": " ".join(str(rng.randrange(1000)) for _ in range(40))} for i in range(40)]
    (notes / f"{number}.jsonl").write_text("".join(json.dumps(row) + chr(10) for row in rows))
index = Index.create(path, encoder=WordEncoder(32))

def indexed():
    try:
        for number in range(1, 61):
            update(index, [notes / f"{i}.jsonl" for i in range(number)])
    except (SerotineError, OSError) as error:
        assert "disk is full" in str(error), error
        return False
    return True

assert not indexed()
"""
    + FILL_THE_REST
    + """
if rng.random() < 0.5:
    index.close()
    index = Index.open(path, encoder=WordEncoder(32))
stored = index.ids()
assert len(stored) > 100
gone = set(stored[: len(stored) * 3 // 4])
assert index.delete(sorted(gone)) == len(gone)
assert sum(index.sources.deleted_counts().values()) == len(gone)
index.compact()
assert sum(index.sources.deleted_counts().values()) == len(gone)
# Until the disk is full again, what is not deleted is stored, and nothing of what is.
indexed()
assert gone.isdisjoint(index.ids())
assert set(stored) - gone <= set(index.ids())
assert sum(index.sources.deleted_counts().values()) == len(gone)
assert index.verify().documents == len(index)
index.close()
with Index.open(path, encoder=WordEncoder(32)) as index:
    assert sum(index.sources.deleted_counts().values()) == len(gone)
    assert gone.isdisjoint(index.ids())
print("freed")
"""
)
# Whatever the index is like, and whatever is deleted of it, in whatever order: three times.
RANDOM = """
import random, shutil, sys, warnings
from pathlib import Path
import numpy as np
from serotine import Index
from serotine.errors import SerotineError
from serotine.index.growth import policy

warnings.simplefilter("ignore")
rng, noise = random.Random(int(sys.argv[2])), np.random.default_rng(int(sys.argv[2]))
path, dim, words = sys.argv[1] + "/x", rng.choice([16, 32, 64]), rng.choice([0, 10, 100])
policy.FIRST_TRAINING, policy.HEAD_TOKENS = rng.choice([2000, 1 << 17]), rng.choice([1000, 4000])
index = Index.create(path, dim=dim, nbits=rng.choice([2, 4, 8]), keep_vectors=rng.random() < 0.5)
batch, tokens, live, added = rng.choice([20, 300, 3000]), rng.choice([5, 30]), {}, 0

def fill():
    global added, batch
    try:
        while True:
            size = rng.randint(1, batch)
            ids = [f"d{added + i}" for i in range(size)]
            index.add(
                ids=ids,
                texts=[" ".join(map(str, noise.integers(1000, size=words))) for _ in ids],
                vectors=[noise.standard_normal((rng.randint(1, tokens), dim)).astype(np.float16) for _ in ids],
            )
            added += size
            live.update(dict.fromkeys(ids))
    except (SerotineError, OSError) as error:
        assert "disk is full" in str(error) or "No space left" in str(error), error
        if not live:
            batch = -(-batch // 8)
            fill()
    with open(f"{sys.argv[1]}/other", "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    assert shutil.disk_usage(path).free < 4096

for attempt in range(3):
    Path(sys.argv[1], "other").unlink(missing_ok=True)
    fill()
    assert index.ids() == list(live), (len(index), len(live))
    if rng.random() < 0.5:
        index.close()
        index = Index.open(path)
    share = rng.choice([0.0, 0.03, 0.3, 0.7, 1.0])
    chosen = [id_ for id_ in live if rng.random() < share] or [rng.choice(list(live))]
    if rng.random() < 0.5:
        chosen = list(live)[: len(chosen)]
    step = rng.choice([len(chosen), -(-len(chosen) // 3)])
    for start in range(0, len(chosen), step):
        index.delete(chosen[start : start + step])
    for id_ in chosen:
        del live[id_]
    index.compact()
    assert (index.ids(), index.stats().deleted) == (list(live), 0), index.stats()
    assert index.verify().documents == len(live)
print("freed")
"""
# Another program has filled the disk since the last change: there is no reserve.
FILL_WITHOUT_RESERVE = (
    """
import os, re, sys, warnings
from pathlib import Path
import numpy as np
from serotine import Index
from serotine.index.store import reserve

warnings.simplefilter("error")
random = np.random.default_rng(int(sys.argv[2]))
reserve._SEGMENT_SHARE, plenty, reserve._PLENTY = 1, reserve._PLENTY, 0
index = Index.create(sys.argv[1] + "/x", dim=32)
for name, size in (("large", 1200), ("small", 250)):
    vectors = [random.standard_normal((20, 32)).astype(np.float16) for _ in range(size)]
    index.add(ids=[f"{name} {i}" for i in range(size)], vectors=vectors)
reserve._PLENTY = plenty
Path(sys.argv[1], "enough").write_bytes(bytes(1 << 20))
"""
    + FILL_THE_REST
    + """
os.remove(sys.argv[1] + "/enough")
index.delete([f"large {i}" for i in range(0, 1200, 10)] + [f"small {i}" for i in range(0, 250, 2)])
try:
    index.compact()
    raise SystemExit("there was space")
except OSError as error:
    message = str(error)
# The small segment was rewritten.
assert index.stats().deleted == 120, index.stats()
assert index.verify().documents == 1205
lacking = re.search(r"takes 1,[0-9,]+ bytes without them, [0-9,]+ more than are free;", message)
first, last = re.search(r"delete the 1,080 documents from '(.*)' to '(.*)' too: ", message).groups()
assert lacking and (first, last) == ("large 1", "large 1199"), message
ids = index.ids()
index.delete(ids[ids.index(first) : ids.index(last) + 1])
index.compact()
assert index.ids() == [f"small {i}" for i in range(1, 250, 2)]
assert (index.verify().documents, index.stats().deleted) == (125, 0)
print("freed")
"""
)
# Deletions while an iteration holds the WAL, until the disk is full; once it has ended, there is a way out.
FILL_WHILE_READ = (
    FILL.split(FILL_THE_REST)[0]
    + """
reader = Index.open(path, read_only=True)
documents = reader.documents()
next(documents)
deleted = 0
try:
    while deleted < added:
        index.delete([f"d{deleted}"])
        deleted += 1
    raise SystemExit("the disk is too large for this test")
except OSError as error:
    assert "a read of this or another process that has not ended" in str(error), error
"""
    + FILL_THE_REST.replace("/other", "/rest")
    + """
assert len(index) == added - deleted
documents.close()
reader.close()
if int(sys.argv[2]) % 2:
    index.close()
    index = Index.open(path)
assert index.delete([f"d{i}" for i in range(deleted, added)]) == added - deleted
index.compact()
index.add(ids=["new"], texts=["a"], vectors=[random.standard_normal((20, 32)).astype(np.float16)])
assert index.verify().documents == 1
print("freed")
"""
)
MOUNTED = 'mount -t tmpfs -o size=4m tmpfs "$1" && exec "$2" -c "$3" "$1" "$4" "$5" "$6"'


def run_on_a_small_disk(tmp_path: Path, program: str, seed: int) -> None:
    disk, notes = tmp_path / "disk", tmp_path / "notes"
    disk.mkdir()
    notes.mkdir()
    # The mount ends with the process.
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    arguments = [str(disk), sys.executable, program, str(seed), str(Path(__file__).parent), str(notes)]
    command = [*unshare, "sh", "-c", MOUNTED, "sh", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200)
    if run.stderr.startswith(("unshare", "mount")):
        pytest.skip(f"no mounts here: {run.stderr.strip()}")
    assert (run.stdout, run.stderr) == ("freed\n", "")


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")


@on_linux
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "program", [FILL, FILL_FROM_FILES, FILL_WITHOUT_RESERVE], ids=["added", "of files", "without reserve"]
)
def test_documents_can_be_deleted_on_a_full_disk(tmp_path: Path, program: str, seed: int) -> None:
    run_on_a_small_disk(tmp_path, program, seed)


@on_linux
@pytest.mark.parametrize("seed", range(2))
def test_an_iteration_does_not_take_the_last_space(tmp_path: Path, seed: int) -> None:
    run_on_a_small_disk(tmp_path, FILL_WHILE_READ, seed)


@on_linux
@pytest.mark.parametrize("seed", [6, 10, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(11, 40))])
def test_what_an_index_has_filled_can_always_be_freed(tmp_path: Path, seed: int) -> None:
    run_on_a_small_disk(tmp_path, RANDOM, seed)


def test_space_is_reserved_only_where_little_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    free = 1 << 40

    monkeypatch.setattr(reserve.shutil, "disk_usage", lambda path: usage(1 << 40, (1 << 40) - free, free))
    file = tmp_path / "x" / "reserve"
    with Index.create(tmp_path / "x", dim=2) as index:
        index.add(ids=["a"], vectors=[np.eye(2)])
        assert not file.exists()
        free = 100 << 20
        index.add(ids=["b"], vectors=[np.eye(2)])
        assert file.stat().st_size == 1 << 20
    with Index.open(tmp_path / "x") as index:
        monkeypatch.setattr(type(index._store), "_space_needed", lambda store, records=(): 40 << 20)
        # A deletion does not make the disk fuller, whatever the largest segment takes; the next addition reserves that.
        index.delete(["a"])
        assert file.stat().st_size == 1 << 20
        index.add(ids=["d"], vectors=[np.eye(2)])
        assert 40 << 20 <= file.stat().st_size <= 44 << 20
        index.delete(["d"])
        assert index.snapshot(tmp_path / "copy").documents == 1
        assert not (tmp_path / "copy" / "reserve").exists()
    Index.restore(tmp_path / "copy", tmp_path / "x", overwrite=True)
    with Index.open(tmp_path / "x") as index:
        free = 1 << 40
        index.add(ids=["c"], vectors=[np.eye(2)])
    assert not file.exists()
