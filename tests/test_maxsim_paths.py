"""Every instruction set, layout and dtype against the float64 reference, over odd shapes."""

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
LENGTHS = st.lists(st.sampled_from([0, 1, 2, 5, 6, 7, 11, 12, 13, 23, 24, 25, 40, 150]), min_size=1, max_size=6)
QUERY_LENGTHS = st.sampled_from([0, 1, 3, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33, 48, 70])
DIMS = st.sampled_from([1, 2, 3, 4, 7, 16, 31, 48, 96, 128, 130])
QUICK = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def unit_vectors(rng: np.random.Generator, count: int, dim: int, *, negative: bool = False) -> Array:
    vectors = rng.standard_normal((count, dim)).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return -np.abs(vectors) if negative else vectors


def reference_scores(query: Array, documents: Array, offsets: Array) -> Array:
    return np.array([reference.score(query, documents[a:b]) for a, b in itertools.pairwise(offsets)])


def reference_winners(query: Array, documents: Array, offsets: Array) -> Array:
    return np.stack([reference.argmax(query, documents[a:b]) for a, b in itertools.pairwise(offsets)])


@QUICK
@given(
    seed=st.integers(0, 10**6),
    query_tokens=QUERY_LENGTHS,
    lengths=LENGTHS,
    dim=DIMS,
    dtype=st.sampled_from([np.float32, np.float16, ml_dtypes.bfloat16]),
    negative=st.booleans(),
)
def test_floats_match_the_reference(
    path: str, seed: int, query_tokens: int, lengths: list[int], dim: int, dtype: Any, negative: bool
) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    query = np.abs(unit_vectors(rng, query_tokens, dim)) if negative else unit_vectors(rng, query_tokens, dim)
    query = query.astype(dtype)
    documents = unit_vectors(rng, int(offsets[-1]), dim, negative=negative).astype(dtype)
    expected = reference_scores(query, documents, offsets)
    scores, winners = maxsim.score_contrastive_with_argmax(query[None], documents, offsets)
    # The inputs are already rounded, so the only error is fp32 accumulation.
    np.testing.assert_allclose(scores[0], expected, rtol=0, atol=4e-6 * max(query_tokens, 1))
    assert np.array_equal(scores, maxsim.score_contrastive(query[None], documents, offsets))
    for i, (a, b) in enumerate(itertools.pairwise(offsets)):
        similarities = reference.similarities(query, documents[a:b])
        for token in range(query_tokens):
            winner = winners[0, i, token]
            if a == b:
                assert winner == -1
            else:
                assert similarities[token, winner] >= similarities[token].max() - 1e-6


@QUICK
@given(seed=st.integers(0, 10**6), query_tokens=QUERY_LENGTHS, lengths=LENGTHS, dim=DIMS)
def test_int8_is_exact_up_to_its_scales(path: str, seed: int, query_tokens: int, lengths: list[int], dim: int) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    query, query_scales = maxsim.quantize(unit_vectors(rng, query_tokens, dim))
    documents, scales = maxsim.quantize(unit_vectors(rng, int(offsets[-1]), dim))
    # -128 is a valid code, and where widening tricks overflow first.
    documents[documents == -127] = -128
    expected = reference_scores(
        query * query_scales[:, None].astype(np.float64),
        documents * scales[:, None].astype(np.float64),
        offsets,
    )
    scores = maxsim.score(query, documents, offsets, query_scales=query_scales, document_scales=scales)
    np.testing.assert_allclose(scores, expected, rtol=2e-6, atol=1e-6)


@QUICK
@given(seed=st.integers(0, 10**6), query_tokens=QUERY_LENGTHS, lengths=LENGTHS, dim=DIMS)
def test_small_integers_tie_to_the_lowest_token(
    path: str, seed: int, query_tokens: int, lengths: list[int], dim: int
) -> None:
    """Small integers are exact in fp32, so scores and winners must equal the reference's, ties included."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    query = rng.integers(-2, 3, (query_tokens, dim)).astype(np.float32)
    documents = rng.integers(-2, 3, (int(offsets[-1]), dim)).astype(np.float32)
    scores, winners = maxsim.score_contrastive_with_argmax(query[None], documents, offsets)
    assert np.array_equal(scores[0].astype(np.float64), reference_scores(query, documents, offsets))
    assert np.array_equal(winners[0], reference_winners(query, documents, offsets))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int8])
def test_a_pair_scores_the_same_in_every_layout_batch_and_thread_count(path: str, dtype: Any) -> None:
    rng = np.random.default_rng(7)
    dim, query_tokens = 96, 21
    lengths = rng.integers(0, 90, 40)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    query_scales = scales = None
    query, documents = unit_vectors(rng, query_tokens, dim), unit_vectors(rng, int(offsets[-1]), dim)
    if dtype is np.int8:
        query, query_scales = maxsim.quantize(query)
        documents, scales = maxsim.quantize(documents)
    else:
        query, documents = query.astype(dtype), documents.astype(dtype)
    count, max_length = len(lengths), int(lengths.max())
    query_batch = np.stack([query] * 70)  # more queries than the scorer scores at once
    padded = np.full((1, count, max_length, dim), 100).astype(dtype)
    padded_scales = None if scales is None else np.full((1, count, max_length), 9, dtype=np.float32)
    for i, (a, b) in enumerate(itertools.pairwise(offsets)):
        padded[0, i, : b - a] = documents[a:b]
        if padded_scales is not None and scales is not None:
            padded_scales[0, i, : b - a] = scales[a:b]
    batch_scales = None if query_scales is None else np.stack([query_scales] * 70)
    separate = [documents[a:b] for a, b in itertools.pairwise(offsets)]
    separate_scales = None if scales is None else [scales[a:b] for a, b in itertools.pairwise(offsets)]
    expected = maxsim.score(query, documents, offsets, query_scales=query_scales, document_scales=scales)
    try:
        for threads in (1, 2, 5):
            maxsim.set_num_threads(threads)
            list_scores = maxsim.score(query, separate, query_scales=query_scales, document_scales=separate_scales)
            contrastive_scores = maxsim.score_contrastive(
                query_batch, documents, offsets, query_scales=batch_scales, document_scales=scales
            )
            padded_scores = maxsim.score_candidates_padded(
                query[None],
                padded,
                np.array([query_tokens]),
                lengths[None],
                query_scales=None if query_scales is None else query_scales[None],
                document_scales=padded_scales,
            )
            order = rng.permutation(count)
            pairs = maxsim.score_pairs_packed(
                query,
                np.array([0, query_tokens]),
                documents,
                offsets,
                np.zeros(count, np.int64),
                order,
                query_scales=query_scales,
                document_scales=scales,
            )
            assert np.array_equal(list_scores, expected)
            assert all(np.array_equal(row, expected) for row in contrastive_scores)
            assert np.array_equal(padded_scores[0], expected)
            assert np.array_equal(pairs, expected[order])
    finally:
        maxsim.set_num_threads(2)


def test_long_documents_and_queries(path: str) -> None:
    rng = np.random.default_rng(3)
    query, document = unit_vectors(rng, 512, 64), unit_vectors(rng, 5000, 64)
    assert maxsim.score(query, document) == pytest.approx(reference.score(query, document), abs=4e-6 * 512)


def test_subnormal_and_extreme_halves_widen_exactly(path: str) -> None:
    """Every finite float16 bit pattern, read as a one-dimensional token, must be unchanged."""
    bits = np.arange(65536, dtype=np.uint16)
    halves = bits.view(np.float16)
    halves = halves[np.isfinite(halves)]
    query = np.ones((1, 1), dtype=np.float32)
    scores = maxsim.score(query, halves[:, None], np.arange(len(halves) + 1))
    assert np.array_equal(scores, halves.astype(np.float32))


def test_nonfinite_values_raise_and_nan_never_wins(path: str) -> None:
    rng = np.random.default_rng(5)
    query, documents = unit_vectors(rng, 20, 48), unit_vectors(rng, 60, 48)
    offsets = np.array([0, 20, 40, 60])
    for value in (np.nan, np.inf, -np.inf):
        invalid_documents = documents.copy()
        invalid_documents[33, 17] = value
        with pytest.raises(ValueError, match=r"documents: number 1 .*allow_nonfinite"):
            maxsim.score(query, invalid_documents, offsets)
        invalid_query = query.copy()
        invalid_query[3, 0] = value
        with pytest.raises(ValueError, match="query: number 0"):
            maxsim.score(invalid_query, documents, offsets)
    invalid_documents = documents.copy()
    invalid_documents[33] = np.nan
    scores = maxsim.score(query, invalid_documents, offsets, allow_nonfinite=True)
    expected = maxsim.score(query, [documents[:20], np.delete(documents[20:40], 13, axis=0), documents[40:]])
    assert np.array_equal(scores, expected)


def test_padding_is_never_read(path: str) -> None:
    rng = np.random.default_rng(6)
    queries = np.full((2, 9, 32), np.nan, dtype=np.float32)
    documents = np.full((2, 3, 15, 32), np.nan, dtype=np.float32)
    query_lengths = np.array([9, 4])
    doc_lengths = np.array([[15, 0, 3], [1, 14, 7]])
    for b in range(2):
        queries[b, : query_lengths[b]] = np.abs(unit_vectors(rng, query_lengths[b], 32))
        for c in range(3):
            documents[b, c, : doc_lengths[b, c]] = unit_vectors(rng, doc_lengths[b, c], 32, negative=True)
    scores, winners = maxsim.score_candidates_padded_with_argmax(queries, documents, query_lengths, doc_lengths)
    for b in range(2):
        for c in range(3):
            query = queries[b, : query_lengths[b]]
            document = documents[b, c, : doc_lengths[b, c]]
            assert scores[b, c] == pytest.approx(reference.score(query, document), abs=1e-5)
            assert (winners[b, c, query_lengths[b] :] == -1).all()
    assert scores[0, 1] == -np.inf


@QUICK
@given(seed=st.integers(0, 10**6), count=st.integers(0, 60), k=st.integers(1, 70), masked=st.booleans())
def test_top_k_is_the_sorted_scores(path: str, seed: int, count: int, k: int, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 6, count))]).astype(np.int64)
    queries = rng.integers(-1, 2, (3, 5, 4)).astype(np.float32)  # many ties
    documents = rng.integers(-1, 2, (int(offsets[-1]), 4)).astype(np.float32)
    keep = rng.random(count) < 0.5 if masked else None
    scores, numbers = maxsim.top_k(queries, documents, offsets, k, keep=keep)
    all_scores = maxsim.score_contrastive(queries, documents, offsets)
    allowed = np.arange(count) if keep is None else np.flatnonzero(keep)
    assert scores.shape == (3, min(k, len(allowed)))
    for q in range(3):
        order = sorted(allowed, key=lambda d: (-all_scores[q, d], d))[:k]
        assert numbers[q].tolist() == order
        assert np.array_equal(scores[q], all_scores[q, order])
