"""Invalid input raises one error with the argument, its value and what it must be; dispatch and threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serotine import maxsim

RNG = np.random.default_rng(0)
Q = RNG.standard_normal((4, 8)).astype(np.float32)
D = RNG.standard_normal((10, 8)).astype(np.float32)
OFFSETS = np.array([0, 3, 3, 10])


def test_a_single_document_gives_a_float_and_a_list_gives_an_array() -> None:
    assert isinstance(maxsim.score(Q, D), float)
    assert maxsim.score(Q, [D, D]).tolist() == [maxsim.score(Q, D)] * 2
    assert maxsim.score(Q, []).shape == (0,)
    assert maxsim.score(Q, np.stack([D, D])).shape == (2,)


def test_empty_queries_and_documents() -> None:
    assert maxsim.score(Q[:0], D) == 0.0
    assert maxsim.score(Q[:0], D[:0]) == 0.0
    assert maxsim.score(Q, D[:0]) == -np.inf


def test_float_dtypes_mix_in_score_but_not_in_the_kernel_layouts() -> None:
    mixed = maxsim.score(Q, [D.astype(np.float16)])
    assert mixed[0] == pytest.approx(maxsim.score(Q, D), abs=0.05)
    with pytest.raises(TypeError, match="documents: dtype float16 does not match the float32 of queries"):
        maxsim.score_contrastive(Q[None], D.astype(np.float16), OFFSETS)


def test_non_contiguous_and_read_only_input() -> None:
    matrix = RNG.standard_normal((20, 16)).astype(np.float32)
    view = matrix[::2, ::2]
    frozen = np.ascontiguousarray(view)
    frozen.flags.writeable = False
    assert maxsim.score(Q, view) == maxsim.score(Q, frozen)
    assert maxsim.score(Q[::-1], [D[::-1]])[0] == pytest.approx(maxsim.score(Q, D))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: maxsim.score(Q[0], D), ValueError, r"query: must have shape \(query tokens, dim\), got \(8,\)"),
        (
            lambda: maxsim.score(Q, [D[0]]),
            ValueError,
            r"documents\[0\]: must have shape \(tokens, dim\), got \(8,\)",
        ),
        (
            lambda: maxsim.score(Q, [D[:, :4]]),
            ValueError,
            r"documents\[0\]: dimension 4 does not match the 8",
        ),
        (lambda: maxsim.score(Q.astype(np.float64), D), TypeError, "query: dtype must be one of .* got float64"),
        (
            lambda: maxsim.score(Q, [D, D.astype(np.float16)]),
            TypeError,
            r"documents\[1\]: dtype float16 differs",
        ),
        (lambda: maxsim.score(Q, "text"), TypeError, "documents: must be a list of arrays"),
        (
            lambda: maxsim.score(Q, D, [0, 5, 4]),
            ValueError,
            "document_offsets: offsets must not decrease, got 5 then 4",
        ),
        (
            lambda: maxsim.score(Q, D, [0, 11]),
            ValueError,
            r"document_offsets: offsets must be between 0 and 10, got 11",
        ),
        (
            lambda: maxsim.score(Q, D, [0.0, 2.0]),
            TypeError,
            "document_offsets: must be integers, got dtype float64",
        ),
        (lambda: maxsim.score(Q, D, []), ValueError, r"document_offsets: must have shape \(items \+ 1,\)"),
        (lambda: maxsim.score(Q[:, :0], D[:, :0]), ValueError, "query: must have shape .* at least one dimension"),
        (
            lambda: maxsim.score(Q, D.astype(np.int8)),
            TypeError,
            r"documents\[0\]: int8 tokens need document_scales",
        ),
        (lambda: maxsim.top_k(Q, D, OFFSETS, 0), ValueError, "k: must be at least 1, got 0"),
        (lambda: maxsim.top_k(Q, D, OFFSETS, 2.5), TypeError, "k: must be an int"),
        (lambda: maxsim.top_k(Q, D, OFFSETS, 1, keep=[1, 0, 1]), TypeError, "keep: must be booleans"),
        (lambda: maxsim.top_k(Q, D, OFFSETS, 1, keep=[True]), ValueError, r"keep: must have shape \(3,\)"),
        (
            lambda: maxsim.score_candidates_padded(Q[None], D[None, None], [5], [[10]]),
            ValueError,
            r"query_lengths: lengths must be between 0 and 4, got 5 at 0",
        ),
        (
            lambda: maxsim.score_candidates_padded(Q[None], D[None, None], [4], [10]),
            ValueError,
            r"doc_lengths: must have shape \(1, 1\), got \(1,\)",
        ),
        (
            lambda: maxsim.score_candidates_padded(Q[None], D[None], [4], [[10]]),
            ValueError,
            r"documents: must have shape \(B, C, Ld, D\), got \(1, 10, 8\)",
        ),
        (
            lambda: maxsim.score_pairs_packed(Q, [0, 4], D, OFFSETS, [0], [3]),
            ValueError,
            r"pair_document_ids: document numbers must be between 0 and 2, got 3 at 0",
        ),
        (
            lambda: maxsim.score_pairs_packed(Q, [0, 4], D, OFFSETS, [0], [0], max_q_len=3),
            ValueError,
            "max_q_len: must be at least 4, the tokens of the longest query, got 3",
        ),
        (lambda: maxsim.quantize(np.array([[np.nan]])), ValueError, "vectors: must be finite"),
        (lambda: maxsim.use("sse"), ValueError, "name: must be one of 'auto', 'portable'.*got 'sse'"),
        (lambda: maxsim.set_num_threads(0), ValueError, "count: must be between 1 and 1024"),
        (lambda: maxsim.set_num_threads("2"), TypeError, "count: must be an int"),
    ],
)
def test_invalid_input_raises_by_name(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_overflow_is_an_error_not_an_infinite_score() -> None:
    huge = np.full((2, 8), 1e30, dtype=np.float32)
    with pytest.raises(ValueError, match="overflows float32"):
        maxsim.score(huge, huge)


def test_threads_get_the_same_scores() -> None:
    documents = RNG.standard_normal((40_000, 64)).astype(np.float32)
    query = RNG.standard_normal((32, 64)).astype(np.float32)
    offsets = np.arange(0, 40_001, 100)
    expected = maxsim.score(query, documents, offsets)
    results: list[Any] = [None] * 6

    def score(i: int) -> None:
        results[i] = maxsim.score(query, documents, offsets)

    threads = [threading.Thread(target=score, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(result, expected) for result in results)


FORK = """
import os, numpy as np
from serotine import maxsim
maxsim.set_num_threads(2)
x = np.random.default_rng(0).standard_normal((40000, 64)).astype(np.float32)
offsets = np.arange(0, 40001, 100)
expected = maxsim.score(x[:32], x, offsets)
child = os.fork()
if child == 0:
    same = np.array_equal(maxsim.score(x[:32], x, offsets), expected)
    os._exit(0 if same and maxsim.num_threads() == 2 else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert np.array_equal(maxsim.score(x[:32], x, offsets), expected)
"""


def test_fork_after_the_pool_has_started() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SEROTINE_MAXSIM", "portable", "portable"),
        ("SEROTINE_NUM_THREADS", "3", "3"),
        ("SEROTINE_MAXSIM", "mmx", "environment variable SEROTINE_MAXSIM: must be one of 'auto', "),
        ("SEROTINE_NUM_THREADS", "many", "environment variable SEROTINE_NUM_THREADS: must be between 1 and 1024"),
        ("SEROTINE_NUM_THREADS", "1025", "environment variable SEROTINE_NUM_THREADS: must be between 1 and 1024"),
    ],
)
def test_environment_variables(name: str, value: str, expected: str) -> None:
    program = "from serotine import maxsim; c = maxsim.capabilities(); print(c.current, c.threads)"
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert expected in process.stdout + process.stderr


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q: maxsim.score(maxsim.quantize(q), [q]), "query: must have shape .*two arguments.*query_scales="),
        (lambda q: maxsim.score(q, [maxsim.quantize(q)]), r"documents\[0\]: must have .*document_scales="),
        (
            lambda q: maxsim.score([[1, 2], [1]], [q]),
            r"query: must have shape \(query tokens, dim\), got parts of diff",
        ),
        (
            lambda q: maxsim.top_k([q, q[:1]], q, [0, 4], k=1),
            "queries: must have shape .* got parts of different shapes$",
        ),
        (lambda _: maxsim.quantize([[1], [1, 2]]), r"vectors: must have shape \(\.\.\., dim\), got parts"),
    ],
)
def test_parts_of_different_shapes_are_named(call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.eye(4, 8, dtype=np.float32))


def test_quantize_is_within_half_a_scale() -> None:
    vectors = RNG.standard_normal((50, 33)).astype(np.float32)
    vectors[7] = 0
    codes, scales = maxsim.quantize(vectors)
    assert codes.dtype == np.int8
    assert scales.dtype == np.float32
    assert (np.abs(codes * scales[:, None] - vectors) <= scales[:, None] * 0.5000001).all()
