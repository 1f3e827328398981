"""Queries made from the documents of an index, to measure its recall where nobody has given any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serotine.excerpts import sentences
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.store import Origin, Snapshot, Store
from serotine.index.text_vectors import encode_queries

SEED = 42
# Lengths of a query: of sentences in words, as people ask; of runs in tokens, as models cut queries.
_WORDS, _TOKENS = (4, 24), (6, 32)
# Sentences encoded at a time.
_BATCH = 32


@dataclass(frozen=True, slots=True)
class OwnQuery:
    """A query made from a document.

    Attributes:
        vectors: float32 (tokens, dim).
        document: number of that document, which is left out of its answers.
    """

    vectors: NDArray[np.float32]
    document: int


def own_queries(
    store: Store, snapshot: Snapshot, encoder: RecordedEncoder, count: int, *, with_texts: bool
) -> tuple[Origin, Iterator[OwnQuery]]:
    """Return at most `count` queries, of documents drawn at random: sentences of their texts, or runs of their tokens.

    Tokens unless `with_texts`, or where no document has a text.
    """
    numbers = _drawn(snapshot, count)
    if with_texts and next(_sentences(store, numbers), None) is not None:
        return "sentences", _encoded(store, numbers, encoder)
    return "tokens", _runs(snapshot, numbers)


def _drawn(snapshot: Snapshot, count: int) -> NDArray[np.int64]:
    views = snapshot.segments.values()
    live = np.concatenate([view.numbers if view.live is None else view.numbers[view.live] for view in views])
    return np.random.default_rng(SEED).permutation(live)[: 2 * count]


def _sentences(store: Store, numbers: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    """Yield a sentence of every document that has one of a query's length, with the document's number."""
    rng = np.random.default_rng([SEED, 1])
    for start in range(0, len(numbers), _BATCH):
        rows = store.catalog.rows(numbers[start : start + _BATCH].tolist())
        for number in numbers[start : start + _BATCH].tolist():
            text = (rows[number].text or "") if number in rows else ""
            pieces = [text[first:last].strip() for first, last in sentences(text)]
            fitting = [piece for piece in pieces if _WORDS[0] <= len(piece.split()) <= _WORDS[1]]
            if not fitting and text.split():
                # Scripts without spaces, and texts of one long sentence.
                fitting = [_cut(max(pieces, key=len))]
            if fitting:
                yield number, fitting[int(rng.integers(len(fitting)))]


def _cut(text: str) -> str:
    """Return the beginning of a text, at most as long as a query."""
    words = text.split()
    return " ".join(words[: _WORDS[1]]) if len(words) > _WORDS[0] else text[: 4 * _WORDS[1]]


def _encoded(store: Store, numbers: NDArray[np.int64], encoder: RecordedEncoder) -> Iterator[OwnQuery]:
    batch: list[tuple[int, str]] = []
    for pair in _sentences(store, numbers):
        batch.append(pair)
        if len(batch) == _BATCH:
            yield from _encode(batch, encoder, store.settings.dim)
            batch = []
    if batch:
        yield from _encode(batch, encoder, store.settings.dim)


def _encode(batch: list[tuple[int, str]], encoder: RecordedEncoder, dim: int) -> Iterator[OwnQuery]:
    vectors = encode_queries(encoder.get(), [text for _, text in batch], dim)
    for (number, _), rows in zip(batch, vectors, strict=True):
        if len(rows):
            yield OwnQuery(rows, number)


def _runs(snapshot: Snapshot, numbers: NDArray[np.int64]) -> Iterator[OwnQuery]:
    rng = np.random.default_rng([SEED, 2])
    for number in numbers.tolist():
        located = snapshot.locate(number)
        tokens = np.empty((0, 0)) if located is None else located[0].document(located[1])
        length = int(rng.integers(_TOKENS[0], _TOKENS[1] + 1))
        if len(tokens) >= _TOKENS[0]:
            first = int(rng.integers(max(len(tokens) - length, 0) + 1))
            yield OwnQuery(tokens[first : first + length].astype(np.float32), number)
