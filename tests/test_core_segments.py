"""Segments of the compiled core: validation, replaced codes and lifetime."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from helpers.core_cases import CoreCase, TokenCodes, offsets_of, options_of, random_tokens, search
from hypothesis import strategies as st

from serotine import _core, maxsim

PATHS = maxsim.capabilities().supported
LENGTHS = st.lists(st.integers(0, 9), min_size=0, max_size=40)


def test_invalid_segments_raise() -> None:
    offsets, numbers = offsets_of([2, 2]), np.array([3, 5])
    vectors = np.zeros((4, 6), np.uint16)
    for wrong_offsets, wrong_numbers, message in (
        (np.array([0, 3, 2]), numbers, "offsets must not decrease"),
        (np.array([1, 2, 4]), numbers, "start at 0"),
        (np.array([0, 4]), numbers, "one entry more than documents"),
        (offsets, np.array([5, 3]), "numbers must increase"),
        (np.array([0, 2, 5]), numbers, "offsets must end at the number of vectors"),
    ):
        with pytest.raises(ValueError, match=message):
            _core.Segment(wrong_offsets, wrong_numbers, vectors)
    codes = TokenCodes(np.ones((4, 6), np.float16), 4, count=2)
    valid: tuple[Any, ...] = (
        codes.codebook,
        codes.id_bytes,
        codes.residual_scales,
        codes.errors,
        codes.residuals,
        4,
        1.0,
    )
    for position, value, message in (
        (1, np.full((4, 2), 9, np.uint8), "a centroid id is out of range"),
        (1, np.zeros((4, 3), np.uint8), "2 or 4 bytes per token"),
        (2, codes.residual_scales[:3], "one row per token"),
        (3, codes.errors[:3], "one row per token"),
        (4, codes.residuals[:3], "one row per token"),
        (4, codes.residuals[:, :2].copy(), "residuals have the wrong width"),
        (5, 3, "bits must be 2, 4 or 8"),
        (5, 8, "residuals have the wrong width"),
        (6, np.nan, "max_norm must be finite and at least 0"),
        (6, np.inf, "max_norm must be finite and at least 0"),
        (6, -1.0, "max_norm must be finite and at least 0"),
    ):
        changed = list(valid)
        changed[position] = value
        with pytest.raises(ValueError, match=message):
            _core.Segment(offsets, numbers, None).set_codes(*changed)
    with pytest.raises(ValueError, match="dimensions differ"):
        _core.Segment(offsets, numbers, np.zeros((4, 7), np.uint16)).set_codes(*valid)
    bare = _core.Segment(offsets, numbers, None)
    with pytest.raises(ValueError, match="postings need codes"):
        bare.set_postings(np.array([0, 1, 2], dtype=np.uint64), np.zeros(2, np.uint32))
    segment = codes.attach_to(_core.Segment(offsets, numbers, None))
    starts = np.array([0, 1, 2], dtype=np.uint64)
    for wrong_starts, documents, message in (
        (starts[:2], np.zeros(2, np.uint32), "one entry more than centroids"),
        (starts, np.full(2, 2, np.uint32), "a posting is out of range"),
        (starts, np.zeros(3, np.uint32), "posting starts must end at"),
        (2 * starts[[0, 1, 1]], np.array([1, 0], np.uint32), "a posting list must increase"),
        (2 * starts[[0, 1, 1]], np.array([1, 1], np.uint32), "a posting list must increase"),
        (np.array([0, 2, 1], dtype=np.uint64), np.zeros(1, np.uint32), "posting starts must not decrease"),
    ):
        with pytest.raises(ValueError, match=message):
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
    # Without vectors and codes a segment has dimension 0, like this query.
    for exact in (False, True):
        with pytest.raises(ValueError, match="neither vectors nor codes"):
            search([_core.Segment(offsets, numbers, None)], np.ones((1, 0), np.float32), 1, exact=exact)
    for ends, message in (
        (np.array([0, 2, 1]), "query offsets must not decrease"),
        (np.array([0, 2]), "from 0 to the end"),
        (np.array([1]), "from 0 to the end"),
        (np.empty(0, np.int64), "from 0 to the end"),
    ):
        with pytest.raises(ValueError, match=message):
            _core.search(query, ends, [segment], [None], options_of(1))
    for ids, wrong_offsets, starts, message in (
        (np.full((4, 2), 9, np.uint8), offsets, np.empty(3, np.uint64), "a centroid id is out of range"),
        (codes.id_bytes, offsets, np.empty(1, np.uint64), "one entry more than centroids"),
        (np.zeros((4, 3), np.uint8), offsets, np.empty(3, np.uint64), "2 or 4 bytes per token"),
        (codes.id_bytes, np.array([0, 3, 2, 4]), np.empty(3, np.uint64), "offsets must not decrease"),
        (codes.id_bytes, np.array([0, 3]), np.empty(3, np.uint64), "from 0 to the end"),
    ):
        with pytest.raises(ValueError, match=message):
            _core.make_postings(ids, wrong_offsets, starts)


def test_new_codes_remove_the_old_posting_lists() -> None:
    """Posting lists belong to centroids: with a larger codebook they would be read past their end."""
    vectors, offsets = random_tokens(np.random.default_rng(0), 400, 16, "unit"), offsets_of([1] * 400)
    segment = _core.Segment(offsets, np.arange(400), vectors.view(np.uint16))
    old_codes, new_codes = TokenCodes(vectors, 4, count=5), TokenCodes(vectors, 4, count=50_000)
    old_codes.attach_postings_to(old_codes.attach_to(segment), offsets)
    query = vectors[:3].astype(np.float32)
    assert search([segment], query, 5, candidates=20, postings=20)[2].probed
    new_codes.attach_to(segment)
    report = search([segment], query, 5, candidates=20, postings=10**6)[2]
    assert not report.probed
    assert report.scanned


def test_invalid_codes_change_nothing() -> None:
    vectors, offsets = random_tokens(np.random.default_rng(0), 400, 16, "unit"), offsets_of([1] * 400)
    segment = TokenCodes(vectors, 4, count=5).attach_to(_core.Segment(offsets, np.arange(400), None))
    query = vectors[:3].astype(np.float32)
    expected = search([segment], query, 5, candidates=20)[:2]
    large = TokenCodes(vectors, 4, count=50_000, seed=1)
    small_codebook = TokenCodes(vectors, 4, count=5).codebook
    with pytest.raises(ValueError, match="a centroid id is out of range"):
        segment.set_codes(
            small_codebook, large.id_bytes, large.residual_scales, large.errors, large.residuals, 4, large.max_norm
        )
    del large, small_codebook
    gc.collect()
    assert search([segment], query, 5, candidates=20)[:2] == expected


def test_a_segment_keeps_its_arrays_alive() -> None:
    case = CoreCase([3] * 60, 32, "unit", 2, with_postings=True)
    expected = [search(case.segments, case.query, 9, exact=exact)[:2] for exact in (False, True)]
    segments, query = case.segments, case.query
    del case
    gc.collect()
    # Likely to overwrite freed memory.
    junk = [np.full(10_000, 255, np.uint8) for _ in range(100)]
    assert [search(segments, query, 9, exact=exact)[:2] for exact in (False, True)] == expected
    assert len(junk) == 100
