"""The compiled search: exact answers equal brute force, on every instruction set, whatever the collection."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from core_cases import Coded, mask_of, offsets_of, search
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import _core, maxsim

PATHS = maxsim.capabilities().supported
LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=40)


@pytest.fixture
def threads() -> Iterator[None]:
    before = maxsim.num_threads()
    yield
    maxsim.set_num_threads(before)


def values(rng: np.random.Generator, tokens: int, dim: int, kind: str) -> NDArray[np.float16]:
    found = rng.standard_normal((tokens, dim))
    if kind == "unit":
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    elif kind == "ties":
        found = rng.integers(-1, 2, (tokens, dim)).astype(np.float64)
    elif kind == "huge":
        found *= 5000
    elif kind == "negative":
        found = -np.abs(found)
    return found.astype(np.float16)


class Made:
    """Documents in several parts: coded with vectors, coded without, and not coded."""

    def __init__(
        self, lengths: list[int], dim: int, kind: str, seed: int, *, coded: str = "both", bits: int = 4
    ) -> None:
        rng = np.random.default_rng(seed)
        self.documents = [values(rng, length, dim, kind) for length in lengths]
        self.query = np.abs(values(rng, 5, dim, kind)) if kind == "negative" else values(rng, 5, dim, kind)
        self.query = self.query.astype(np.float32)
        self.numbers = np.cumsum(rng.integers(1, 4, len(lengths))).astype(np.int64)
        cuts = [0, len(lengths) // 3, 2 * len(lengths) // 3, len(lengths)]
        self.parts: list[_core.Part] = []
        self.codes: list[Coded] = []
        self.ranges: list[slice] = []
        for i, (first, last) in enumerate(itertools.pairwise(cuts)):
            if first == last:
                continue
            vectors = np.concatenate([np.empty((0, dim), np.float16), *self.documents[first:last]])
            keep = coded != "codes"
            part = _core.Part(
                offsets_of([len(d) for d in self.documents[first:last]]),
                self.numbers[first:last],
                vectors.view(np.uint16) if keep else None,
            )
            if i != 1 or not keep:
                made = Coded(vectors, bits, count=3 + i, seed=seed + i, wide=i == 2)
                self.codes.append(made)
                made.put_into(part)
            self.parts.append(part)
            self.ranges.append(slice(first, last))

    def truth(self, keep: NDArray[np.bool_] | None = None) -> list[tuple[float, int]]:
        scores = maxsim.score(self.query, self.documents).tolist()
        chosen = [i for i in range(len(scores)) if keep is None or keep[i]]
        return sorted(((scores[i], int(self.numbers[i])) for i in chosen), key=lambda pair: (-pair[0], pair[1]))


@given(
    lengths=LENGTHS,
    dim=st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 128])),
    kind=st.sampled_from(["unit", "plain", "ties", "huge", "negative"]),
    bits=st.sampled_from([2, 4, 8]),
    k=st.integers(1, 50),
    seed=st.integers(0, 20),
    path=st.sampled_from(PATHS),
)
@settings(max_examples=500, deadline=None)
def test_an_exact_search_is_brute_force(
    lengths: list[int], dim: int, kind: str, bits: int, k: int, seed: int, path: str
) -> None:
    made = Made(lengths, dim, kind, seed, bits=bits)
    maxsim.use(path)
    try:
        truth = made.truth()
        scores, numbers, report = search(made.parts, made.query, k, exact=True)
        assert list(zip(scores, numbers, strict=True)) == truth[:k]
        # The certificate: nothing outside scores above its bound, and the bound is not above the last hit.
        if len(truth) > k:
            assert report["bound"] >= truth[k][0]
            assert report["bound"] <= truth[k - 1][0]
        assert report["undecided"] == 0
        # A staged search that may take everything finds the same.
        staged = search(made.parts, made.query, k, candidates=1000, rescored=1000)
        assert list(zip(staged[0], staged[1], strict=True)) == truth[:k]
    finally:
        maxsim.use("auto")


@given(lengths=LENGTHS, dim=st.integers(1, 70), seed=st.integers(0, 20), k=st.integers(1, 50), data=st.data())
@settings(max_examples=200, deadline=None)
def test_masks_let_through_what_they_say(lengths: list[int], dim: int, seed: int, k: int, data: Any) -> None:
    made = Made(lengths, dim, "unit", seed)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))), dtype=bool)
    allowed = [mask_of(keep[where]) for where in made.ranges]
    truth = made.truth(keep)
    for options in ({"exact": True}, {"candidates": 1000, "rescored": 1000}):
        scores, numbers, _ = search(made.parts, made.query, k, allowed=list(allowed), **options)
        assert list(zip(scores, numbers, strict=True)) == truth[:k]
    # However little effort, as many as there are, all allowed, each with its true score.
    scores, numbers, _ = search(made.parts, made.query, k, allowed=list(allowed), candidates=1, rescored=1)
    assert len(numbers) == min(k, len(truth))
    assert set(zip(scores, numbers, strict=True)) <= set(truth)


@given(lengths=LENGTHS, dim=st.integers(1, 70), bits=st.sampled_from([2, 4, 8]), seed=st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_without_vectors_bounds_hold(lengths: list[int], dim: int, bits: int, seed: int) -> None:
    made = Made(lengths, dim, "unit", seed, coded="codes", bits=bits)
    truth = made.truth()
    k = max(1, len(lengths) // 3)
    _, numbers, report = search(made.parts, made.query, k, exact=True)
    assert len(numbers) == min(k, len(truth))
    outside = [score for score, number in truth if number not in numbers]
    if outside:
        assert report["bound"] >= max(outside)
    if report["undecided"] == 0 and outside:
        assert min(score for score, number in truth if number in numbers) >= max(outside)


def postings_of(made: Coded, offsets: NDArray[np.int64], centroids: int) -> tuple[NDArray[np.uint64], list[int]]:
    lists: list[list[int]] = [[] for _ in range(centroids)]
    for document in range(offsets.size - 1):
        for id_ in np.unique(made.ids[offsets[document] : offsets[document + 1]]):
            lists[id_].append(document)
    starts = np.concatenate([[0], np.cumsum([len(each) for each in lists])]).astype(np.uint64)
    return starts, [document for each in lists for document in each]


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=60), wide=st.booleans(), seed=st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_posting_lists_and_probing(lengths: list[int], wide: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, offsets = values(rng, sum(lengths), 16, "unit"), offsets_of(lengths)
    made = Coded(vectors, 4, count=12, seed=seed, wide=wide)
    part = made.put_into(_core.Part(offsets, np.arange(len(lengths)), vectors.view(np.uint16)))
    starts = np.empty(13, np.uint64)
    kind = np.uint32 if wide else np.uint16
    ids = made.ids.astype(kind).view(np.uint8).reshape(-1, np.dtype(kind).itemsize)
    found = _core.make_postings(ids, offsets, starts)
    wanted_starts, wanted = postings_of(made, offsets, 12)
    np.testing.assert_array_equal(starts, wanted_starts)
    np.testing.assert_array_equal(found, wanted)
    query = values(rng, 4, 16, "unit").astype(np.float32)
    options = {"candidates": 3, "rescored": 3}
    scanned = search([part], query, 3, **options)
    part.set_postings(starts, found)
    # Every list of every query token: all documents with tokens are looked at, as a scan does.
    probed = search([part], query, 3, probes=12, **options)
    if probed[2]["probed"]:
        assert probed[:2] == scanned[:2]
        few = search([part], query, 3, probes=1, **options)
        assert len(few[1]) == min(3, len(lengths))


@pytest.mark.parametrize("tokens", [0, 1, 15, 16, 17, 33, 64, 70, 200])
def test_queries_of_any_length(path: str, tokens: int) -> None:
    made = Made([3, 0, 5, 7, 1, 9, 4, 2, 6], 33, "unit", 1)
    made.query = values(np.random.default_rng(tokens), tokens, 33, "unit").astype(np.float32)
    truth = made.truth()
    for options in ({"exact": True}, {"candidates": 1000, "rescored": 1000}):
        scores, numbers, _ = search(made.parts, made.query, 4, **options)
        assert numbers == [number for _, number in truth[:4]]
        assert scores == [score for score, _ in truth[:4]]


def test_nothing_depends_on_threads_or_on_the_batch(threads: None) -> None:
    made = Made([5] * 300, 64, "unit", 3)
    rng = np.random.default_rng(4)
    queries = [values(rng, 1 + i % 7, 64, "unit").astype(np.float32) for i in range(20)]
    found = []
    for count in (1, 2, 4):
        maxsim.set_num_threads(count)
        found.append([search(made.parts, query, 9, candidates=40, rescored=15)[:2] for query in queries])
        ends = np.concatenate([[0], np.cumsum([len(query) for query in queries])]).astype(np.int64)
        together = _core.search(np.concatenate(queries), ends, made.parts, [None] * 3, 9, 40, 15, 4, False)
        assert [each[:2] for each in together] == found[-1]
    assert found[0] == found[1] == found[2]


def test_parts_that_lie_are_refused() -> None:
    offsets, numbers = offsets_of([2, 2]), np.array([3, 5])
    vectors = np.zeros((4, 6), np.uint16)
    for wrong_offsets, wrong_numbers, said in (
        (np.array([0, 3, 2]), numbers, "offsets fall"),
        (np.array([1, 2, 4]), numbers, "from 0"),
        (np.array([0, 4]), numbers, "one offset more than documents"),
        (offsets, np.array([5, 3]), "numbers do not rise"),
        (np.array([0, 2, 5]), numbers, "offsets do not end at the last row"),
    ):
        with pytest.raises(ValueError, match=said):
            _core.Part(wrong_offsets, wrong_numbers, vectors)
    made = Coded(np.ones((4, 6), np.float16), 4, count=2)
    good = (
        made.codebook,
        made.ids.astype(np.uint16).view(np.uint8).reshape(4, 2),
        made.steps,
        made.errors,
        made.residuals,
    )
    for at, value, said in (
        (1, np.full((4, 2), 9, np.uint8), "a centroid id is out of range"),
        (1, np.zeros((4, 3), np.uint8), "2 or 4 bytes"),
        (2, made.steps[:3], "one code a token"),
        (4, made.residuals[:, :2].copy(), "residuals have the wrong width"),
    ):
        changed = list(good)
        changed[at] = value
        with pytest.raises(ValueError, match=said):
            _core.Part(offsets, numbers, None).set_codes(*changed, 4, 1.0)
    part = made.put_into(_core.Part(offsets, numbers, None))
    starts = np.array([0, 1, 2], dtype=np.uint64)
    for wrong_starts, documents, said in (
        (starts[:2], np.zeros(2, np.uint32), "one list a centroid"),
        (starts, np.full(2, 2, np.uint32), "a posting is out of range"),
        (starts, np.zeros(3, np.uint32), "postings do not end"),
        (np.array([0, 2, 1], dtype=np.uint64), np.zeros(1, np.uint32), "posting starts fall"),
    ):
        with pytest.raises(ValueError, match=said):
            part.set_postings(wrong_starts, documents)
    query = np.ones((1, 6), np.float32)
    with pytest.raises(ValueError, match="dimensions differ"):
        search([part], np.ones((1, 5), np.float32), 1)
    with pytest.raises(ValueError, match="a mask has the wrong length"):
        search([part], query, 1, allowed=[np.zeros(2, np.uint64)])
    with pytest.raises(ValueError, match="k must be at least 1"):
        search([part], query, 0)
    with pytest.raises(ValueError, match="one mask, or None, a part"):
        search([part], query, 1, allowed=[])
