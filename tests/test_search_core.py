"""The compiled search: exact answers equal brute force, on every instruction set, whatever the collection."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.core_cases import Coded, CoreCase, mask_of, offsets_of, options_of, search, values
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import _core, maxsim

PATHS = maxsim.capabilities().supported
LENGTHS = st.lists(st.integers(0, 9), min_size=0, max_size=40)


@pytest.fixture
def threads() -> Iterator[None]:
    before = maxsim.num_threads()
    yield
    maxsim.set_num_threads(before)


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
    made = CoreCase(lengths, dim, kind, seed, bits=bits, query_tokens=query_tokens, lists=lists)
    try:
        truth = made.truth()
        scores, numbers, report = search(made.segments, made.query, k, exact=True)
        assert list(zip(scores, numbers, strict=True)) == truth[:k]
        # The certificate: nothing outside scores above its bound, and the bound is not above the last hit.
        if len(truth) > k:
            assert report.bound >= truth[k][0]
            assert report.bound <= truth[k - 1][0]
        assert report.undecided == 0
        # A staged search that may take everything finds the same.
        staged = search(made.segments, made.query, k, candidates=1000, rescored=1000)
        assert list(zip(staged[0], staged[1], strict=True)) == truth[:k]
        # With the least effort there are as many hits, each with its true score, best first.
        scores, numbers, _ = search(made.segments, made.query, k, candidates=1, rescored=1, postings=1)
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
def test_masks_let_through_what_they_say(
    lengths: list[int], dim: int, seed: int, k: int, lists: bool, data: Any
) -> None:
    made = CoreCase(lengths, dim, "unit", seed, lists=lists)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))), dtype=bool)
    allowed = [mask_of(keep[where]) for where in made.ranges]
    truth = made.truth(keep)
    for options in ({"exact": True}, {"candidates": 1000, "rescored": 1000}):
        scores, numbers, _ = search(made.segments, made.query, k, masks=list(allowed), **options)
        assert list(zip(scores, numbers, strict=True)) == truth[:k]
    # However little effort, as many as there are, all allowed, each with its true score.
    scores, numbers, _ = search(made.segments, made.query, k, masks=list(allowed), candidates=1, rescored=1)
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
        made = CoreCase(lengths, dim, kind, seed, coded="codes", bits=bits, query_tokens=query_tokens)
        truth = made.truth()
        k = max(1, len(lengths) // 3)
        _, numbers, report = search(made.segments, made.query, k, exact=True)
    finally:
        maxsim.use("auto")
    assert len(numbers) == min(k, len(truth))
    outside = [score for score, number in truth if number not in numbers]
    if outside:
        assert report.bound >= max(outside)
    if report.undecided == 0 and outside:
        assert min(score for score, number in truth if number in numbers) >= max(outside)


def far_apart(dim: int, bits: int) -> tuple[_core.Segment, NDArray[np.float32], list[int], Coded]:
    """Documents of one token each whose scores lie a tenth of the best apart: the segment, a query, the best first."""
    rng = np.random.default_rng(dim)
    direction = np.abs(rng.standard_normal(dim))
    sizes = rng.permutation(np.linspace(0.1, 1.0, 10))
    vectors = (sizes[:, None] * direction / np.linalg.norm(direction)).astype(np.float16)
    coded = Coded(vectors, bits, count=10, fitting=True)
    segment = coded.put_into(_core.Segment(offsets_of([1] * 10), np.arange(10), None))
    return segment, direction[None].astype(np.float32), np.argsort(-sizes).tolist(), coded


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_bounds_of_codes_can_decide(path: str, bits: int) -> None:
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
    """What the codes lost lies along the query, and is all that the error byte allows: nothing is left to spare."""
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


def test_what_the_query_loses_in_int8_is_in_the_bound(path: str) -> None:
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
    found, numbers, report = search([segment], query, 1, exact=True)
    assert numbers == [1]
    assert found[0] == pytest.approx(scores[1], rel=1e-3)
    assert report.bound >= scores[0] > 19
    assert report.undecided == 0


def test_a_document_without_a_bound_is_looked_at() -> None:
    """One token whose error is unknown might be anything: only its vector tells."""
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
    """Equal terms round the same way each time: the worst that fp32 does, on codes that lose next to nothing."""
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


def postings_of(made: Coded, offsets: NDArray[np.int64], centroids: int) -> tuple[NDArray[np.uint64], list[int]]:
    lists: list[list[int]] = [[] for _ in range(centroids)]
    for document in range(offsets.size - 1):
        for id_ in np.unique(made.ids[offsets[document] : offsets[document + 1]]):
            lists[id_].append(document)
    starts = np.concatenate([[0], np.cumsum([len(each) for each in lists])]).astype(np.uint64)
    return starts, [document for each in lists for document in each]


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=60), uint32_ids=st.booleans(), seed=st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_posting_lists_and_probing(lengths: list[int], uint32_ids: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, offsets = values(rng, sum(lengths), 16, "unit"), offsets_of(lengths)
    made = Coded(vectors, 4, count=12, seed=seed, uint32_ids=uint32_ids)
    segment = made.put_into(_core.Segment(offsets, np.arange(len(lengths)), vectors.view(np.uint16)))
    starts = np.empty(13, np.uint64)
    found = _core.make_postings(made.id_bytes, offsets, starts)
    wanted_starts, wanted = postings_of(made, offsets, 12)
    np.testing.assert_array_equal(starts, wanted_starts)
    np.testing.assert_array_equal(found, wanted)
    query = values(rng, 4, 16, "unit").astype(np.float32)
    # No more for the residuals than for the codes: they would reorder what the centroids tell.
    options = {"refined": 3, "candidates": 3, "rescored": 3}
    scanned = search([segment], query, 3, **options)
    segment.set_postings(starts, found)
    # Every list of every query token: all documents with tokens are looked at, as a scan does.
    probed = search([segment], query, 3, postings=10**6, **options)
    if probed[2].probed:
        assert probed[:2] == scanned[:2]
        few = search([segment], query, 3, postings=1, **options)
        assert len(few[1]) == min(3, len(lengths))


def test_a_small_part_keeps_its_documents_beside_a_large_one() -> None:
    """Fewer documents than candidates, and still to be compared: none may be dropped unseen, or kept for nothing."""
    rng = np.random.default_rng(0)
    segments, vectors = [], []
    for first, count in ((0, 900), (1000, 30), (2000, 3)):
        vectors.append(values(rng, count, 32, "unit"))
        coded = Coded(vectors[-1], 4, count=min(count, 64), fitting=True)
        segment = _core.Segment(offsets_of([1] * count), np.arange(first, first + count), vectors[-1].view(np.uint16))
        segments.append(coded.put_into(segment))
    for own, first in zip(vectors, (0, 1000, 2000), strict=True):
        for place in range(3):
            query = own[place : place + 1].astype(np.float32)
            _, numbers, report = search(segments, query, 1, candidates=100, rescored=10)
            assert numbers == [first + place]
            assert report.by_codes == 100
    assert not report.direct
    # As few in all segments together as candidates: all are scored over their codes, without the centroids.
    _, _, report = search(segments, query, 1, candidates=933)
    assert report.direct
    assert (report.by_centroids, report.by_codes) == (0, 933)
    # A filter that leaves few decides by what it leaves.
    keep = [mask_of(np.arange(len(own)) < 20) for own in vectors]
    _, numbers, report = search(segments, query, 1, candidates=43, masks=keep)
    assert report.direct
    assert numbers == [2002]


def test_stages_find_most_of_what_is_best() -> None:
    """On tokens in clusters a little effort finds nearly everything, by scanning and by probing."""
    rng = np.random.default_rng(8)
    centres = values(rng, 60, 48, "unit").astype(np.float64)
    tokens = centres[rng.integers(0, 60, 3000)] + 0.1 * rng.standard_normal((3000, 48))
    vectors = (tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float16)
    offsets = offsets_of([5] * 600)
    coded = Coded(vectors, 4, count=120, fitting=True)
    segment = coded.put_into(_core.Segment(offsets, np.arange(600), vectors.view(np.uint16)))
    queries = [vectors[start : start + 4].astype(np.float32) for start in range(0, 1500, 50)]
    for lists in (False, True):
        if lists:
            coded.put_lists_into(segment, offsets)
        right = 0
        for query in queries:
            best = search([segment], query, 10, exact=True)[1]
            _, numbers, report = search([segment], query, 10, candidates=150, rescored=20, postings=800)
            assert report.probed is lists
            assert report.by_codes == 150
            right += len(set(best) & set(numbers))
        assert right >= 0.95 * 10 * len(queries)


@pytest.mark.parametrize("tokens", [16, 17, 48, 64, 65, 96, 129, 200])
def test_every_query_token_counts_among_the_centroids(path: str, tokens: int) -> None:
    """Only one token, wherever it stands, tells which document is best: a scan must read its column of the table."""
    rng = np.random.default_rng(tokens)
    vectors = values(rng, 100, 32, "unit")
    coded = Coded(vectors, 4, count=100, fitting=True)
    segment = coded.put_into(_core.Segment(offsets_of([1] * 100), np.arange(100), vectors.view(np.uint16)))
    for place in {0, 15, 16, 63, 64, 100, 127, 128, tokens - 1}:
        if place < tokens:
            query = np.zeros((tokens, 32), np.float32)
            query[place] = vectors[37]
            assert search([segment], query, 1, candidates=1, rescored=1)[1] == [37]


def test_probing_reads_only_what_the_mask_allows() -> None:
    rng = np.random.default_rng(9)
    vectors, offsets = values(rng, 1200, 24, "unit"), offsets_of([3] * 400)
    coded = Coded(vectors, 4, count=40, fitting=True)
    segment = coded.put_lists_into(
        coded.put_into(_core.Segment(offsets, np.arange(400), vectors.view(np.uint16))), offsets
    )
    scanned = coded.put_into(_core.Segment(offsets, np.arange(400), vectors.view(np.uint16)))
    for allowed in (120, 240, 400):
        keep = rng.permutation(400) < allowed
        for start in range(0, 200, 10):
            query = vectors[start : start + 5].astype(np.float32)
            options = {"candidates": 30, "rescored": 10, "masks": [mask_of(keep)]}
            _, numbers, report = search([segment], query, 9, postings=450, **dict(options))
            assert report.probed
            assert len(numbers) == 9
            assert keep[numbers].all()
            # Every list of every token leaves nothing out.
            everything = search([segment], query, 9, postings=10**6, **dict(options))
            assert everything[:2] == search([scanned], query, 9, **options)[:2]
    # Lists are not read for a few documents that a filter leaves: they would find none.
    few = mask_of(np.arange(400) % 10 == 0)
    assert search([segment], query, 9, candidates=30, masks=[few])[2].scanned


def test_probing_stays_the_same_however_often(threads: None) -> None:
    """What a search left in a thread's memory must not be read by a later one, of another segment or after 65,535."""
    maxsim.set_num_threads(1)
    rng = np.random.default_rng(10)
    segments = []
    for count in (90, 300, 150):
        vectors, offsets = values(rng, 2 * count, 4, "unit"), offsets_of([2] * count)
        coded = Coded(vectors, 4, count=20, fitting=True)
        segment = coded.put_into(_core.Segment(offsets, np.arange(count), vectors.view(np.uint16)))
        segments.append(coded.put_lists_into(segment, offsets))
    long, short = (values(rng, tokens, 4, "unit").astype(np.float32) for tokens in (4000, 3))
    found: list[Any] = []
    for _ in range(40):
        now = [
            search([segment], query, 5, candidates=10, rescored=5, postings=20)[:2]
            for segment in segments
            for query in (long, short)
        ]
        found.append(now)
    assert search([segments[0]], long, 5, candidates=10, postings=20)[2].probed
    assert all(now == found[0] for now in found)


def test_lists_of_nearly_all_documents_do_not_hide_the_rest() -> None:
    """One centroid that all of 20,000 documents hold, as they hold a full stop, and one that few do."""
    rng = np.random.default_rng(11)
    count, dim = 20_000, 8
    common, rare = np.eye(dim)[0], np.eye(dim)[1]
    tokens = np.repeat(common[None], 2 * count, axis=0)
    tokens[1::2] = rng.standard_normal((count, dim)) * [0, 0, 1, 1, 1, 1, 1, 1]
    tokens[1::2] /= np.linalg.norm(tokens[1::2], axis=1, keepdims=True)
    chosen = [77, 9_000, 19_999]
    tokens[[2 * number + 1 for number in chosen]] = rare
    vectors, offsets = tokens.astype(np.float16), offsets_of([2] * count)
    coded = Coded(vectors, 4, count=1)
    coded.centroids = np.rint(np.eye(dim) * 100).astype(np.int8)
    coded.scales, coded.count = np.full(dim, 0.01, np.float32), dim
    coded.codebook = _core.Codebook(coded.centroids, coded.scales)
    coded.ids = np.argmax(tokens, axis=1).astype(np.int32)
    _core.encode_residuals(
        coded.codebook, vectors.astype(np.float32), coded.ids, 4, coded.residual_scales, coded.errors, coded.residuals
    )
    segment = coded.put_into(_core.Segment(offsets, np.arange(count), vectors.view(np.uint16)))
    coded.put_lists_into(segment, offsets)
    query = np.stack([common, rare, common]).astype(np.float32)
    _, numbers, report = search([segment], query, 3, candidates=50, rescored=10, postings=5000)
    assert report.probed
    assert numbers == chosen


@pytest.mark.parametrize("tokens", [0, 1, 15, 16, 17, 33, 64, 70, 200])
def test_queries_of_any_length(path: str, tokens: int) -> None:
    made = CoreCase([3, 0, 5, 7, 1, 9, 4, 2, 6], 33, "unit", 1)
    made.query = values(np.random.default_rng(tokens), tokens, 33, "unit").astype(np.float32)
    truth = made.truth()
    for options in ({"exact": True}, {"candidates": 1000, "rescored": 1000}):
        scores, numbers, _ = search(made.segments, made.query, 4, **options)
        assert numbers == [number for _, number in truth[:4]]
        assert scores == [score for score, _ in truth[:4]]


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("exact", [False, True])
def test_nothing_depends_on_threads_or_on_the_batch(threads: None, lists: bool, exact: bool) -> None:
    made = CoreCase([5] * 300, 64, "unit", 3, lists=lists)
    rng = np.random.default_rng(4)
    queries = [values(rng, 1 + i % 7, 64, "unit").astype(np.float32) for i in range(20)]
    found = []
    for count in (1, 2, 4):
        maxsim.set_num_threads(count)
        one = [search(made.segments, query, 9, candidates=40, rescored=15, exact=exact) for query in queries]
        found.append([each[:2] for each in one])
        ends = np.concatenate([[0], np.cumsum([len(query) for query in queries])]).astype(np.int64)
        options = options_of(9, candidates=40, rescored=15, postings=4, exact=exact)
        together = _core.search(np.concatenate(queries), ends, made.segments, [None] * 3, options)
        assert [(result.scores, result.numbers) for result in together] == found[-1]
        fields = [name for name in dir(_core.SearchReport) if not name.startswith("_") and not name.endswith("_ms")]
        assert len(fields) == 11
        for (_, _, alone), result in zip(one, together, strict=True):
            assert all(getattr(alone, name) == getattr(result.report, name) for name in fields)
    assert found[0] == found[1] == found[2]


def test_the_best_are_found_in_whatever_part_they_are() -> None:
    rng = np.random.default_rng(8)
    query = values(rng, 4, 32, "unit")
    documents = [values(rng, 6, 32, "unit") for _ in range(300)]
    # A few documents that hold the query's own tokens, in a segment so small that all of it could be scored.
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
            segments.append(Coded(vectors, 4, count=20, seed=number).put_into(segment))
        # By centroids alone random ones cannot be told apart; given the share of a segment, the best must come through.
        for candidates in (290, 299):
            _, numbers, _ = search(segments, query.astype(np.float32), 2, candidates=candidates, rescored=20)
            assert numbers == [296, 298], (cut, candidates)


def test_parts_that_lie_are_refused() -> None:
    offsets, numbers = offsets_of([2, 2]), np.array([3, 5])
    vectors = np.zeros((4, 6), np.uint16)
    for wrong_offsets, wrong_numbers, said in (
        (np.array([0, 3, 2]), numbers, "offsets must not decrease"),
        (np.array([1, 2, 4]), numbers, "start at 0"),
        (np.array([0, 4]), numbers, "one entry more than documents"),
        (offsets, np.array([5, 3]), "numbers must increase"),
        (np.array([0, 2, 5]), numbers, "offsets must end at the number of vectors"),
    ):
        with pytest.raises(ValueError, match=said):
            _core.Segment(wrong_offsets, wrong_numbers, vectors)
    made = Coded(np.ones((4, 6), np.float16), 4, count=2)
    good: tuple[Any, ...] = (
        made.codebook,
        made.id_bytes,
        made.residual_scales,
        made.errors,
        made.residuals,
        4,
        1.0,
    )
    for at, value, said in (
        (1, np.full((4, 2), 9, np.uint8), "a centroid id is out of range"),
        (1, np.zeros((4, 3), np.uint8), "2 or 4 bytes per token"),
        (2, made.residual_scales[:3], "one row per token"),
        (3, made.errors[:3], "one row per token"),
        (4, made.residuals[:3], "one row per token"),
        (4, made.residuals[:, :2].copy(), "residuals have the wrong width"),
        (5, 3, "bits must be 2, 4 or 8"),
        (5, 8, "residuals have the wrong width"),
        (6, np.nan, "max_norm must be finite and at least 0"),
        (6, np.inf, "max_norm must be finite and at least 0"),
        (6, -1.0, "max_norm must be finite and at least 0"),
    ):
        changed = list(good)
        changed[at] = value
        with pytest.raises(ValueError, match=said):
            _core.Segment(offsets, numbers, None).set_codes(*changed)
    with pytest.raises(ValueError, match="dimensions differ"):
        _core.Segment(offsets, numbers, np.zeros((4, 7), np.uint16)).set_codes(*good)
    bare = _core.Segment(offsets, numbers, None)
    with pytest.raises(ValueError, match="postings need codes"):
        bare.set_postings(np.array([0, 1, 2], dtype=np.uint64), np.zeros(2, np.uint32))
    segment = made.put_into(_core.Segment(offsets, numbers, None))
    starts = np.array([0, 1, 2], dtype=np.uint64)
    for wrong_starts, documents, said in (
        (starts[:2], np.zeros(2, np.uint32), "one entry more than centroids"),
        (starts, np.full(2, 2, np.uint32), "a posting is out of range"),
        (starts, np.zeros(3, np.uint32), "posting starts must end at"),
        (2 * starts[[0, 1, 1]], np.array([1, 0], np.uint32), "a posting list must increase"),
        (2 * starts[[0, 1, 1]], np.array([1, 1], np.uint32), "a posting list must increase"),
        (np.array([0, 2, 1], dtype=np.uint64), np.zeros(1, np.uint32), "posting starts must not decrease"),
    ):
        with pytest.raises(ValueError, match=said):
            segment.set_postings(wrong_starts, documents)
    query = np.ones((1, 6), np.float32)
    with pytest.raises(ValueError, match="dimensions differ"):
        search([segment], np.ones((1, 5), np.float32), 1)
    with pytest.raises(ValueError, match="a mask has the wrong length"):
        search([segment], query, 1, masks=[np.zeros(2, np.uint64)])
    with pytest.raises(ValueError, match="k must be at least 1"):
        search([segment], query, 0)
    with pytest.raises(ValueError, match="one mask or None per segment"):
        search([segment], query, 1, masks=[])
    with pytest.raises(ValueError, match="a mask has the wrong length"):
        search([segment], query, 1, masks=[np.zeros(0, np.uint64)])
    # Its dimension would be that of any query without dimensions.
    for exact in (False, True):
        with pytest.raises(ValueError, match="neither vectors nor codes"):
            search([_core.Segment(offsets, numbers, None)], np.ones((1, 0), np.float32), 1, exact=exact)
    for ends, said in (
        (np.array([0, 2, 1]), "query offsets must not decrease"),
        (np.array([0, 2]), "from 0 to the end"),
        (np.array([1]), "from 0 to the end"),
        (np.empty(0, np.int64), "from 0 to the end"),
    ):
        with pytest.raises(ValueError, match=said):
            _core.search(query, ends, [segment], [None], options_of(1))
    for ids, wrong_offsets, starts, said in (
        (np.full((4, 2), 9, np.uint8), offsets, np.empty(3, np.uint64), "a centroid id is out of range"),
        (made.id_bytes, offsets, np.empty(1, np.uint64), "one entry more than centroids"),
        (np.zeros((4, 3), np.uint8), offsets, np.empty(3, np.uint64), "2 or 4 bytes per token"),
        (made.id_bytes, np.array([0, 3, 2, 4]), np.empty(3, np.uint64), "offsets must not decrease"),
        (made.id_bytes, np.array([0, 3]), np.empty(3, np.uint64), "from 0 to the end"),
    ):
        with pytest.raises(ValueError, match=said):
            _core.make_postings(ids, wrong_offsets, starts)


def test_new_codes_take_the_old_lists_away() -> None:
    """Lists name centroids: read with a larger codebook they would be read past their end."""
    vectors, offsets = values(np.random.default_rng(0), 400, 16, "unit"), offsets_of([1] * 400)
    segment = _core.Segment(offsets, np.arange(400), vectors.view(np.uint16))
    few, many = Coded(vectors, 4, count=5), Coded(vectors, 4, count=50_000)
    few.put_lists_into(few.put_into(segment), offsets)
    query = vectors[:3].astype(np.float32)
    assert search([segment], query, 5, candidates=20, postings=20)[2].probed
    many.put_into(segment)
    report = search([segment], query, 5, candidates=20, postings=10**6)[2]
    assert not report.probed
    assert report.scanned


def test_codes_that_are_refused_change_nothing() -> None:
    vectors, offsets = values(np.random.default_rng(0), 400, 16, "unit"), offsets_of([1] * 400)
    segment = Coded(vectors, 4, count=5).put_into(_core.Segment(offsets, np.arange(400), None))
    query = vectors[:3].astype(np.float32)
    before = search([segment], query, 5, candidates=20)[:2]
    other = Coded(vectors, 4, count=50_000, seed=1)
    small = Coded(vectors, 4, count=5).codebook
    with pytest.raises(ValueError, match="a centroid id is out of range"):
        segment.set_codes(
            small, other.id_bytes, other.residual_scales, other.errors, other.residuals, 4, other.max_norm
        )
    del other, small
    gc.collect()
    assert search([segment], query, 5, candidates=20)[:2] == before


def test_a_part_keeps_alive_what_it_reads() -> None:
    made = CoreCase([3] * 60, 32, "unit", 2, lists=True)
    before = [search(made.segments, made.query, 9, exact=exact)[:2] for exact in (False, True)]
    segments, query = made.segments, made.query
    del made
    gc.collect()
    # What was freed is likely to be written over.
    junk = [np.full(10_000, 255, np.uint8) for _ in range(100)]
    assert [search(segments, query, 9, exact=exact)[:2] for exact in (False, True)] == before
    assert len(junk) == 100
