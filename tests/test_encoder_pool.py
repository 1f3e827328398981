"""EncoderPool: the same vectors in the same order, and an error when a worker is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from serotine import Encoder, Index
from serotine.encoders import EncoderPool
from serotine.errors import EncoderError, TruncatedTextWarning

TEXTS = [f"The serotine number {i} flies late in the evening, {'over the fields ' * (i % 7)}" for i in range(70)]


def test_vectors_and_order_equal_one_encoder(tmp_path: Path) -> None:
    alone = Encoder()
    with EncoderPool(processes=2) as pool:
        assert (pool.name, pool.dim, pool.fingerprint) == (alone.name, alone.dim, alone.fingerprint)
        for expected, vectors in zip(alone.encode_documents(TEXTS), pool.encode_documents(TEXTS), strict=True):
            np.testing.assert_allclose(expected, vectors, atol=1e-5)
        small = pool.encode_documents(TEXTS[:9], batch_tokens=16)
        for expected, vectors in zip(alone.encode_documents(TEXTS[:9], batch_tokens=16), small, strict=True):
            np.testing.assert_array_equal(expected, vectors)
        with pytest.raises(ValueError, match="batch_tokens: must be at least 1, got 0"):
            pool.encode_documents(TEXTS, batch_tokens=0)
        assert pool.encode_documents([]) == []
        shorter = pool.with_query_length(5)
        assert (pool.spec.query.length, shorter.spec.query.length) == (alone.spec.query.length, 5)
        with pytest.warns(TruncatedTextWarning, match="queries: 1 of 1 longer"):
            assert len(shorter.encode_queries([TEXTS[0]])[0]) <= 5
        assert len(shorter.encode_documents(TEXTS[:1])) == 1
        with pytest.raises(TypeError, match=r"texts\[1\]: must be a string, got int"):
            pool.encode_documents(["a", 1])  # type: ignore[list-item]
        with Index.create(tmp_path / "i.serotine", encoder=pool) as index:
            index.add(ids=[str(i) for i in range(len(TEXTS))], texts=TEXTS)
    with Index.open(tmp_path / "i.serotine") as index:
        assert len(index.search("which bat flies late?", k=3)) == 3


def test_a_killed_worker_raises() -> None:
    pool = EncoderPool(processes=1)
    pool.encode_documents(["a bat"])
    (worker,) = pool._executor._processes
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(EncoderError, match="a process of the pool was killed"):
        pool.encode_documents(TEXTS)
    pool.close()


def test_a_script_without_the_main_guard_is_told_of_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from serotine.encoders import EncoderPool\n"
        "with EncoderPool(processes=1) as pool:\n"
        "    pool.encode_documents(['a bat'])\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert """EncoderPool: put the script's statements under 'if __name__ == "__main__":'""" in ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert "the pool's processes ended before they were ready; in a script, put the script's statements" in last


SCRIPT = """
import sys
from serotine.encoders import EncoderPool

if __name__ == "__main__":
    pool = EncoderPool(processes=2)
    pool.encode_documents(["a bat"])
    print("ready", *pool._executor._processes, flush=True)
    try:
        pool.encode_documents(["a bat over the fields " * 60] * 20_000)
    except KeyboardInterrupt:
        print("stopped", len(pool.encode_documents(["still here"])), flush=True)
        pool.close()
        sys.exit(130)
"""


def test_control_c_ends_the_call_not_the_pool(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    # Its own process group: Ctrl-C reaches every process of a terminal's group, workers too.
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()[1:]]
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert (out, err, process.returncode) == ("stopped 1\n", "", 130)
    assert len(workers) == 2
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_invalid_arguments() -> None:
    with pytest.raises(ValueError, match="exactly one of the two"):
        EncoderPool()
    with pytest.raises(ValueError, match="processes: must be at least 1, got 0"):
        EncoderPool(processes=0)
    with pytest.raises(ValueError, match="devices: must be a list of names"):
        EncoderPool(devices="cuda:0")  # type: ignore[arg-type]
