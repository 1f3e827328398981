"""The exact search of the compiled core: brute force, bounds and certificates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.core_cases import CoreCase, TokenCodes, mask_of, offsets_of, random_tokens, search
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import _core, maxsim

PATHS = maxsim.capabilities().supported
LENGTHS = st.lists(st.integers(0, 9), min_size=0, max_size=40)


@given(
    lengths=LENGTHS,
    dim=st.one_of(st.integers(1, 40), st.sampled_from([48, 63, 64, 65, 96, 128])),
    kind=st.sampled_from(["unit", "plain", "ties", "huge", "negative", "mixed", "constant"]),
    bits=st.sampled_from([2, 4, 8]),
    k=st.integers(1, 50),
    query_tokens=st.one_of(st.integers(0, 9), st.sampled_from([15, 16, 17, 31, 32, 33, 48, 64, 70])),
    with_postings=st.booleans(),
    seed=st.integers(0, 20),
    path=st.sampled_from(PATHS),
)
@settings(max_examples=600, deadline=None)
def test_an_exact_search_equals_brute_force(
    lengths: list[int],
    dim: int,
    kind: str,
    bits: int,
    k: int,
    query_tokens: int,
    with_postings: bool,
    seed: int,
    path: str,
) -> None:
    maxsim.use(path)
    case = CoreCase(lengths, dim, kind, seed, bits=bits, query_tokens=query_tokens, with_postings=with_postings)
    try:
        exact_ranking = case.exact_ranking()
        scores, numbers, report = search(case.segments, case.query, k, exact=True)
        assert list(zip(scores, numbers, strict=True)) == exact_ranking[:k]
        # The certificate's bound is at least every other score, and at most the last hit's.
        if len(exact_ranking) > k:
            assert report.bound >= exact_ranking[k][0]
            assert report.bound <= exact_ranking[k - 1][0]
        assert report.undecided == 0
        # A staged search whose limits admit every document returns the same.
        staged = search(case.segments, case.query, k, candidates=1000, rescored=1000)
        assert list(zip(staged[0], staged[1], strict=True)) == exact_ranking[:k]
        # The smallest limits give as many hits, with exact scores, best first.
        scores, numbers, _ = search(case.segments, case.query, k, candidates=1, rescored=1, postings=1)
        assert len(set(numbers)) == min(k, len(exact_ranking))
        hits = list(zip(scores, numbers, strict=True))
        assert set(hits) <= set(exact_ranking)
        assert hits == sorted(hits, key=lambda pair: (-pair[0], pair[1]))
    finally:
        maxsim.use("auto")


@given(
    lengths=LENGTHS, dim=st.integers(1, 70), seed=st.integers(0, 20), k=st.integers(1, 50), with_postings=st.booleans(),
    data=st.data(),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_masks_restrict_the_hits(
    lengths: list[int], dim: int, seed: int, k: int, with_postings: bool, data: Any
) -> None:
    case = CoreCase(lengths, dim, "unit", seed, with_postings=with_postings)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))), dtype=bool)
    allowed = [mask_of(keep[documents]) for documents in case.ranges]
    exact_ranking = case.exact_ranking(keep)
    for options in ({"exact": True}, {"candidates": 1000, "rescored": 1000}):
        scores, numbers, _ = search(case.segments, case.query, k, masks=list(allowed), **options)
        assert list(zip(scores, numbers, strict=True)) == exact_ranking[:k]
    # Small limits give as many hits, all allowed, with exact scores.
    scores, numbers, _ = search(case.segments, case.query, k, masks=list(allowed), candidates=1, rescored=1)
    assert len(numbers) == min(k, len(exact_ranking))
    assert set(zip(scores, numbers, strict=True)) <= set(exact_ranking)


@given(
    lengths=LENGTHS,
    dim=st.one_of(st.integers(1, 70), st.sampled_from([48, 64, 72, 96, 127, 128, 160, 200, 384])),
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
        exact_ranking = case.exact_ranking()
        k = max(1, len(lengths) // 3)
        _, numbers, report = search(case.segments, case.query, k, exact=True)
    finally:
        maxsim.use("auto")
    assert len(numbers) == min(k, len(exact_ranking))
    outside = [score for score, number in exact_ranking if number not in numbers]
    if outside:
        assert report.bound >= max(outside)
    if report.undecided == 0 and outside:
        assert min(score for score, number in exact_ranking if number in numbers) >= max(outside)


def separated_documents(dim: int, bits: int) -> tuple[_core.Segment, NDArray[np.float32], list[int], TokenCodes]:
    """Return a segment of one-token documents, a query, the document numbers best first, and the codes."""
    rng = np.random.default_rng(dim)
    direction = np.abs(rng.standard_normal(dim))
    sizes = rng.permutation(np.linspace(0.1, 1.0, 10))
    vectors = (sizes[:, None] * direction / np.linalg.norm(direction)).astype(np.float16)
    codes = TokenCodes(vectors, bits, count=10, trained=True)
    segment = codes.attach_to(_core.Segment(offsets_of([1] * 10), np.arange(10), None))
    return segment, direction[None].astype(np.float32), np.argsort(-sizes).tolist(), codes


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_bounds_of_codes_can_prove_a_result(path: str, bits: int) -> None:
    """A result is proved without vectors where the codes have bounds, and not proved where they have none."""
    segment, query, order, codes = separated_documents(64, bits)
    for k in (1, 3, 9):
        _, numbers, report = search([segment], query, k, exact=True)
        assert numbers == order[:k]
        assert report.undecided == 0
    codes.errors[:] = 255
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
        codes = TokenCodes(np.zeros((query_tokens, dim), np.float16), 4, count=1)
        # Every token is rebuilt as zeros.
        codes.codebook = _core.Codebook(np.zeros((1, dim), np.int8), np.ones(1, np.float32))
        codes.residual_scales[:], codes.max_norm = 0, 0.0
        codes.errors[:] = rng.integers(100, 156)
        segment = codes.attach_to(_core.Segment(offsets_of([query_tokens]), np.array([0]), None))
        best_tokens = (query * 1e3).astype(np.float16)
        better_segment = _core.Segment(offsets_of([query_tokens]), np.array([1]), best_tokens.view(np.uint16))
        _, numbers, report = search([segment, better_segment], query, 1, exact=True)
        assert numbers == [1]
        error = _core.error_bound(int(codes.errors[0])) * np.linalg.norm(query.astype(np.float64), axis=1).sum()
        assert report.bound >= error * (1 - 1e-6)
        if query_tokens == 1:
            # A bound far above the error would hold but be useless.
            assert report.bound <= error * 1.2


def test_bounds_include_the_rounding_of_the_query(path: str) -> None:
    """One large component rounds all others of the query to zero, which give a document half of its score."""
    dim, scale = 64, np.float32(0.0625)
    centroids = np.zeros((2, dim), np.int8)
    centroids[0, 1:], centroids[1, 0] = 10, 10
    vectors = (centroids * scale).astype(np.float16)
    codes = TokenCodes(vectors, 4, count=2)
    codes.codebook, codes.ids = _core.Codebook(centroids, np.full(2, scale)), np.array([0, 1], np.int32)
    floats = vectors.astype(np.float32)
    _core.encode_residuals(codes.codebook, floats, codes.ids, 4, codes.residual_scales, codes.errors, codes.residuals)
    query = np.full((1, dim), 0.49, np.float32)
    query[0, 0] = 127
    scores = maxsim.score(query, [floats[:1], floats[1:]])
    segment = codes.attach_to(_core.Segment(offsets_of([1, 1]), np.arange(2), None))
    hit_scores, numbers, report = search([segment], query, 1, exact=True)
    assert numbers == [1]
    assert hit_scores[0] == pytest.approx(scores[1], rel=1e-3)
    assert report.bound >= scores[0] > 19
    assert report.undecided == 0


def test_a_document_without_a_bound_is_scored() -> None:
    """A token without an error bound may be any vector: only its float16 vector decides."""
    rng = np.random.default_rng(5)
    vectors = random_tokens(rng, 60, 32, "unit")
    codes = TokenCodes(vectors, 4, count=6, trained=True)
    codes.errors[40] = 255
    codes.residuals[40] = ~codes.residuals[40]
    segment = codes.attach_to(_core.Segment(offsets_of([1] * 60), np.arange(60), vectors.view(np.uint16)))
    _, numbers, _ = search([segment], vectors[40:41].astype(np.float32), 1, exact=True)
    assert numbers == [40]


@pytest.mark.parametrize("dim", [1024, 2048, 4096])
def test_bounds_include_the_rounding_of_long_sums(path: str, dim: int) -> None:
    """Equal terms all round in one direction, the worst case of fp32, on codes with almost no error."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        vector = np.full((1, dim), rng.uniform(0.01, 1)).astype(np.float16)
        query = np.full((1, dim), rng.uniform(0.5, 1), np.float32)
        codes = TokenCodes(vector, 4, count=1, trained=True)
        segment = codes.attach_to(_core.Segment(offsets_of([1]), np.array([0]), None))
        better_segment = _core.Segment(offsets_of([1]), np.array([1]), (vector * np.float16(2)).view(np.uint16))
        _, numbers, report = search([segment, better_segment], query, 1, exact=True)
        assert numbers == [1]
        assert report.bound >= maxsim.score(query, [vector])[0]
