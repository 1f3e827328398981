"""Windows of text around matches."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serotine.excerpts import (
    RELEVANT_WEIGHT,
    Span,
    by_sentences,
    by_width,
    from_offset,
    merge_spans,
    relevant_spans,
    sentences,
)


def spans_of(text: str, *words: str) -> list[Span]:
    return sorted((text.index(word), text.index(word) + len(word), 1.0) for word in words)


def test_spans_are_relevant_by_one_threshold_and_merged_where_they_touch() -> None:
    spans = [(0, 1, 1.0), (1, 2, RELEVANT_WEIGHT), (2, 3, RELEVANT_WEIGHT - 0.01), (4, 5, 0.8)]
    assert relevant_spans(spans) == [spans[0], spans[1], spans[3]]
    assert merge_spans(relevant_spans(spans)) == [(0, 2, 1.0), (4, 5, 0.8)]


def test_by_width_centers_the_heaviest_matches_and_cuts_between_words() -> None:
    text = "one " + "filler " * 50 + "serotine bats fly " + "filler " * 50
    excerpt = by_width(text, spans_of(text, "one", "serotine", "bats"), 60)
    assert text[excerpt.start : excerpt.end] == "filler filler filler serotine bats fly filler filler"
    assert by_width(text, [], 20).start == 0
    assert (by_width("short", [], 20).start, by_width("short", [], 20).end) == (0, 5)


def test_by_width_returns_a_long_match_whole() -> None:
    text = "a " * 50 + "b" * 40 + " c" * 50
    excerpt = by_width(text, spans_of(text, "b" * 40), 10)
    assert "b" * 40 in text[excerpt.start : excerpt.end]


def test_by_sentences_returns_whole_sentences_within_the_budget() -> None:
    text = "One sentence. The serotine bat flies late. Another one. And a last one."
    excerpt = by_sentences(text, spans_of(text, "serotine"), 30, len)
    assert text[excerpt.start : excerpt.end] == "The serotine bat flies late. "
    assert excerpt.cost == len("The serotine bat flies late. ")
    # Where the sentence does not fit, words of it.
    excerpt = by_sentences(text, spans_of(text, "serotine"), 14, len)
    assert text[excerpt.start : excerpt.end] == "The serotine "
    assert by_sentences(text, [], 0, len).end == 0


@pytest.mark.parametrize("weight", [0.1, RELEVANT_WEIGHT - 0.01])
def test_weak_matches_do_not_choose_the_excerpt(weight: float) -> None:
    text = "First words. Second words."
    assert by_sentences(text, [(13, 19, weight)], 14, len).start == 0


def test_from_offset_continues_where_the_last_excerpt_ended() -> None:
    text = "One. Two. Three."
    first = from_offset(text, 0, 10, len)
    assert text[first.start : first.end] == "One. Two. "
    second = from_offset(text, first.end, 10, len)
    assert text[second.start : second.end] == "Three."


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300), st.integers(0, 60), st.integers(0, 299))
def test_any_text(text: str, budget: int, offset: int) -> None:
    pieces = sentences(text)
    assert "".join(text[start:end] for start, end in pieces) == text
    spans = [(offset, offset + 1, 1.0)] if offset < len(text) else []
    excerpt = by_sentences(text, spans, budget, len)
    assert 0 <= excerpt.start <= excerpt.end <= len(text)
    assert excerpt.cost <= budget
    window = by_width(text, spans, max(budget, 1))
    assert not spans or window.start <= offset < window.end
    if offset < len(text):
        assert from_offset(text, offset, budget, len).cost <= budget
