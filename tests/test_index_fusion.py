"""Fusion: the published formula, ties to the lower number, and the same result in any order of the rankings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import Index
from serotine.index.search.fusion import reciprocal_rank, weighted_sum

RANKINGS = st.lists(st.lists(st.integers(1, 30), unique=True, max_size=12), max_size=5)
SCORED = st.lists(
    st.lists(
        st.tuples(st.integers(1, 30), st.floats(-1e308, 1e308, allow_nan=False)),
        unique_by=lambda hit: hit[0],
        max_size=12,
    ),
    max_size=5,
)


def test_reciprocal_rank_is_the_papers_formula() -> None:
    fused = reciprocal_rank([[7, 3, 5], [3, 9]])
    assert [number for number, _ in fused] == [3, 7, 9, 5]
    assert dict(fused) == pytest.approx({3: 1 / 62 + 1 / 61, 7: 1 / 61, 9: 1 / 62, 5: 1 / 63})


def test_reciprocal_rank_weights_and_k() -> None:
    assert reciprocal_rank([[1, 2], [2, 1]], k=0, weights=[1.0, 3.0]) == [(2, 3.5), (1, 2.5)]
    # What only a ranking without weight contains says nothing.
    assert reciprocal_rank([[1], [2]], weights=[0, 1]) == [(2, 1 / 61)]
    assert weighted_sum([[(1, 5.0)], [(2, 4.0)]], [0, 1]) == [(2, 1.0)]


def test_ties_go_to_the_lower_number() -> None:
    assert [number for number, _ in reciprocal_rank([[9, 2], [2, 9]])] == [2, 9]
    assert weighted_sum([[(9, 5.0), (4, 5.0)]], [1]) == [(4, 1.0), (9, 1.0)]


def test_nothing_to_fuse() -> None:
    assert reciprocal_rank([]) == []
    assert reciprocal_rank([[], []]) == []
    assert weighted_sum([], []) == []
    assert weighted_sum([[]], [2.0]) == []


def test_weighted_sum_normalizes_each_ranking() -> None:
    dense = [(1, 30.0), (2, 20.0), (3, 10.0)]
    lexical = [(3, 0.9), (4, 0.1)]
    assert weighted_sum([dense, lexical], [0.5, 0.5]) == [(1, 0.5), (3, 0.5), (2, 0.25), (4, 0.0)]


def test_weighted_sum_of_extreme_scores() -> None:
    assert weighted_sum([[(1, 1.7e308), (2, 0.0), (3, -1.7e308)]], [1.0]) == [(1, 1.0), (2, 0.5), (3, 0.0)]
    # The smallest float64 difference counts.
    assert weighted_sum([[(1, 5e-324), (2, 0.0)]], [1.0]) == [(1, 1.0), (2, 0.0)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reciprocal_rank([[1]], k=-1), "k: must be at least 0, got -1"),
        (lambda: reciprocal_rank([[1], [2, 2]]), r"rankings\[1\]: duplicate document 2"),
        (lambda: reciprocal_rank([[1]], weights=[]), "weights: must be one per ranking, 1, got 0"),
        (
            lambda: reciprocal_rank([[1], [2]], weights=[1, -1]),
            r"weights\[1\]: must be finite and at least 0, got -1",
        ),
        (lambda: reciprocal_rank([[1]], weights=[math.nan]), r"weights\[0\]: must be finite"),
        (lambda: weighted_sum([[(1, 1.0), (1, 2.0)]], [1]), r"rankings_with_scores\[0\]: duplicate document 1"),
        (
            lambda: weighted_sum([[(8, math.inf)]], [1]),
            r"rankings_with_scores\[0\]: score of document 8: must be finite, got inf",
        ),
        (lambda: weighted_sum([[(8, 1.0)]], []), "weights: must be one per ranking"),
    ],
)
def test_invalid_arguments(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@given(RANKINGS)
def test_the_order_of_rankings_does_not_matter(rankings: list[list[int]]) -> None:
    fused = reciprocal_rank(rankings)
    assert fused == reciprocal_rank(rankings[::-1])
    assert {number for number, _ in fused} == {number for ranking in rankings for number in ranking}
    assert fused == sorted(fused, key=lambda hit: (-hit[1], hit[0]))


@given(SCORED)
def test_weighted_sum_stays_within_its_weights(rankings: list[list[tuple[int, float]]]) -> None:
    weights = [1.0] * len(rankings)
    fused = weighted_sum(rankings, weights)
    assert fused == weighted_sum(rankings[::-1], weights)
    assert all(0 <= score <= len(rankings) for _, score in fused)
    assert fused == sorted(fused, key=lambda hit: (-hit[1], hit[0]))


class SilentEncoder(WordEncoder):
    """An encoder that returns no vectors for a text that contains "silence"."""

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        encoded = super().encode_documents(texts)
        return [rows[:0] if "silence" in text else rows for text, rows in zip(texts, encoded, strict=True)]


def test_documents_without_tokens_are_found_by_their_words_only(tmp_path: Path) -> None:
    with Index.create(tmp_path / "i", encoder=SilentEncoder()) as index:
        index.add(ids=["a", "b", "c"], texts=["a bat", "a bat of silence", "silence"])
        hits = index.search("bat", k=3, mode="hybrid", fusion="sum", weights=[1, 1])
        # "b" matches by words, "c" by nothing.
        assert [hit.id for hit in hits] == ["a", "b"]
        assert hits[1].score_per_token is None
