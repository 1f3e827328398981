"""Encoding in several processes: the same vectors, in order; a worker's end is told."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from serotine import Encoder, Index
from serotine.encoders import EncoderPool
from serotine.errors import EncoderError

TEXTS = [f"The serotine number {i} flies late in the evening, {'over the fields ' * (i % 7)}" for i in range(70)]


def test_the_same_vectors_in_the_same_order(tmp_path: Path) -> None:
    alone = Encoder()
    with EncoderPool(processes=2) as pool:
        assert (pool.name, pool.dim, pool.fingerprint) == (alone.name, alone.dim, alone.fingerprint)
        for one, other in zip(alone.encode_documents(TEXTS), pool.encode_documents(TEXTS), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
        assert pool.encode_documents([]) == []
        with pytest.raises(TypeError, match=r"texts\[1\]: want a string, got int"):
            pool.encode_documents(["a", 1])  # type: ignore[list-item]
        with Index.create(tmp_path / "i.serotine", encoder=pool) as index:
            index.add(ids=[str(i) for i in range(len(TEXTS))], texts=TEXTS)
    with Index.open(tmp_path / "i.serotine") as index:
        assert len(index.search("which bat flies late?", k=3)) == 3


def test_a_killed_worker_is_told() -> None:
    pool = EncoderPool(processes=1)
    pool.encode_documents(["a bat"])
    (worker,) = pool._executor._processes
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(EncoderError, match="a process of the pool was killed"):
        pool.encode_documents(TEXTS)
    pool.close()


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="exactly one of the two"):
        EncoderPool()
    with pytest.raises(ValueError, match="processes: want at least 1, got 0"):
        EncoderPool(processes=0)
    with pytest.raises(ValueError, match="devices: want a list of names"):
        EncoderPool(devices="cuda:0")  # type: ignore[arg-type]
