"""The residual stage scores each query token's best token by centroid plus residual, or its second best by centroid."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers.core_cases import Array, TokenCodes, offsets_of, random_tokens, search
from hypothesis import given, settings
from hypothesis import strategies as st

from serotine import _core, maxsim

PATHS = maxsim.capabilities().supported


def coded_segment(
    lengths: list[int], dim: int, bits: int, seed: int, *, uint32_ids: bool = False, max_spread: float = 0.0
) -> tuple[TokenCodes, _core.Segment]:
    vectors = random_tokens(np.random.default_rng(seed), sum(lengths), dim, "unit")
    codes = TokenCodes(
        vectors, bits, count=7, seed=seed, uint32_ids=uint32_ids, trained=sum(lengths) > 0, max_spread=max_spread
    )
    return codes, codes.attach_to(_core.Segment(offsets_of(lengths), np.arange(len(lengths)), None))


def residual_scores(query: Array, segment: _core.Segment, documents: int) -> Array:
    scores = np.empty(documents, np.float32)
    _core.residual_scores(query, segment, scores)
    return scores


def score_bounds(query: Array, codes: TokenCodes, segment: _core.Segment, lengths: list[int]) -> tuple[Array, Array]:
    """Return the lowest and highest scores of the stage: any token within the rounding of a byte may win.

    A token counts as its centroid plus the centroid's spread. The winner counts without the spread and with its
    residual; at least as much as the second, without three quarters of the winner's spread.
    """
    rows, scales = np.empty(codes.vectors.shape, np.int8), np.empty(len(codes.vectors), np.float32)
    _core.decode_residuals(segment, 0, rows, scales)
    rebuilt = query.astype(np.float64) @ (rows * scales[:, None].astype(np.float64)).T
    centroids = query.astype(np.float64) @ (codes.centroids * codes.scales[:, None].astype(np.float64)).T
    # Byte 0 is the mean of all centroids; lower similarities count as the mean.
    mean = centroids.mean(axis=1, keepdims=True)
    reach = (np.linalg.norm(codes.centroids * codes.scales[:, None], axis=1) + codes.spreads).max()
    norms = np.linalg.norm(query.astype(np.float64), axis=1, keepdims=True)
    step = float((norms * reach - mean).max()) / 255
    spreads = (norms * codes.spreads)[:, codes.ids]
    near = np.maximum(centroids[:, codes.ids] + spreads, mean)
    lowest, highest = [], []
    offsets = offsets_of(lengths)
    for first, last in itertools.pairwise(offsets):
        if first == last:
            lowest.append(-np.inf)
            highest.append(-np.inf)
            continue
        similarities = near[:, first:last]
        tops = similarities.max(axis=1, keepdims=True)
        # The best centroid's similarity, plus what the residual of a token near it adds.
        gains = tops - spreads[:, first:last] + rebuilt[:, first:last] - centroids[:, codes.ids[first:last]]
        seconds = np.sort(similarities, axis=1)[:, -2:-1] if last - first > 1 else np.full_like(tops, -np.inf)
        floors = seconds - 0.75 * spreads[:, first:last]
        winners = similarities >= tops - 2.5 * step
        # A second near the mean may count as the mean: it is then no floor.
        sure = np.where(seconds > mean + 2.5 * step, floors, -np.inf)
        lowest.append(float(np.where(winners, np.maximum(gains, sure), np.inf).min(axis=1).sum()))
        highest.append(float(np.where(winners, np.maximum(gains, floors), -np.inf).max(axis=1).sum()))
    # Rounding of the query to int8 and of centroids to bytes, and residuals that saturate when rebuilt.
    slack = len(query) * (step + 0.05)
    return np.array(lowest) - slack, np.array(highest) + slack


@given(
    lengths=st.lists(st.one_of(st.integers(0, 9), st.sampled_from([255, 256, 257, 600])), min_size=1, max_size=12),
    dim=st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 96, 128, 384])),
    bits=st.sampled_from([2, 4, 8]),
    query_tokens=st.sampled_from([1, 2, 15, 16, 17, 32, 33, 48, 70]),
    uint32_ids=st.booleans(),
    max_spread=st.sampled_from([0.0, 0.1, 0.5]),
    seed=st.integers(0, 50),
)
@settings(max_examples=120, deadline=None)
def test_scores_are_those_of_the_best_tokens_on_every_path(
    lengths: list[int], dim: int, bits: int, query_tokens: int, uint32_ids: bool, max_spread: float, seed: int
) -> None:
    codes, segment = coded_segment(lengths, dim, bits, seed, uint32_ids=uint32_ids, max_spread=max_spread)
    query = random_tokens(np.random.default_rng(seed + 1), query_tokens, dim, "unit").astype(np.float32)
    lowest, highest = score_bounds(query, codes, segment, lengths)
    by_path = {}
    try:
        for path in PATHS:
            maxsim.use(path)
            by_path[path] = residual_scores(query, segment, len(lengths))
    finally:
        maxsim.use("auto")
    for scores in by_path.values():
        assert (scores >= lowest).all()
        assert (scores <= highest).all()
        np.testing.assert_allclose(scores, by_path[PATHS[0]], rtol=1e-5, atol=1e-5)


def test_the_first_of_equal_tokens_wins_in_a_long_document() -> None:
    """Positions are bytes, in blocks of 256 tokens; the best token lies far behind the first block."""
    dim, length = 16, 1000
    centroids = np.zeros((2, dim), np.int8)
    centroids[0, 1], centroids[1, 0] = 90, 90
    vectors = np.zeros((length, dim), np.float16)
    vectors[:, 1] = 0.9
    for position, extra in ((700, 0.03), (701, 0.09), (900, 0.06)):
        vectors[position] = 0.0
        vectors[position, 0] = 0.9 + extra
    codes = TokenCodes(vectors, 4, count=2)
    scales = np.full(2, 0.01, np.float32)
    codes.codebook, codes.ids = _core.Codebook(centroids, scales), (vectors[:, 0] > 0).astype(np.int32)
    floats = vectors.astype(np.float32)
    _core.encode_residuals(codes.codebook, floats, codes.ids, 4, codes.residual_scales, codes.errors, codes.residuals)
    segment = codes.attach_to(_core.Segment(offsets_of([length]), np.arange(1), None))
    query = np.eye(1, dim, dtype=np.float32)
    try:
        for path in PATHS:
            maxsim.use(path)
            # All three have the same centroid: the first wins, though the residual of the second is larger.
            assert residual_scores(query, segment, 1)[0] == pytest.approx(0.93, abs=0.012)
    finally:
        maxsim.use("auto")


@pytest.mark.parametrize("documents", [1, 20])
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_the_second_best_token_is_a_floor(documents: int, spread: float) -> None:
    """The residual takes the best token below the centroid of the second: that counts, without most of the spread."""
    dim, similarities = 16, (0.9, 0.7)
    centroids = np.zeros((3, dim), np.int8)
    centroids[0, 0], centroids[1, 0], centroids[2, 0] = 90, 70, -90
    codes = TokenCodes(np.zeros((2 * documents, dim), np.float16), 4, count=3)
    codes.codebook = _core.Codebook(centroids, np.full(3, 0.01, np.float32), np.full(3, spread, np.float32))
    codes.ids = np.array([0, 1] * documents, np.int32)
    # Both documents' tokens are at 0.5 and 0.7: the residual of the first is -0.4, beyond the centroid of the second.
    floats = np.zeros((2 * documents, dim), np.float32)
    floats[::2, 0], floats[1::2, 0] = 0.5, 0.7
    _core.encode_residuals(codes.codebook, floats, codes.ids, 4, codes.residual_scales, codes.errors, codes.residuals)
    query = np.eye(1, dim, dtype=np.float32)
    both = codes.attach_to(_core.Segment(offsets_of([2] * documents), np.arange(documents), None))
    alone = codes.attach_to(_core.Segment(offsets_of([1] * 2 * documents), np.arange(2 * documents), None))
    try:
        for path in PATHS:
            maxsim.use(path)
            expected = similarities[1] + spread / 4
            np.testing.assert_allclose(residual_scores(query, both, documents), expected, atol=0.012)
            # A token alone has no second.
            np.testing.assert_allclose(residual_scores(query, alone, 2 * documents)[::2], 0.5, atol=0.03)
    finally:
        maxsim.use("auto")


def test_of_equal_centroids_the_wider_ranks_first(path: str) -> None:
    """The best of its tokens may lie further from it."""
    vectors = np.zeros((40, 16), np.float16)
    vectors[:, 0] = 0.8
    codes = TokenCodes(vectors, 4, count=40)
    centroids = np.zeros((40, 16), np.int8)
    centroids[:, 0] = 80
    codes.ids = np.arange(40, dtype=np.int32)
    for wide in (0, 7, 39):
        spreads = np.full(40, 0.05, np.float32)
        spreads[wide] = 0.1
        codes.codebook = _core.Codebook(centroids, np.full(40, 0.01, np.float32), spreads)
        segment = codes.attach_to(_core.Segment(offsets_of([1] * 40), np.arange(40), vectors.view(np.uint16)))
        query = np.eye(1, 16, dtype=np.float32)
        assert search([segment], query, 1, refined=1, candidates=1, rescored=1)[1] == [wide]


def test_residuals_separate_documents_that_share_centroids() -> None:
    """The documents share one centroid, so the residuals must select the few candidates for the codes."""
    rng = np.random.default_rng(3)
    dim, documents = 64, 400
    center = rng.standard_normal(dim)
    center /= np.linalg.norm(center)
    vectors = (center + 0.25 * rng.standard_normal((documents, dim)) / 8).astype(np.float16)
    codes = TokenCodes(vectors, 4, count=1)
    codes.codebook = _core.Codebook(
        np.rint(center[None] / np.abs(center).max() * 100).astype(np.int8),
        np.full(1, np.abs(center).max() / 100, np.float32),
    )
    _core.encode_residuals(
        codes.codebook,
        vectors.astype(np.float32),
        codes.ids * 0,
        4,
        codes.residual_scales,
        codes.errors,
        codes.residuals,
    )
    codes.ids[:] = 0
    offsets = offsets_of([1] * documents)
    segment = codes.attach_to(_core.Segment(offsets, np.arange(documents), vectors.view(np.uint16)))
    correct = 0
    for seed in range(20):
        query = (center + np.random.default_rng(seed).standard_normal((2, dim)) / 4).astype(np.float32)
        exact_scores = maxsim.score(query, [vectors[a:b] for a, b in itertools.pairwise(offsets)])
        _, numbers, report = search([segment], query, 1, refined=documents, candidates=20, rescored=20)
        assert (report.by_residuals, report.by_codes) == (documents, 20)
        correct += numbers == [int(np.argmax(exact_scores))]
    # Without the stage, the 20 of 400 that reach the codes would be random, and 1 of 20 correct.
    assert correct >= 15


def test_invalid_shapes_raise() -> None:
    _, segment = coded_segment([2, 3], 8, 4, 0)
    with pytest.raises(ValueError, match="dimensions differ"):
        _core.residual_scores(np.zeros((1, 9), np.float32), segment, np.empty(2, np.float32))
    with pytest.raises(ValueError, match="one score per document"):
        _core.residual_scores(np.zeros((1, 8), np.float32), segment, np.empty(3, np.float32))
    bare = _core.Segment(offsets_of([1]), np.arange(1), np.zeros((1, 8), np.uint16))
    with pytest.raises(ValueError, match="no codes"):
        _core.residual_scores(np.zeros((1, 8), np.float32), bare, np.empty(1, np.float32))
