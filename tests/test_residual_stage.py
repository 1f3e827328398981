"""The residual stage: centroid plus residual of each query token's best token, on every instruction set."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers.core_cases import Array, Coded, offsets_of, search, values
from hypothesis import given, settings
from hypothesis import strategies as st

from serotine import _core, maxsim

PATHS = maxsim.capabilities().supported


def coded(
    lengths: list[int], dim: int, bits: int, seed: int, *, uint32_ids: bool = False
) -> tuple[Coded, _core.Segment]:
    vectors = values(np.random.default_rng(seed), sum(lengths), dim, "unit")
    codes = Coded(vectors, bits, count=7, seed=seed, uint32_ids=uint32_ids, fitting=sum(lengths) > 0)
    return codes, codes.put_into(_core.Segment(offsets_of(lengths), np.arange(len(lengths)), None))


def scored(query: Array, segment: _core.Segment, documents: int) -> Array:
    scores = np.empty(documents, np.float32)
    _core.residual_scores(query, segment, scores)
    return scores


def possible(query: Array, codes: Coded, segment: _core.Segment, lengths: list[int]) -> tuple[Array, Array]:
    """Return the lowest and highest score of the stage: any token may win within the rounding of a byte."""
    rows, scales = np.empty(codes.vectors.shape, np.int8), np.empty(len(codes.vectors), np.float32)
    _core.decode_residuals(segment, 0, rows, scales)
    rebuilt = query.astype(np.float64) @ (rows * scales[:, None].astype(np.float64)).T
    centroids = query.astype(np.float64) @ (codes.centroids * codes.scales[:, None].astype(np.float64)).T
    # Bytes begin at the mean of all centroids; what lies below counts as that.
    mean = centroids.mean(axis=1, keepdims=True)
    ranges = np.linalg.norm(query, axis=1) * np.linalg.norm(codes.centroids * codes.scales[:, None], axis=1).max()
    step = float((ranges[:, None] - mean).max()) / 255
    near = np.maximum(centroids, mean)[:, codes.ids]
    lowest, highest = [], []
    offsets = offsets_of(lengths)
    for first, last in itertools.pairwise(offsets):
        if first == last:
            lowest.append(-np.inf)
            highest.append(-np.inf)
            continue
        values_, tops = near[:, first:last], near[:, first:last].max(axis=1, keepdims=True)
        # The best centroid, plus what the residual of a token near it adds.
        gains = tops + rebuilt[:, first:last] - centroids[:, codes.ids[first:last]]
        chosen = values_ >= tops - 2.5 * step
        lowest.append(float(np.where(chosen, gains, np.inf).min(axis=1).sum()))
        highest.append(float(np.where(chosen, gains, -np.inf).max(axis=1).sum()))
    # The query in int8, a centroid in a byte; and residuals that saturate when they are rebuilt.
    slack = len(query) * (step + 0.05)
    return np.array(lowest) - slack, np.array(highest) + slack


@given(
    lengths=st.lists(st.one_of(st.integers(0, 9), st.sampled_from([255, 256, 257, 600])), min_size=1, max_size=12),
    dim=st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 96, 128, 384])),
    bits=st.sampled_from([2, 4, 8]),
    query_tokens=st.sampled_from([1, 2, 15, 16, 17, 32, 33, 48, 70]),
    uint32_ids=st.booleans(),
    seed=st.integers(0, 50),
)
@settings(max_examples=120, deadline=None)
def test_scores_are_of_the_best_tokens_on_every_path(
    lengths: list[int], dim: int, bits: int, query_tokens: int, uint32_ids: bool, seed: int
) -> None:
    codes, segment = coded(lengths, dim, bits, seed, uint32_ids=uint32_ids)
    query = values(np.random.default_rng(seed + 1), query_tokens, dim, "unit").astype(np.float32)
    lowest, highest = possible(query, codes, segment, lengths)
    by_path = {}
    try:
        for path in PATHS:
            maxsim.use(path)
            by_path[path] = scored(query, segment, len(lengths))
    finally:
        maxsim.use("auto")
    for scores in by_path.values():
        assert (scores >= lowest).all()
        assert (scores <= highest).all()
        np.testing.assert_allclose(scores, by_path[PATHS[0]], rtol=1e-5, atol=1e-5)


def test_the_first_of_equal_tokens_wins_in_a_long_document() -> None:
    """Positions are bytes, in blocks of 256 tokens: the best token is far behind the first block."""
    dim, length = 16, 1000
    centroids = np.zeros((2, dim), np.int8)
    centroids[0, 1], centroids[1, 0] = 90, 90
    vectors = np.zeros((length, dim), np.float16)
    vectors[:, 1] = 0.9
    for place, more in ((700, 0.03), (701, 0.09), (900, 0.06)):
        vectors[place] = 0.0
        vectors[place, 0] = 0.9 + more
    codes = Coded(vectors, 4, count=2)
    scales = np.full(2, 0.01, np.float32)
    codes.codebook, codes.ids = _core.Codebook(centroids, scales), (vectors[:, 0] > 0).astype(np.int32)
    floats = vectors.astype(np.float32)
    _core.encode_residuals(codes.codebook, floats, codes.ids, 4, codes.residual_scales, codes.errors, codes.residuals)
    segment = codes.put_into(_core.Segment(offsets_of([length]), np.arange(1), None))
    query = np.eye(1, dim, dtype=np.float32)
    try:
        for path in PATHS:
            maxsim.use(path)
            # All three have the same centroid: the first is taken, though the residual of the second is larger.
            assert scored(query, segment, 1)[0] == pytest.approx(0.93, abs=0.012)
    finally:
        maxsim.use("auto")


def test_residuals_separate_documents_that_share_centroids() -> None:
    """The documents share all centroids: with few candidates for the codes, the residuals must select the best."""
    rng = np.random.default_rng(3)
    dim, documents = 64, 400
    centre = rng.standard_normal(dim)
    centre /= np.linalg.norm(centre)
    vectors = (centre + 0.25 * rng.standard_normal((documents, dim)) / 8).astype(np.float16)
    codes = Coded(vectors, 4, count=1)
    codes.codebook = _core.Codebook(
        np.rint(centre[None] / np.abs(centre).max() * 100).astype(np.int8),
        np.full(1, np.abs(centre).max() / 100, np.float32),
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
    segment = codes.put_into(_core.Segment(offsets, np.arange(documents), vectors.view(np.uint16)))
    best_found = 0
    for seed in range(20):
        query = (centre + np.random.default_rng(seed).standard_normal((2, dim)) / 4).astype(np.float32)
        truth = maxsim.score(query, [vectors[a:b] for a, b in itertools.pairwise(offsets)])
        _, numbers, report = search([segment], query, 1, refined=documents, candidates=20, rescored=20)
        assert (report.by_residuals, report.by_codes) == (documents, 20)
        best_found += numbers == [int(np.argmax(truth))]
    # Without the stage, which 20 of 400 reach the codes would be chance: one in twenty.
    assert best_found >= 15


def test_wrong_shapes_raise() -> None:
    _, segment = coded([2, 3], 8, 4, 0)
    with pytest.raises(ValueError, match="dimensions differ"):
        _core.residual_scores(np.zeros((1, 9), np.float32), segment, np.empty(2, np.float32))
    with pytest.raises(ValueError, match="one score per document"):
        _core.residual_scores(np.zeros((1, 8), np.float32), segment, np.empty(3, np.float32))
    bare = _core.Segment(offsets_of([1]), np.arange(1), np.zeros((1, 8), np.uint16))
    with pytest.raises(ValueError, match="no codes"):
        _core.residual_scores(np.zeros((1, 8), np.float32), bare, np.empty(1, np.float32))
