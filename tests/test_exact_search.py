"""The exact search of the compiled core: brute force, bounds and certificates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.core_cases import Coded, CoreCase, mask_of, offsets_of, search, values
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import _core, maxsim

PATHS = maxsim.capabilities().supported
LENGTHS = st.lists(st.integers(0, 9), min_size=0, max_size=40)


@given(
    lengths=LENGTHS,
    dim=st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 128])),
    kind=st.sampled_from(["unit", "plain", "ties", "huge", "negative", "mixed", "constant"]),
    bits=st.sampled_from([2, 4, 8]),
    k=st.integers(1, 50),
    query_tokens=st.one_of(st.integers(0, 9), st.sampled_from([15, 16, 17, 31, 32, 33, 48, 64, 70])),
    lists=st.booleans(),
    seed=st.integers(0, 20),
    path=st.sampled_from(PATHS),
)
@settings(max_examples=600, deadline=None)
def test_an_exact_search_is_brute_force(
    lengths: list[int], dim: int, kind: str, bits: int, k: int, query_tokens: int, lists: bool, seed: int, path: str
) -> None:
    maxsim.use(path)
    case = CoreCase(lengths, dim, kind, seed, bits=bits, query_tokens=query_tokens, lists=lists)
    try:
        truth = case.truth()
        scores, numbers, report = search(case.segments, case.query, k, exact=True)
        assert list(zip(scores, numbers, strict=True)) == truth[:k]
        # The certificate: nothing outside scores above its bound, and the bound is not above the last hit.
        if len(truth) > k:
            assert report.bound >= truth[k][0]
            assert report.bound <= truth[k - 1][0]
        assert report.undecided == 0
        # A staged search that may take everything finds the same.
        staged = search(case.segments, case.query, k, candidates=1000, rescored=1000)
        assert list(zip(staged[0], staged[1], strict=True)) == truth[:k]
        # The least effort gives as many hits, with exact scores, best first.
        scores, numbers, _ = search(case.segments, case.query, k, candidates=1, rescored=1, postings=1)
        assert len(set(numbers)) == min(k, len(truth))
        hits = list(zip(scores, numbers, strict=True))
        assert set(hits) <= set(truth)
        assert hits == sorted(hits, key=lambda pair: (-pair[0], pair[1]))
    finally:
        maxsim.use("auto")


@given(
    lengths=LENGTHS, dim=st.integers(1, 70), seed=st.integers(0, 20), k=st.integers(1, 50), lists=st.booleans(),
    data=st.data(),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_masks_restrict_the_hits(lengths: list[int], dim: int, seed: int, k: int, lists: bool, data: Any) -> None:
    case = CoreCase(lengths, dim, "unit", seed, lists=lists)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))), dtype=bool)
    allowed = [mask_of(keep[where]) for where in case.ranges]
    truth = case.truth(keep)
    for options in ({"exact": True}, {"candidates": 1000, "rescored": 1000}):
        scores, numbers, _ = search(case.segments, case.query, k, masks=list(allowed), **options)
        assert list(zip(scores, numbers, strict=True)) == truth[:k]
    # Little effort gives as many hits, all allowed, with exact scores.
    scores, numbers, _ = search(case.segments, case.query, k, masks=list(allowed), candidates=1, rescored=1)
    assert len(numbers) == min(k, len(truth))
    assert set(zip(scores, numbers, strict=True)) <= set(truth)


@given(
    lengths=LENGTHS,
    dim=st.one_of(st.integers(1, 70), st.sampled_from([127, 128, 384])),
    kind=st.sampled_from(["unit", "plain", "ties", "huge", "negative", "mixed", "constant"]),
    bits=st.sampled_from([2, 4, 8]),
    query_tokens=st.sampled_from([0, 1, 2, 5, 17, 33]),
    seed=st.integers(0, 20),
    path=st.sampled_from(PATHS),
)
@settings(max_examples=300, deadline=None)
def test_without_vectors_bounds_hold(
    lengths: list[int], dim: int, kind: str, bits: int, query_tokens: int, seed: int, path: str
) -> None:
    maxsim.use(path)
    try:
        case = CoreCase(lengths, dim, kind, seed, coded="codes", bits=bits, query_tokens=query_tokens)
        truth = case.truth()
        k = max(1, len(lengths) // 3)
        _, numbers, report = search(case.segments, case.query, k, exact=True)
    finally:
        maxsim.use("auto")
    assert len(numbers) == min(k, len(truth))
    outside = [score for score, number in truth if number not in numbers]
    if outside:
        assert report.bound >= max(outside)
    if report.undecided == 0 and outside:
        assert min(score for score, number in truth if number in numbers) >= max(outside)


def far_apart(dim: int, bits: int) -> tuple[_core.Segment, NDArray[np.float32], list[int], Coded]:
    """Return a segment of one-token documents, a query, their numbers best first, and their codes."""
    rng = np.random.default_rng(dim)
    direction = np.abs(rng.standard_normal(dim))
    sizes = rng.permutation(np.linspace(0.1, 1.0, 10))
    vectors = (sizes[:, None] * direction / np.linalg.norm(direction)).astype(np.float16)
    coded = Coded(vectors, bits, count=10, fitting=True)
    segment = coded.put_into(_core.Segment(offsets_of([1] * 10), np.arange(10), None))
    return segment, direction[None].astype(np.float32), np.argsort(-sizes).tolist(), coded


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_bounds_of_codes_can_prove_an_answer(path: str, bits: int) -> None:
    """Without vectors an answer can be proved; with codes that say nothing it is not."""
    segment, query, order, coded = far_apart(64, bits)
    for k in (1, 3, 9):
        _, numbers, report = search([segment], query, k, exact=True)
        assert numbers == order[:k]
        assert report.undecided == 0
    coded.errors[:] = 255
    _, numbers, report = search([segment], query, 3, exact=True)
    assert numbers == order[:3]
    assert report.undecided == 7
    assert report.bound == np.inf


@pytest.mark.parametrize("query_tokens", [1, 2, 7, 33])
def test_bounds_hold_where_they_are_tight(path: str, query_tokens: int) -> None:
    """The error lies along the query and is as large as the error byte allows."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        dim = int(rng.integers(1, 33))
        query = rng.standard_normal((query_tokens, dim)).astype(np.float32)
        coded = Coded(np.zeros((query_tokens, dim), np.float16), 4, count=1)
        # Every token is rebuilt as zeros.
        coded.codebook = _core.Codebook(np.zeros((1, dim), np.int8), np.ones(1, np.float32))
        coded.residual_scales[:], coded.max_norm = 0, 0.0
        coded.errors[:] = rng.integers(100, 156)
        segment = coded.put_into(_core.Segment(offsets_of([query_tokens]), np.array([0]), None))
        best = (query * 1e3).astype(np.float16)
        better = _core.Segment(offsets_of([query_tokens]), np.array([1]), best.view(np.uint16))
        _, numbers, report = search([segment, better], query, 1, exact=True)
        assert numbers == [1]
        lost = _core.error_bound(int(coded.errors[0])) * np.linalg.norm(query.astype(np.float64), axis=1).sum()
        assert report.bound >= lost * (1 - 1e-6)
        if query_tokens == 1:
            # A bound that is far above would be true and useless.
            assert report.bound <= lost * 1.2


def test_bounds_include_the_rounding_of_the_query(path: str) -> None:
    """One large component makes zeros of all others, which are half of what a document scores by."""
    dim, scale = 64, np.float32(0.0625)
    centroids = np.zeros((2, dim), np.int8)
    centroids[0, 1:], centroids[1, 0] = 10, 10
    vectors = (centroids * scale).astype(np.float16)
    coded = Coded(vectors, 4, count=2)
    coded.codebook, coded.ids = _core.Codebook(centroids, np.full(2, scale)), np.array([0, 1], np.int32)
    floats = vectors.astype(np.float32)
    _core.encode_residuals(coded.codebook, floats, coded.ids, 4, coded.residual_scales, coded.errors, coded.residuals)
    query = np.full((1, dim), 0.49, np.float32)
    query[0, 0] = 127
    scores = maxsim.score(query, [floats[:1], floats[1:]])
    segment = coded.put_into(_core.Segment(offsets_of([1, 1]), np.arange(2), None))
    scores_found, numbers, report = search([segment], query, 1, exact=True)
    assert numbers == [1]
    assert scores_found[0] == pytest.approx(scores[1], rel=1e-3)
    assert report.bound >= scores[0] > 19
    assert report.undecided == 0


def test_a_document_without_a_bound_is_scored() -> None:
    """A token whose error is unknown can be anything: only its vector decides."""
    rng = np.random.default_rng(5)
    vectors = values(rng, 60, 32, "unit")
    coded = Coded(vectors, 4, count=6, fitting=True)
    coded.errors[40] = 255
    coded.residuals[40] = ~coded.residuals[40]
    segment = coded.put_into(_core.Segment(offsets_of([1] * 60), np.arange(60), vectors.view(np.uint16)))
    _, numbers, _ = search([segment], vectors[40:41].astype(np.float32), 1, exact=True)
    assert numbers == [40]


@pytest.mark.parametrize("dim", [1024, 2048, 4096])
def test_bounds_leave_room_for_the_rounding_of_long_sums(path: str, dim: int) -> None:
    """Equal terms always round the same way, the worst case of fp32, on codes with almost no error."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        vector = np.full((1, dim), rng.uniform(0.01, 1)).astype(np.float16)
        query = np.full((1, dim), rng.uniform(0.5, 1), np.float32)
        coded = Coded(vector, 4, count=1, fitting=True)
        segment = coded.put_into(_core.Segment(offsets_of([1]), np.array([0]), None))
        better = _core.Segment(offsets_of([1]), np.array([1]), (vector * np.float16(2)).view(np.uint16))
        _, numbers, report = search([segment, better], query, 1, exact=True)
        assert numbers == [1]
        assert report.bound >= maxsim.score(query, [vector])[0]
