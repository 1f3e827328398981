"""The compiled core's calls: signals end them soon, exceptions of threads arrive, arrays may lie anywhere in memory."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import core_calls
from numpy.typing import NDArray

from serotine import _core, maxsim

DIM = 128
SECONDS_UNTIL_CTRL_C = 0.4
# Generous: the machine may be busy.
MOST_SECONDS_AFTER = 1.5


def vectors(count: int) -> NDArray[np.float32]:
    array = np.random.default_rng(1).standard_normal((count, DIM), dtype=np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def codebook(centroids: int) -> Any:
    levels = np.random.default_rng(2).integers(-90, 90, (centroids, DIM), dtype=np.int8)
    return _core.Codebook(levels, np.full(centroids, 0.001, dtype=np.float32))


def nearest() -> Callable[[], Any]:
    """A step of k-means."""
    points, centroids = vectors(400_000), vectors(8_000)
    order, members = np.arange(len(points)), np.arange(len(centroids))
    ids = np.empty(len(points), dtype=np.int32)
    starts, list_starts = np.array([0, len(points)]), np.array([0, len(centroids)])
    return lambda: _core.nearest(points, order, starts, centroids, members, list_starts, ids)


def encoding() -> Callable[[], Any]:
    """Encoding residuals, as merging and compacting do."""
    points, book = vectors(900_000), codebook(64)
    ids = np.zeros(len(points), dtype=np.int32)
    scales, errors = np.empty(len(points), dtype=np.uint8), np.empty(len(points), dtype=np.uint8)
    residuals = np.empty((len(points), DIM // 2), dtype=np.uint8)

    def encode() -> None:
        # Every call is short enough: the interrupt arrives between them at the latest.
        while True:
            _core.encode_residuals(book, points, ids, 4, scales, errors, residuals)

    return encode


def search() -> Callable[[], Any]:
    """Several exact searches in one call, each of which is one item of work."""
    documents, tokens = 40_000, 16
    stored = vectors(documents * tokens).astype(np.float16).view(np.uint16)
    segment = _core.Segment(np.arange(0, documents * tokens + 1, tokens), np.arange(documents), stored)
    queries = vectors(64 * 500)
    offsets = np.arange(0, len(queries) + 1, 64)
    options = _core.SearchOptions(k=10, refined=0, candidates=0, rescored=0, postings=0, exact=True)
    return lambda: _core.search(queries, offsets, [segment], [None], options)


def scoring() -> Callable[[], Any]:
    """Scoring many queries with many documents."""
    documents = vectors(600_000)
    queries = vectors(64 * 64).reshape(64, 64, DIM)
    return lambda: maxsim.top_k(queries, documents, np.arange(0, 600_001, 100), 10)


def xtr() -> Callable[[], Any]:
    """Scoring many queries by XTR."""
    documents = vectors(600_000)
    return lambda: [maxsim.score_xtr(documents[:64], documents, np.arange(0, 600_001, 100), 1000) for _ in range(9)]


@pytest.mark.parametrize("work", [nearest, encoding, search, scoring, xtr])
def test_ctrl_c_ends_native_work_at_once(work: Callable[[], Callable[[], Any]]) -> None:
    call = work()
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    # A shell starts background jobs with SIGINT ignored, which Python then keeps.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(SECONDS_UNTIL_CTRL_C, interrupt)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
        waited = time.monotonic() - sent[0]
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert waited < MOST_SECONDS_AFTER


def test_calls_after_an_interrupted_one_are_complete() -> None:
    points, centroids = vectors(50_000), vectors(500)
    order, members = np.arange(len(points)), np.arange(len(centroids))
    starts, list_starts = np.array([0, len(points)]), np.array([0, len(centroids)])
    test_ctrl_c_ends_native_work_at_once(nearest)
    ids = np.full(len(points), -1, dtype=np.int32)
    _core.nearest(points, order, starts, centroids, members, list_starts, ids)
    best = np.argmax(points @ centroids.T - 0.5 * (centroids**2).sum(axis=1), axis=1)
    # Compared in 8 bits.
    assert np.mean(ids == best) > 0.95


def test_top_k_of_no_documents_is_empty() -> None:
    queries, documents = vectors(4), vectors(10)
    starts, ends = np.array([0]), np.array([4])
    first, last = np.arange(10), np.arange(1, 11)
    scores, numbers = np.empty((1, 0), dtype=np.float32), np.empty((1, 0), dtype=np.int64)
    outcome = _core.top_k(
        queries, 0, None, starts, ends, documents, 0, None, first, last, None, scores, numbers
    )  # fmt: skip
    assert outcome == (-1, -1)


def unaligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return the same array one byte further in memory than its type asks for."""
    memory = np.empty(array.nbytes + 64, dtype=np.uint8)
    start = -memory.ctypes.data % 64 + 1
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert not copy.flags.aligned
    return copy


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_unaligned_inputs_give_the_same_scores(dtype: type[np.floating[Any]]) -> None:
    queries, documents = vectors(8).astype(dtype), vectors(30).astype(dtype)
    offsets = np.array([0, 10, 30])
    expected = maxsim.top_k(queries, documents, offsets, 2)[0]
    found = maxsim.top_k(unaligned(queries), unaligned(documents), unaligned(offsets), 2)[0]
    assert np.array_equal(found, expected)


def test_unaligned_segments_are_searched() -> None:
    stored = vectors(30).astype(np.float16).view(np.uint16)
    offsets, numbers = np.array([0, 10, 30]), np.array([4, 7])
    options = _core.SearchOptions(k=2, refined=0, candidates=0, rescored=0, postings=0, exact=True)

    def hits(segment: Any) -> Any:
        return _core.search(vectors(3), np.array([0, 3]), [segment], [None], options)[0].scores

    expected = hits(_core.Segment(offsets, numbers, stored))
    assert hits(_core.Segment(unaligned(offsets), unaligned(numbers), unaligned(stored))) == expected


def test_unaligned_outputs_are_refused() -> None:
    points = vectors(10)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _core.cluster_means(
            points,
            np.zeros(10, dtype=np.int32),
            unaligned(np.empty((1, DIM), dtype=np.float32)),
            np.empty(1),
            np.empty(1, dtype=np.int64),
        )


def test_malformed_calls_are_refused_in_words() -> None:
    """In a process of its own, which a mistake in the core ends; with sanitizers, an attack of tests/torture."""
    command = [sys.executable, core_calls.__file__, str(_core.__file__), "5", "5000"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert run.returncode == 0, run.stderr[-1000:]
    # About half of the calls still make sense.
    assert 1000 < int(run.stdout) < 4000


@pytest.mark.parametrize(
    ("size", "value"),
    [("hidden", 1 << 62), ("heads", 1 << 40), ("intermediate", 1 << 40), ("head_dim", 1 << 63), ("longest", 1 << 40)],
)
def test_sizes_whose_products_overflow_are_refused(size: str, value: int) -> None:
    sizes: dict[str, int] = {"hidden": 32, "heads": 1, "intermediate": 32, "longest": 8, size: value}
    with pytest.raises(ValueError, match=f"{size}.* must be at most"):
        _core.Transformer(**sizes, epsilon=1e-5, theta=1e4)


def test_more_threads_than_there_are_encode_the_same() -> None:
    model = _core.Transformer(hidden=32, heads=1, intermediate=32, longest=8, epsilon=1e-5)
    model.set_words(np.arange(-80, 80, dtype=np.int8).reshape(5, 32), np.full(5, 0.01, dtype=np.float32))
    ids, offsets = np.arange(5, dtype=np.int32), np.array([0, 5])
    expected, found = (np.zeros((5, 32), dtype=np.float32) for _ in range(2))
    model.encode(ids, offsets, expected, 1)
    model.encode(ids, offsets, found, (1 << 62) - 1)
    assert np.array_equal(found, expected)


def test_ids_between_whole_numbers_in_memory_are_refused() -> None:
    ids = np.zeros(9, dtype=np.uint8)[1:].reshape(4, 2)
    with pytest.raises(ValueError, match="ids must lie at a multiple of their bytes per token"):
        _core.make_postings(ids, np.array([0, 4]), np.zeros(3, dtype=np.uint64))


def test_objects_of_other_types_are_refused() -> None:
    stored = vectors(3).astype(np.float16).view(np.uint16)
    segment = _core.Segment(np.array([0, 3]), np.array([1]), stored)
    options = _core.SearchOptions(k=2, refined=0, candidates=0, rescored=0, postings=0, exact=True)
    with pytest.raises(TypeError, match="segments must be Segment objects"):
        _core.search(vectors(3), np.array([0, 3]), [None], [None], options)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="masks must be uint64 arrays or None"):
        _core.search(vectors(3), np.array([0, 3]), [segment], ["mask"], options)  # type: ignore[list-item]


# Numbers become others that have no room for them.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_malformed_can_be_malformed_again() -> None:
    for seed in range(3000):
        rng = random.Random(seed)
        value: Any = np.arange(6, dtype="f4").reshape(2, 3)
        for _ in range(3):
            value = core_calls.malformed(value, rng)
