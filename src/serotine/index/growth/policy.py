"""The maintenance policy: which job is due, decided from sizes alone.

New documents form the head: segments of float16 vectors, scored completely. When the head has grown, it is encoded
with the newest codebook. Segments of similar size are merged, so that a collection of n tokens has O(log n) segments.
A codebook is trained once there are enough tokens, and again when the collection has outgrown it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from serotine.index.store import Snapshot

# Tokens that trigger the first codebook: below, scoring every float16 vector takes a few milliseconds.
FIRST_TRAINING = 1 << 17
# Tokens that trigger encoding of the head: scoring that many float16 vectors takes one or two milliseconds.
HEAD_TOKENS = 1 << 14
# A codebook is outgrown when the collection has this many times the tokens it was trained for.
OUTGROWN = 4
# A codebook does not fit new tokens when its error on them is this many times its error in training.
DRIFTED = 1.25
# Segments of similar size that are merged at once, and the upper limit in tokens of the smallest size class.
FAN_IN = 8
_SMALLEST = 1024
# FAN_IN while a stream is loading: fewer rewrites of every token, slower searches until the stream ends. Each segment
# holds two or three open files, of which some systems allow a process 256.
LOADING_FAN_IN = 24
# A segment is rewritten without its tombstones when more than this share of its documents is deleted.
_MAX_DELETED = 0.5


class Kind(Enum):
    """Kind of a maintenance job."""

    TRAIN = "train a codebook"
    ENCODE = "encode the head"
    MERGE = "merge segments"


@dataclass(frozen=True, slots=True)
class Job:
    """A maintenance job, with the numbers of the segments it replaces."""

    kind: Kind
    segments: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a segment.

    Attributes:
        number: segment number.
        codebook: number of the codebook of its codes, or None in the head.
        documents: number of documents, tombstones included.
        live: number of live documents.
        tokens: number of token vectors.
    """

    number: int
    codebook: int | None
    documents: int
    live: int
    tokens: int


def shapes(snapshot: Snapshot) -> list[Shape]:
    """Return the shapes of a snapshot's segments, in the order of their documents."""
    return [
        Shape(number, view.segment.record.codebook, view.numbers.size, view.documents, view.segment.record.tokens)
        for number, view in snapshot.segments.items()
    ]


def next_job(
    segments: Sequence[Shape],
    codebook: int | None,
    codebook_tokens: int,
    expected: int,
    sample: int,
    limit: int = sys.maxsize,
    fan_in: int = FAN_IN,
) -> Job | None:
    """Return the most urgent job, or None.

    Args:
        segments: in the order of their documents.
        codebook: number of the newest codebook, or None.
        codebook_tokens: number of tokens it was trained for.
        expected: number of tokens that the collection is expected to reach; 0 if unknown.
        sample: number of tokens that train a codebook for a collection of that size.
        limit: number of tokens that a merged segment may have.
        fan_in: number of segments of similar size that are merged at once.
    """
    for shape in segments:
        if shape.live < shape.documents * (1 - _MAX_DELETED) and (shape.tokens > _SMALLEST or not shape.live):
            return Job(Kind.MERGE, (shape.number,))
    head = [shape for shape in segments if shape.codebook is None]
    head_tokens = sum(shape.tokens for shape in head)
    total = sum(shape.tokens for shape in segments)
    if codebook is None:
        # A stream of known length first fills the sample of the codebook that the whole stream will need.
        if head_tokens >= max(FIRST_TRAINING, min(sample, expected)):
            return Job(Kind.TRAIN)
    elif head_tokens >= HEAD_TOKENS:
        if total > OUTGROWN * max(codebook_tokens, expected):
            return Job(Kind.TRAIN)
        return Job(Kind.ENCODE, tuple(shape.number for shape in head))
    coded = [shape for shape in segments if shape.codebook is not None]
    return _next_merge(head, limit, fan_in) or _next_merge(coded, limit, fan_in)


def runs(sizes: Sequence[int], limit: int) -> list[slice]:
    """Return which adjacent segments become one: as many as have `limit` tokens together, at least one.

    >>> runs([5, 3, 4, 20, 1], 8)
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None), slice(4, 5, None)]
    """
    starts, tokens = [0], 0
    for i, size in enumerate(sizes):
        tokens += size
        if tokens > limit and i > starts[-1]:
            starts.append(i)
            tokens = size
    return [slice(*run) for run in pairwise([*starts, len(sizes)])] if sizes else []


@contextmanager
def first_training_at(tokens: int) -> Iterator[None]:
    """Train the first codebook at `tokens` tokens inside the block, to measure the codes of small collections."""
    global FIRST_TRAINING
    usual = FIRST_TRAINING
    FIRST_TRAINING = tokens
    try:
        yield
    finally:
        FIRST_TRAINING = usual


def _next_merge(segments: Sequence[Shape], limit: int, fan_in: int) -> Job | None:
    """Return the merge of the newest `fan_in` or more segments of one size class and codebook, or None.

    Of those that have more than `limit` tokens together, the newest.
    """
    for size in range(64):
        run: list[Shape] = []
        for shape in reversed(segments):
            if shape.codebook != segments[-1].codebook or shape.tokens >= _SMALLEST * fan_in**size:
                break
            run.append(shape)
        if len(run) >= fan_in:
            newest = run[runs([shape.tokens for shape in run], limit)[0]]
            if len(newest) > 1:
                return Job(Kind.MERGE, tuple(shape.number for shape in reversed(newest)))
        if len(run) == len(segments):
            break
    return None
