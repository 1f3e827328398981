"""The memory of planning an update grows with the number of records alone, by as much as docs/ingest.md says."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra: pip install 'serotine[ingest]'")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra: pip install 'serotine[ingest]'")

ROOT = Path(__file__).parents[1]
FEW, MANY = 3_000, 12_000
ROWS_PER_GROUP = 1_000
# About 200; tables of ids grow by doubling.
BYTES_PER_RECORD = 250

PROGRAM = """
    import json, sys, tracemalloc
    sys.path.insert(0, "tests")
    import pyarrow
    from helpers.fakes import WordEncoder
    from serotine.ingest import Ingest
    def planned(file):
        tracemalloc.start()
        plan = Ingest([file], WordEncoder()).plan()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return plan.new_ids, peak, pyarrow.default_memory_pool().max_memory()
    # What every first plan loads is no part of it.
    planned(sys.argv[3])
    print(json.dumps([planned(file) for file in sys.argv[1:3]]))
"""


def write(file: Path, records: int) -> Path:
    """Write records of 500 bytes, whose ids have a dozen characters."""
    rows = {
        "id": [f"doc-{i:08d}" for i in range(records)],
        "text": [f"bat {i} " + "owl " * 120 for i in range(records)],
    }
    if file.suffix == ".parquet":
        parquet.write_table(pyarrow.table(rows), file, row_group_size=ROWS_PER_GROUP, compression="zstd")
    else:
        pairs = zip(*rows.values(), strict=True)
        file.write_text("".join(json.dumps({"id": id_, "text": text}) + "\n" for id_, text in pairs))
    return file


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_record_takes_the_memory_of_its_id(tmp_path: Path, suffix: str) -> None:
    files = [write(tmp_path / f"{records}{suffix}", records) for records in (FEW, MANY, 10)]
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), *map(str, files)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stderr[-2000:]
    (few, few_bytes, few_arrow), (many, many_bytes, many_arrow) = json.loads(run.stdout)
    assert (few, many) == (FEW, MANY)
    per_record = (many_bytes - few_bytes) / (MANY - FEW)
    assert 50 < per_record < BYTES_PER_RECORD
    # The texts, 500 bytes each, are read in row groups and batches, of which few are in memory at a time.
    assert many_arrow < 1.2 * few_arrow + (1 << 20)
