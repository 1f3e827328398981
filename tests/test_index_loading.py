"""Streams of known length, and files that are written and checked with the help of other threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serotine import Index
from serotine.index.growth.policy import FAN_IN

DIM = 16
# More than a chunk that is hashed on another thread.
LONG = (1 << 20) // DIM


def batch(number: int, tokens: int = 20) -> dict[str, Any]:
    vectors = np.random.default_rng(number).standard_normal((tokens, DIM)).astype(np.float16)
    return {"ids": [str(number)], "vectors": [vectors]}


def test_additions_after_an_interrupted_stream_are_merged_as_usual(tmp_path: Path) -> None:
    def interrupted() -> Iterator[dict[str, Any]]:
        yield batch(0)
        raise KeyboardInterrupt

    with Index.create(tmp_path / "i.serotine", dim=DIM) as index:
        with pytest.raises(KeyboardInterrupt):
            index.add_batches(interrupted(), expected_documents=1000)
        most = 0
        for number in range(1, 3 * FAN_IN):
            index.add(**batch(number))
            most = max(most, index.stats().segments)
        assert most <= FAN_IN


def test_files_are_written_and_checked_where_no_thread_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Index.create(tmp_path / "i.serotine", dim=DIM) as index:
        index.add(**batch(0, LONG))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            for number in range(1, 2 * FAN_IN):
                index.add(**batch(number, LONG if number % 4 == 0 else 20))
            assert index.verify().documents == 2 * FAN_IN
        index.compact()
        assert index.verify().segments == 1


WRITER = """
import sys, threading, time
import numpy as np
from serotine import Index

def build():
    threading.main_thread().join()
    for number in range(9):
        vectors = np.random.default_rng(number).standard_normal((65536, 16)).astype(np.float16)
        index.add(ids=[str(number)], vectors=[vectors])
    print(index.verify().documents)

index = Index.create(sys.argv[1], dim=16)
threading.Thread(target=build).start()
"""


def test_a_thread_writes_after_the_end_of_the_main_thread(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "i.serotine")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (run.stdout.strip(), run.returncode) == ("9", 0), run.stderr
