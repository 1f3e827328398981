"""XTR's search in the compiled core: against the reference over rebuilt tokens, on every instruction set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from helpers.codec_reference import decode
from helpers.core_cases import Array, TokenCodes, mask_of, offsets_of, random_tokens, search
from hypothesis import given, settings
from hypothesis import strategies as st

from serotine import _core, maxsim
from serotine.maxsim import reference

PATHS = maxsim.capabilities().supported
# Tokens that are read for each that is retrieved, at least: below, every token of a small segment is.
READ_PER_RETRIEVED = 4


@pytest.fixture
def threads() -> Iterator[None]:
    previous = maxsim.num_threads()
    yield
    maxsim.set_num_threads(previous)


def exact_query(rng: np.random.Generator, tokens: int, dim: int) -> Array:
    """Return query tokens that int8 holds exactly."""
    levels = rng.integers(-127, 128, (tokens, dim))
    levels[:, 0] = 127
    return (levels / 512).astype(np.float32)


def rebuilt(codes: TokenCodes) -> Array:
    """Return centroid plus residual of every token; their sum does not saturate here."""
    residuals = decode(np.zeros(codes.vectors.shape, np.int8), codes.residual_scales, codes.residuals, codes.bits)
    return (codes.centroids[codes.ids].astype(np.float64) + residuals) * codes.scales[codes.ids][:, None]


def expected_ranking(query: Array, documents: list[Array], numbers: list[int], k_token: int) -> list[tuple[float, int]]:
    scores = reference.xtr(query, documents, k_token, impute=True) * len(query)
    products = [query.astype(np.float64) @ np.asarray(document, np.float64).T for document in documents]
    least = np.sort(np.concatenate(products, axis=1), axis=1)[:, ::-1][:, : min(k_token, sum(map(len, documents)))][
        :, -1
    ]
    retrieved = [bool((matrix >= least[:, None]).any()) for matrix in products]
    ranked = [(score, number) for score, number, there in zip(scores, numbers, retrieved, strict=True) if there]
    return sorted(ranked, key=lambda pair: (-pair[0], pair[1]))


@given(
    lengths=st.lists(st.one_of(st.integers(0, 9), st.just(70)), min_size=3, max_size=12).filter(lambda n: sum(n) > 8),
    dim=st.sampled_from([1, 7, 31, 64, 96, 129]),
    bits=st.sampled_from([2, 4, 8]),
    query_tokens=st.sampled_from([1, 2, 15, 16, 17, 33]),
    uint32_ids=st.booleans(),
    flat=st.booleans(),
    filtered=st.booleans(),
    postings=st.booleans(),
    few=st.booleans(),
    seed=st.integers(0, 50),
)
@settings(max_examples=25, deadline=None)
def test_hits_equal_the_reference_on_every_path(
    lengths: list[int],
    dim: int,
    bits: int,
    query_tokens: int,
    uint32_ids: bool,
    flat: bool,
    filtered: bool,
    postings: bool,
    few: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    cut = len(lengths) // 2 if flat else len(lengths)
    offsets, vectors = offsets_of(lengths[:cut]), random_tokens(rng, sum(lengths[:cut]), dim, "unit")
    codes = TokenCodes(vectors, bits, count=5, seed=seed, uint32_ids=uint32_ids, max_spread=0.1)
    segments = [codes.attach_to(_core.Segment(offsets, np.arange(cut), None))]
    if postings:
        codes.attach_postings_to(segments[0], offsets)
    tokens = np.split(rebuilt(codes), offsets[1:-1]) if cut else []
    if flat:
        head = random_tokens(rng, sum(lengths[cut:]), dim, "unit")
        head_offsets = offsets_of(lengths[cut:])
        segments.append(_core.Segment(head_offsets, np.arange(cut, len(lengths)), head.view(np.uint16)))
        tokens += np.split(head.astype(np.float64), head_offsets[1:-1])
    keep = rng.random(len(lengths)) < 0.7 if filtered else np.ones(len(lengths), bool)
    masks = [mask_of(keep[:cut]), mask_of(keep[cut:])][: len(segments)] if filtered else [None] * len(segments)
    allowed = [i for i in range(len(lengths)) if keep[i]]
    query = exact_query(rng, query_tokens, dim)
    total = sum(lengths[i] for i in allowed)
    k_token = max(total // READ_PER_RETRIEVED + 1, 1) if few else 10**6
    expected = expected_ranking(query, [tokens[i] for i in allowed], allowed, k_token) if total else []
    by_path = {}
    try:
        for path in PATHS:
            maxsim.use(path)
            by_path[path] = search(segments, query, len(lengths), masks=masks, k_token=k_token)
    finally:
        maxsim.use("auto")
    for scores, numbers, report in by_path.values():
        assert len(set(numbers)) == len(numbers)
        assert set(numbers) <= set(allowed)
        # A token at the threshold may be retrieved or not: its document then has imputed scores only.
        by_number = dict(zip(numbers, scores, strict=True))
        for score, number in expected:
            lowest = min(score for score, _ in expected)
            assert by_number.get(number, lowest) == pytest.approx(score, abs=2e-3 if number not in by_number else 1e-4)
        np.testing.assert_allclose(scores[:1], [score for score, _ in expected[:1]], atol=1e-4)
        assert report.by_codes == 0
        assert report.by_vectors == (sum(keep[cut:]) if flat else 0)


def test_the_nearest_tokens_are_read(path: str) -> None:
    """Of many tokens only those of the nearest centroids are read, and these hold nearly all of the best."""
    rng = np.random.default_rng(3)
    centers = rng.standard_normal((64, 32))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    of_token = rng.integers(0, 64, 6000).astype(np.int32)
    vectors = (centers[of_token] + 0.07 * rng.standard_normal((6000, 32))).astype(np.float16)
    codes = TokenCodes(vectors, 4, count=64)
    codes.centroids, codes.ids = np.rint(centers / codes.scales[0]).astype(np.int8), of_token
    codes.codebook = _core.Codebook(codes.centroids, codes.scales, np.full(64, 0.07, np.float32))
    floats = vectors.astype(np.float32)
    _core.encode_residuals(codes.codebook, floats, codes.ids, 4, codes.residual_scales, codes.errors, codes.residuals)
    offsets = offsets_of([20] * 300)
    tokens = rebuilt(codes)
    shares = []
    for postings in (False, True):
        segment = codes.attach_to(_core.Segment(offsets, np.arange(300), None))
        if postings:
            codes.attach_postings_to(segment, offsets)
        for seed in range(10):
            query = vectors[np.random.default_rng(seed).integers(0, 6000, 8)].astype(np.float32)
            _, numbers, report = search([segment], query, 10, k_token=50)
            assert 50 <= report.tokens < 6000
            similarities = query.astype(np.float64) @ tokens.T
            least = np.partition(similarities, -50, axis=1)[:, -50]
            best = np.maximum.reduceat(similarities, offsets[:-1], axis=1)
            scores = np.maximum(best, least[:, None]).sum(axis=0)
            shares.append(len(set(np.argsort(-scores)[:10].tolist()) & set(numbers)) / 10)
    assert np.mean(shares) > 0.9


@pytest.mark.usefixtures("threads")
def test_threads_batches_and_segments_do_not_change_scores() -> None:
    rng = np.random.default_rng(5)
    vectors = random_tokens(rng, 9000, 24, "unit")
    codes = TokenCodes(vectors, 4, count=16, trained=True)
    offsets = offsets_of([3] * 3000)
    segment = codes.attach_to(_core.Segment(offsets, np.arange(3000), None))
    queries = random_tokens(rng, 30, 24, "unit").astype(np.float32)
    expected = [search([segment], query, 20, k_token=300)[:2] for query in np.split(queries, 3)]
    options = _core.SearchOptions(k=20, refined=0, candidates=0, rescored=0, postings=0, exact=False, k_token=300)
    for count in (1, 2, 5):
        maxsim.set_num_threads(count)
        batch = _core.search(queries, np.array([0, 10, 20, 30]), [segment], [None], options)
        assert [(result.scores, result.numbers) for result in batch] == expected
        assert search([segment], queries[:10], 20, k_token=300)[:2] == expected[0]


def test_a_long_document_and_a_query_without_tokens(path: str) -> None:
    vectors = random_tokens(np.random.default_rng(1), 70_000, 8, "unit")
    codes = TokenCodes(vectors, 4, count=3)
    segment = codes.attach_to(_core.Segment(offsets_of([1, 69_998, 0, 1]), np.arange(4), None))
    query = exact_query(np.random.default_rng(2), 2, 8)
    scores, numbers, _ = search([segment], query, 4, k_token=70_000)
    assert numbers[0] == 1
    assert sorted(numbers) == [0, 1, 3]
    best = (query.astype(np.float64) @ rebuilt(codes)[1:-1].T).max(axis=1).sum()
    assert scores[0] == pytest.approx(best, abs=1e-4)
    assert search([segment], query[:0], 4, k_token=5)[:2] == ([], [])
    assert search([], query, 4, k_token=5)[:2] == ([], [])


def test_invalid_options_are_refused() -> None:
    counts = {"k": 1, "refined": 0, "candidates": 0, "rescored": 0, "postings": 0}
    with pytest.raises(ValueError, match="an exact search has no k_token"):
        _core.SearchOptions(**counts, exact=True, k_token=1)
    with pytest.raises(ValueError, match="k_token must be at most 2 to the 40th"):
        _core.SearchOptions(**counts, exact=False, k_token=2**40 + 1)
    assert _core.SearchOptions(**counts, exact=False, k_token=3).k_token == 3
