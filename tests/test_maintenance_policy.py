"""When a codebook is trained, the head encoded and segments merged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serotine.index.growth.policy import (
    FAN_IN,
    FIRST_TRAINING,
    HEAD_TOKENS,
    LOADING_FAN_IN,
    OUTGROWN,
    Job,
    Kind,
    Shape,
    next_job,
)


def shape(number: int, tokens: int, codebook: int | None = None, *, live: int = 10, documents: int = 10) -> Shape:
    return Shape(number, codebook, documents, live, tokens)


def test_nothing_to_do() -> None:
    assert next_job([], None, 0, 0, 1000) is None
    assert next_job([shape(1, 500)], None, 0, 0, 1000) is None
    assert next_job([shape(1, 1 << 20, 1), shape(2, 500)], 1, 1 << 20, 0, 1000) is None


def test_a_codebook_is_trained_when_there_are_enough_tokens() -> None:
    assert next_job([shape(1, FIRST_TRAINING - 1)], None, 0, 0, 1000) is None
    assert next_job([shape(1, FIRST_TRAINING)], None, 0, 0, 1000) == Job(Kind.TRAIN)


def test_a_stream_of_known_length_first_fills_its_sample() -> None:
    sample, expected = 10 * FIRST_TRAINING, 1000 * FIRST_TRAINING
    assert next_job([shape(1, sample - 1)], None, 0, expected, sample) is None
    assert next_job([shape(1, sample)], None, 0, expected, sample) == Job(Kind.TRAIN)
    # A stream expected to be shorter than the sample does not wait for it.
    assert next_job([shape(1, FIRST_TRAINING)], None, 0, FIRST_TRAINING, sample) == Job(Kind.TRAIN)


def test_the_head_is_encoded_when_it_has_grown() -> None:
    encoded = shape(1, 1 << 20, 7)
    assert next_job([encoded, shape(2, HEAD_TOKENS - 1)], 7, 1 << 20, 0, 1000) is None
    job = next_job([encoded, shape(2, HEAD_TOKENS // 2), shape(3, HEAD_TOKENS // 2)], 7, 1 << 20, 0, 1000)
    assert job == Job(Kind.ENCODE, (2, 3))


def test_an_outgrown_codebook_is_retrained() -> None:
    old = shape(1, OUTGROWN * 1000, 7)
    assert next_job([old, shape(2, HEAD_TOKENS)], 7, 1000, 0, 1000) == Job(Kind.TRAIN)
    assert next_job([old, shape(2, HEAD_TOKENS)], 7, 1000, 1 << 30, 1000) == Job(Kind.ENCODE, (2,))


def test_small_segments_are_merged_and_large_ones_are_not() -> None:
    small = [shape(10 + i, 100) for i in range(FAN_IN)]
    assert next_job(small, None, 0, 0, 1000) == Job(Kind.MERGE, tuple(s.number for s in small))
    assert next_job(small[1:], None, 0, 0, 1000) is None
    large = shape(1, FIRST_TRAINING - 1000 * FAN_IN)
    assert next_job([large, *small], None, 0, 0, 1000) == Job(Kind.MERGE, tuple(s.number for s in small))


def test_segments_of_different_codebooks_are_not_merged() -> None:
    old = [shape(i, 100, 1) for i in range(4)]
    new = [shape(10 + i, 100, 2) for i in range(FAN_IN - 1)]
    assert next_job([*old, *new], 2, 1 << 20, 0, 1000) is None


def test_a_mostly_deleted_segment_is_rewritten() -> None:
    assert next_job([shape(1, 5000, 1, live=4)], 1, 5000, 0, 1000) == Job(Kind.MERGE, (1,))
    assert next_job([shape(1, 5000, 1, live=5)], 1, 5000, 0, 1000) is None
    assert next_job([shape(1, 5, live=0)], None, 0, 0, 1000) == Job(Kind.MERGE, (1,))


def test_while_a_stream_is_loading_segments_are_merged_less_often() -> None:
    segments = [shape(i, HEAD_TOKENS, 7) for i in range(LOADING_FAN_IN)]
    expected = (7, 1 << 30, 1 << 30, 1000)
    assert next_job(segments[1:], *expected, fan_in=LOADING_FAN_IN) is None
    assert next_job(segments, *expected, fan_in=LOADING_FAN_IN) == Job(Kind.MERGE, tuple(s.number for s in segments))
    # Also after an interrupted stream, of which more was expected.
    assert next_job(segments[1:], *expected) is not None


@given(st.lists(st.integers(1, 1 << 16), min_size=1, max_size=300), st.sampled_from([FAN_IN, LOADING_FAN_IN]))
def test_merging_terminates_with_few_segments(additions: list[int], fan_in: int) -> None:
    """After any additions there are few segments: fewer of every size class than are merged at once."""
    segments: list[Shape] = []
    written = 0
    for number, tokens in enumerate(additions):
        segments.append(shape(number, tokens, 1))
        while (job := next_job(segments, 1, 1 << 30, 0, 1000, fan_in=fan_in)) is not None:
            assert job.kind is Kind.MERGE
            chosen = [s for s in segments if s.number in job.segments]
            assert segments[-len(chosen) :] == chosen
            segments = segments[: -len(chosen)]
            total = sum(s.tokens for s in chosen)
            written += total
            segments.append(shape(number, total, 1))
    assert len(segments) < 9 * fan_in
    # Every token is rewritten a few times, not once per addition.
    assert written <= 9 * sum(additions)
