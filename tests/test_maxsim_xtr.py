"""XTR's CPU kernel: every instruction set and dtype against the reference, and bad input."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import maxsim
from serotine.maxsim import reference

Array = NDArray[Any]
LENGTHS = st.lists(st.sampled_from([0, 1, 2, 5, 13, 23, 24, 25, 49, 150]), min_size=1, max_size=6)
QUERY_LENGTHS = st.sampled_from([0, 1, 3, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33, 48])
QUICK = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
Q = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
D = np.random.default_rng(1).standard_normal((10, 8)).astype(np.float32)
OFFSETS = np.array([0, 3, 3, 10])


def pieces(documents: Array, offsets: Array) -> list[Array]:
    return [documents[a:b] for a, b in itertools.pairwise(offsets)]


@QUICK
@given(
    seed=st.integers(0, 10**6),
    query_tokens=QUERY_LENGTHS,
    lengths=LENGTHS,
    dim=st.sampled_from([1, 2, 3, 7, 16, 48, 128, 130]),
    dtype=st.sampled_from([np.float32, np.float16, ml_dtypes.bfloat16, np.int8]),
    k_token=st.sampled_from([1, 2, 7, 40, 300, 10**6]),
    impute=st.booleans(),
)
def test_small_integers_equal_the_reference(
    path: str, seed: int, query_tokens: int, lengths: list[int], dim: int, dtype: Any, k_token: int, impute: bool
) -> None:
    """Small integers are exact in fp32: which tokens are retrieved must equal the reference, ties included."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    query = rng.integers(-2, 3, (query_tokens, dim)).astype(dtype)
    documents = rng.integers(-2, 3, (int(offsets[-1]), dim)).astype(dtype)
    scales: dict[str, Any] = {}
    if dtype is np.int8:
        scales = {
            "query_scales": np.full(query_tokens, 0.5, np.float32),
            "document_scales": rng.integers(1, 3, len(documents)).astype(np.float32),
        }
    scores = maxsim.score_xtr(query, documents, offsets, k_token, impute=impute, **scales)
    assert scores.dtype == np.float32
    if scales:
        query = query * scales["query_scales"][:, None].astype(np.float64)
        documents = documents * scales["document_scales"][:, None].astype(np.float64)
    expected = reference.xtr(query, pieces(documents, offsets), k_token, impute=impute)
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)


@QUICK
@given(seed=st.integers(0, 10**6), query_tokens=QUERY_LENGTHS, lengths=LENGTHS, k_token=st.integers(1, 60))
def test_unit_vectors_match_the_reference(
    path: str, seed: int, query_tokens: int, lengths: list[int], k_token: int
) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    query, documents = (rng.standard_normal((n, 96)).astype(np.float32) for n in (query_tokens, int(offsets[-1])))
    query, documents = (v / np.linalg.norm(v, axis=1, keepdims=True).clip(1e-9) for v in (query, documents))
    expected = reference.xtr(query, pieces(documents, offsets), k_token, impute=True)
    # An imputed similarity is continuous in the similarities, unlike which tokens are counted.
    np.testing.assert_allclose(maxsim.score_xtr(query, documents, offsets, k_token), expected, atol=2e-6)


def test_threads_and_batches_do_not_change_a_score(path: str) -> None:
    rng = np.random.default_rng(7)
    lengths = rng.integers(0, 90, 400)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    query, documents = (rng.standard_normal((n, 96)).astype(np.float16) for n in (21, int(offsets[-1])))
    expected = maxsim.score_xtr(query, documents, offsets, 500)
    threads = maxsim.num_threads()
    try:
        for count in (1, 2, 5):
            maxsim.set_num_threads(count)
            for _ in range(3):
                assert np.array_equal(maxsim.score_xtr(query, documents, offsets, 500), expected)
    finally:
        maxsim.set_num_threads(threads)


def test_every_token_retrieved_is_the_mean_maxsim(path: str) -> None:
    expected = maxsim.score(Q, D, OFFSETS) / len(Q)
    for impute in (True, False):
        scores = maxsim.score_xtr(Q, D, OFFSETS, 10, impute=impute)
        np.testing.assert_allclose(scores, expected, rtol=1e-6)
        assert scores[1] == -np.inf
    assert maxsim.score_xtr(Q[:0], D, OFFSETS, 1).tolist() == [0.0] * 3
    assert maxsim.score_xtr(Q, D[:0], [0, 0], 1).tolist() == [-np.inf]
    assert maxsim.score_xtr(Q, D[:0], [0], 1).shape == (0,)


def test_torch_tensors_give_the_same_scores_with_gradients() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    query, documents = torch.tensor(Q, requires_grad=True), torch.tensor(D)
    for impute in (True, False):
        scores = maxsim.score_xtr(query, documents, torch.tensor(OFFSETS), 3, impute=impute)
        expected = maxsim.score_xtr(Q, D, OFFSETS, 3, impute=impute)
        np.testing.assert_allclose(scores.detach().numpy(), expected, rtol=1e-6)
    scores[0].backward()
    assert query.grad.abs().max() > 0
    half = maxsim.score_xtr(query.detach(), documents.half(), torch.tensor(OFFSETS), 3)
    np.testing.assert_allclose(half, maxsim.score_xtr(Q, D, OFFSETS, 3), atol=0.01)
    levels, scales = maxsim.quantize(Q)
    rows, row_scales = maxsim.quantize(D)
    expected = maxsim.score_xtr(levels, rows, OFFSETS, 3, query_scales=scales, document_scales=row_scales)
    quantized = [torch.tensor(array) for array in (levels, rows, OFFSETS)]
    given_scales = {"query_scales": torch.tensor(scales), "document_scales": torch.tensor(row_scales)}
    assert np.array_equal(maxsim.score_xtr(*quantized, 3, **given_scales), expected)
    with pytest.raises(ValueError, match=r"query: must have shape \(query tokens, D\), got \(8,\)"):
        maxsim.score_xtr(query[0], documents, torch.tensor(OFFSETS), 3)
    with pytest.raises(ValueError, match=r"documents: must have shape \(tokens, D\), got \(8,\)"):
        maxsim.score_xtr(query, documents[0], torch.tensor(OFFSETS), 3)
    with pytest.raises(ValueError, match="document_offsets: offsets must not decrease"):
        maxsim.score_xtr(query, documents, torch.tensor([0, 4, 3]), 3)
    assert maxsim.score_xtr(query, documents[:0], torch.tensor([0]), 3).shape == (0,)


@pytest.mark.parametrize(
    ("error", "message", "argument"),
    [
        (ValueError, "k_token: must be an int, at least 1, got 0", {"k_token": 0}),
        (ValueError, "k_token: must be an int, at least 1, got 2.0", {"k_token": 2.0}),
        (TypeError, "impute: must be True or False, got str 'no'", {"impute": "no"}),
        (ValueError, r"query: must have shape \(query tokens, dim\), got \(8,\)", {"query": Q[0]}),
        (ValueError, r"documents: must have shape \(tokens, dim\), got \(8,\)", {"documents": D[0]}),
        (ValueError, "documents: dimension 7 does not match the 8 of query", {"documents": D[:, 1:]}),
        (TypeError, "query: int8 tokens need query_scales", {"query": Q.astype(np.int8)}),
        (TypeError, "documents: dtype must be one of float32", {"documents": D.astype(np.float64)}),
        (ValueError, "document_offsets: offsets must be between 0 and 10, got 11", {"document_offsets": [0, 11]}),
        (
            ValueError,
            "documents: number 2 contains NaN",
            {"documents": np.where(np.arange(10)[:, None] < 9, D, np.nan)},
        ),
        (ValueError, "query: number 0 contains NaN", {"query": np.full_like(Q, np.inf)}),
    ],
)
def test_bad_input_is_one_line(error: type[Exception], message: str, argument: dict[str, Any]) -> None:
    arguments = {"query": Q, "documents": D, "document_offsets": OFFSETS, "k_token": 3, **argument}
    with pytest.raises(error, match=message) as caught:
        maxsim.score_xtr(**arguments)
    assert "\n" not in str(caught.value)
