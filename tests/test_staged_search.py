"""The staged search of the compiled core: scanning, probing, stages and threads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.core_cases import CoreCase, TokenCodes, mask_of, offsets_of, options_of, random_tokens, search
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import _core, maxsim

PATHS = maxsim.capabilities().supported
LENGTHS = st.lists(st.integers(0, 9), min_size=0, max_size=40)


@pytest.fixture
def threads() -> Iterator[None]:
    previous = maxsim.num_threads()
    yield
    maxsim.set_num_threads(previous)


def postings_of(codes: TokenCodes, offsets: NDArray[np.int64], centroids: int) -> tuple[NDArray[np.uint64], list[int]]:
    lists: list[list[int]] = [[] for _ in range(centroids)]
    for document in range(offsets.size - 1):
        for id_ in np.unique(codes.ids[offsets[document] : offsets[document + 1]]):
            lists[id_].append(document)
    starts = np.concatenate([[0], np.cumsum([len(documents) for documents in lists])]).astype(np.uint64)
    return starts, [document for documents in lists for document in documents]


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=60), uint32_ids=st.booleans(), seed=st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_posting_lists_and_probing(lengths: list[int], uint32_ids: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, offsets = random_tokens(rng, sum(lengths), 16, "unit"), offsets_of(lengths)
    codes = TokenCodes(vectors, 4, count=12, seed=seed, uint32_ids=uint32_ids)
    segment = codes.attach_to(_core.Segment(offsets, np.arange(len(lengths)), vectors.view(np.uint16)))
    starts = np.empty(13, np.uint64)
    postings = _core.make_postings(codes.id_bytes, offsets, starts)
    expected_starts, expected_postings = postings_of(codes, offsets, 12)
    np.testing.assert_array_equal(starts, expected_starts)
    np.testing.assert_array_equal(postings, expected_postings)
    query = random_tokens(rng, 4, 16, "unit").astype(np.float32)
    # As many for the residuals as for the codes, so that residuals do not reorder what the centroids rank.
    options = {"refined": 3, "candidates": 3, "rescored": 3}
    scanned = search([segment], query, 3, **options)
    segment.set_postings(starts, postings)
    # With every list of every query token, all documents with tokens are scored, as in a scan.
    probed = search([segment], query, 3, postings=10**6, **options)
    if probed[2].probed:
        assert probed[:2] == scanned[:2]
        one_posting = search([segment], query, 3, postings=1, **options)
        assert len(one_posting[1]) == min(3, len(lengths))


def test_small_segments_lose_no_documents_beside_a_large_one() -> None:
    """Segments with fewer documents than candidates: every document dropped or passed on has a score."""
    rng = np.random.default_rng(0)
    segments, vectors = [], []
    for first, count in ((0, 900), (1000, 30), (2000, 3)):
        vectors.append(random_tokens(rng, count, 32, "unit"))
        codes = TokenCodes(vectors[-1], 4, count=min(count, 64), trained=True)
        segment = _core.Segment(offsets_of([1] * count), np.arange(first, first + count), vectors[-1].view(np.uint16))
        segments.append(codes.attach_to(segment))
    for segment_vectors, first in zip(vectors, (0, 1000, 2000), strict=True):
        for position in range(3):
            query = segment_vectors[position : position + 1].astype(np.float32)
            _, numbers, report = search(segments, query, 1, candidates=100, rescored=10)
            assert numbers == [first + position]
            assert report.by_codes == 100
    assert not report.direct
    # Where all segments together have no more documents than candidates, all are scored by codes, skipping centroids.
    _, _, report = search(segments, query, 1, candidates=933)
    assert report.direct
    assert (report.by_centroids, report.by_codes) == (0, 933)
    # The number of documents that pass the filter decides.
    keep = [mask_of(np.arange(len(segment_vectors)) < 20) for segment_vectors in vectors]
    _, numbers, report = search(segments, query, 1, candidates=43, masks=keep)
    assert report.direct
    assert numbers == [2002]


def test_stages_find_most_of_the_exact_hits() -> None:
    """On clustered tokens small limits find nearly all exact hits, by scanning and by probing."""
    rng = np.random.default_rng(8)
    centers = random_tokens(rng, 60, 48, "unit").astype(np.float64)
    tokens = centers[rng.integers(0, 60, 5000)] + 0.1 * rng.standard_normal((5000, 48))
    vectors = (tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float16)
    offsets = offsets_of([5] * 1000)
    codes = TokenCodes(vectors, 4, count=120, trained=True)
    segment = codes.attach_to(_core.Segment(offsets, np.arange(1000), vectors.view(np.uint16)))
    queries = [vectors[start : start + 4].astype(np.float32) for start in range(0, 1500, 50)]
    for with_postings in (False, True):
        if with_postings:
            codes.attach_postings_to(segment, offsets)
        matching_hits = 0
        for query in queries:
            exact_hits = search([segment], query, 10, exact=True)[1]
            _, numbers, report = search([segment], query, 10, candidates=150, rescored=20, postings=1300)
            assert report.probed is with_postings
            assert report.by_codes == 150
            matching_hits += len(set(exact_hits) & set(numbers))
        assert matching_hits >= 0.95 * 10 * len(queries)


@pytest.mark.parametrize("tokens", [16, 17, 48, 64, 65, 96, 129, 200])
def test_every_query_token_counts_among_the_centroids(path: str, tokens: int) -> None:
    """One nonzero query token, at any position, decides the best document, so a scan must read its column."""
    rng = np.random.default_rng(tokens)
    vectors = random_tokens(rng, 100, 32, "unit")
    codes = TokenCodes(vectors, 4, count=100, trained=True)
    segment = codes.attach_to(_core.Segment(offsets_of([1] * 100), np.arange(100), vectors.view(np.uint16)))
    for position in {0, 15, 16, 63, 64, 100, 127, 128, tokens - 1}:
        if position < tokens:
            query = np.zeros((tokens, 32), np.float32)
            query[position] = vectors[37]
            assert search([segment], query, 1, candidates=1, rescored=1)[1] == [37]


def test_probing_reads_only_what_the_mask_allows() -> None:
    rng = np.random.default_rng(9)
    vectors, offsets = random_tokens(rng, 1200, 24, "unit"), offsets_of([3] * 400)
    codes = TokenCodes(vectors, 4, count=40, trained=True)
    segment = codes.attach_postings_to(
        codes.attach_to(_core.Segment(offsets, np.arange(400), vectors.view(np.uint16))), offsets
    )
    scanned = codes.attach_to(_core.Segment(offsets, np.arange(400), vectors.view(np.uint16)))
    for allowed in (200, 240, 400):
        keep = rng.permutation(400) < allowed
        for start in range(0, 200, 10):
            query = vectors[start : start + 5].astype(np.float32)
            options = {"candidates": 30, "rescored": 10, "masks": [mask_of(keep)]}
            _, numbers, report = search([segment], query, 9, postings=450, **dict(options))
            assert report.probed
            assert len(numbers) == 9
            assert keep[numbers].all()
            # Every list of every token covers all documents.
            all_lists = search([segment], query, 9, postings=10**6, **dict(options))
            assert all_lists[:2] == search([scanned], query, 9, **options)[:2]
    # Where few documents pass the filter, lists are not read: they would contain hardly any of them.
    small_mask = mask_of(np.arange(400) % 10 == 0)
    assert search([segment], query, 9, candidates=30, masks=[small_mask])[2].scanned


def _cut(codes: TokenCodes, lengths: list[int], cuts: list[int]) -> list[_core.Segment]:
    """Return segments of one codebook that have the documents between the cuts, with posting lists."""
    offsets = offsets_of(lengths)
    segments = []
    for first, last in itertools.pairwise(cuts):
        own = offsets[first : last + 1] - offsets[first]
        part = codes.of_rows(slice(offsets[first], offsets[last]))
        segment = _core.Segment(own, np.arange(first, last), part.vectors.view(np.uint16))
        segments.append(part.attach_postings_to(part.attach_to(segment), own))
    return segments


@given(
    lengths=st.lists(st.integers(0, 6), min_size=120, max_size=300).filter(any),
    pieces=st.integers(2, 6),
    postings=st.sampled_from((30, 200, 1000)),
    share=st.sampled_from((0.6, 1.0)),
    seed=st.integers(0, 50),
)
@settings(max_examples=60, deadline=None)
def test_segments_of_one_codebook_are_probed_as_one(
    lengths: list[int], pieces: int, postings: int, share: float, seed: int
) -> None:
    """However a collection is cut into segments, as many documents pass every stage, and the hits are the same."""
    rng = np.random.default_rng(seed)
    codes = TokenCodes(random_tokens(rng, sum(lengths), 16, "unit"), 4, count=30, trained=True, max_spread=0.1)
    cuts = np.linspace(0, len(lengths), pieces + 1).astype(int).tolist()
    (whole,) = _cut(codes, lengths, [0, len(lengths)])
    parts = _cut(codes, lengths, cuts)
    keep = rng.random(len(lengths)) < share
    # A segment of which a filter leaves little is scanned.
    assume(all(keep[first:last].mean() >= 0.25 for first, last in itertools.pairwise(cuts)))
    query = random_tokens(rng, 5, 16, "unit").astype(np.float32)
    limits = {"refined": 6, "candidates": 4, "rescored": 3, "postings": postings}
    masks = [mask_of(keep[first:last]) for first, last in itertools.pairwise(cuts)]
    expected = search([whole], query, 3, masks=[mask_of(keep)], **limits)
    found = search(parts, query, 3, masks=masks, **limits)
    assert found[:2] == expected[:2]
    assert (found[2].probed, found[2].by_centroids) == (expected[2].probed, expected[2].by_centroids)


def test_small_collections_are_scanned_and_long_queries_read_more_postings() -> None:
    rng = np.random.default_rng(12)
    lengths = [3] * 600
    codes = TokenCodes(random_tokens(rng, 1800, 16, "unit"), 4, count=60, trained=True)
    (segment,) = _cut(codes, lengths, [0, 600])
    query = random_tokens(rng, 32, 16, "unit").astype(np.float32)
    limits = {"refined": 30, "candidates": 20, "rescored": 10, "postings": 800}
    assert search([segment], query, 10, probed_from=600, **limits)[2].probed
    scanned = search([segment], query, 10, probed_from=601, **limits)
    assert scanned[2].scanned
    assert not scanned[2].probed
    # Every token of a query that is said eight times reads as much, so that the same documents are found.
    once, again = (search([segment], np.tile(query, (times, 1)), 10, **limits) for times in (1, 8))
    assert (once[1], once[2].by_centroids) == (again[1], again[2].by_centroids)


def test_a_filter_that_leaves_one_segment_reads_the_postings_of_that_segment() -> None:
    rng = np.random.default_rng(13)
    lengths = [3] * 1200
    codes = TokenCodes(random_tokens(rng, 3600, 16, "unit"), 4, count=60, trained=True)
    first, second = _cut(codes, lengths, [0, 600, 1200])
    query = random_tokens(rng, 6, 16, "unit").astype(np.float32)
    limits = {"refined": 20, "candidates": 10, "rescored": 5}
    none = mask_of(np.zeros(600, dtype=bool))
    found = search([first, second], query, 5, masks=[None, none], postings=400, **limits)
    assert found[2].probed
    alone = search([first], query, 5, postings=200, **limits)
    assert (found[:2], found[2].by_centroids) == (alone[:2], alone[2].by_centroids)


def test_probing_is_repeatable(threads: None) -> None:
    """A thread's buffers must not affect later searches, of other segments or after 65,535 searches."""
    maxsim.set_num_threads(1)
    rng = np.random.default_rng(10)
    segments = []
    for count in (110, 300, 150):
        vectors, offsets = random_tokens(rng, 2 * count, 4, "unit"), offsets_of([2] * count)
        codes = TokenCodes(vectors, 4, count=20, trained=True)
        segment = codes.attach_to(_core.Segment(offsets, np.arange(count), vectors.view(np.uint16)))
        segments.append(codes.attach_postings_to(segment, offsets))
    long_query, short_query = (random_tokens(rng, tokens, 4, "unit").astype(np.float32) for tokens in (4000, 3))
    rounds: list[Any] = []
    for _ in range(40):
        results = [
            search([segment], query, 5, candidates=10, rescored=5, postings=20)[:2]
            for segment in segments
            for query in (long_query, short_query)
        ]
        rounds.append(results)
    assert search([segments[0]], long_query, 5, candidates=10, postings=20)[2].probed
    assert all(results == rounds[0] for results in rounds)


def test_posting_lists_of_nearly_all_documents_do_not_hide_others() -> None:
    """All 20,000 documents contain one centroid, like a full stop, and three contain another."""
    rng = np.random.default_rng(11)
    count, dim = 20_000, 8
    common, rare = np.eye(dim)[0], np.eye(dim)[1]
    tokens = np.repeat(common[None], 2 * count, axis=0)
    tokens[1::2] = rng.standard_normal((count, dim)) * [0, 0, 1, 1, 1, 1, 1, 1]
    tokens[1::2] /= np.linalg.norm(tokens[1::2], axis=1, keepdims=True)
    rare_documents = [77, 9_000, 19_999]
    tokens[[2 * number + 1 for number in rare_documents]] = rare
    vectors, offsets = tokens.astype(np.float16), offsets_of([2] * count)
    codes = TokenCodes(vectors, 4, count=1)
    codes.centroids = np.rint(np.eye(dim) * 100).astype(np.int8)
    codes.scales, codes.count = np.full(dim, 0.01, np.float32), dim
    codes.codebook = _core.Codebook(codes.centroids, codes.scales)
    codes.ids = np.argmax(tokens, axis=1).astype(np.int32)
    _core.encode_residuals(
        codes.codebook, vectors.astype(np.float32), codes.ids, 4, codes.residual_scales, codes.errors, codes.residuals
    )
    segment = codes.attach_to(_core.Segment(offsets, np.arange(count), vectors.view(np.uint16)))
    codes.attach_postings_to(segment, offsets)
    query = np.stack([common, rare, common]).astype(np.float32)
    _, numbers, report = search([segment], query, 3, candidates=50, rescored=10, postings=5000)
    assert report.probed
    assert numbers == rare_documents


@pytest.mark.parametrize("tokens", [0, 1, 15, 16, 17, 33, 64, 70, 200])
def test_queries_of_any_length(path: str, tokens: int) -> None:
    case = CoreCase([3, 0, 5, 7, 1, 9, 4, 2, 6], 33, "unit", 1)
    case.query = random_tokens(np.random.default_rng(tokens), tokens, 33, "unit").astype(np.float32)
    exact_ranking = case.exact_ranking()
    for options in ({"exact": True}, {"candidates": 1000, "rescored": 1000}):
        scores, numbers, _ = search(case.segments, case.query, 4, **options)
        assert numbers == [number for _, number in exact_ranking[:4]]
        assert scores == [score for score, _ in exact_ranking[:4]]


@pytest.mark.parametrize("with_postings", [False, True])
@pytest.mark.parametrize("exact", [False, True])
def test_results_do_not_depend_on_threads_or_the_batch(threads: None, with_postings: bool, exact: bool) -> None:
    case = CoreCase([5] * 300, 64, "unit", 3, with_postings=with_postings)
    rng = np.random.default_rng(4)
    queries = [random_tokens(rng, 1 + i % 7, 64, "unit").astype(np.float32) for i in range(20)]
    by_threads = []
    for count in (1, 2, 4):
        maxsim.set_num_threads(count)
        single_results = [search(case.segments, query, 9, candidates=40, rescored=15, exact=exact) for query in queries]
        by_threads.append([result[:2] for result in single_results])
        ends = np.concatenate([[0], np.cumsum([len(query) for query in queries])]).astype(np.int64)
        options = options_of(9, candidates=40, rescored=15, postings=4, exact=exact)
        batch_results = _core.search(np.concatenate(queries), ends, case.segments, [None] * 3, options)
        assert [(result.scores, result.numbers) for result in batch_results] == by_threads[-1]
        fields = [name for name in dir(_core.SearchReport) if not name.startswith("_") and not name.endswith("_ms")]
        assert len(fields) == 11
        for (_, _, report), result in zip(single_results, batch_results, strict=True):
            assert all(getattr(report, name) == getattr(result.report, name) for name in fields)
    assert by_threads[0] == by_threads[1] == by_threads[2]


def test_the_best_documents_are_found_in_any_segment() -> None:
    rng = np.random.default_rng(8)
    query = random_tokens(rng, 4, 32, "unit")
    documents = [random_tokens(rng, 6, 32, "unit") for _ in range(300)]
    # Two documents contain the query's tokens, in a segment so small that all of it could be scored.
    for i in (296, 298):
        documents[i] = np.concatenate([query, documents[i]])
    for cut in (10, 150, 295):
        segments = []
        for number, (first, last) in enumerate(((0, cut), (cut, 295), (295, 300))):
            if first == last:
                continue
            vectors = np.concatenate(documents[first:last])
            offsets = offsets_of([len(document) for document in documents[first:last]])
            segment = _core.Segment(offsets, np.arange(first, last), vectors.view(np.uint16))
            segments.append(TokenCodes(vectors, 4, count=20, seed=number).attach_to(segment))
        # Centroids alone do not separate random documents; the best must pass with their segment's share of candidates.
        for candidates in (290, 299):
            _, numbers, _ = search(segments, query.astype(np.float32), 2, candidates=candidates, rescored=20)
            assert numbers == [296, 298], (cut, candidates)


@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    dim=st.sampled_from([32, 64, 96, 128, 256, 1088, 1152]),
    bits=st.sampled_from([2, 4, 8]),
    # Vectors of sixteen, and last ones that are half full, alone and beside others.
    query_tokens=st.sampled_from([1, 8, 9, 16, 17, 24, 25, 32, 33, 40, 41, 56, 70]),
    keep=st.integers(1, 4),
    seed=st.integers(0, 20),
)
@settings(max_examples=120, deadline=None)
def test_every_path_estimates_the_same_scores(
    lengths: list[int], dim: int, bits: int, query_tokens: int, keep: int, seed: int
) -> None:
    case = CoreCase(lengths, dim, "unit", seed, coded="codes", bits=bits, query_tokens=query_tokens)
    # Documents that follow one another in memory, and others.
    kept = np.arange(len(lengths)) % keep == 0
    masks = [mask_of(kept[documents]) for documents in case.ranges]
    estimates = []
    for path in PATHS:
        maxsim.use(path)
        try:
            estimates.append(search(case.segments, case.query, len(lengths), masks=list(masks), candidates=1000)[:2])
        finally:
            maxsim.use("auto")
    assert all(estimate == estimates[0] for estimate in estimates)
