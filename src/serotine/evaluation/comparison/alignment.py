"""Alignment of queries and passages: which tokens of a passage a query matched, and how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from serotine.errors import EncoderError
from serotine.issued_warnings import muted_warnings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serotine.text_encoder import TextEncoder


@dataclass(frozen=True, slots=True)
class Alignment:
    """The alignment of one query with one passage, token by token.

    Attributes:
        score: the MaxSim score.
        shares: (start, end, share) of passage characters in text order: the contribution of the tokens there to the
            score, relative to the largest. Special tokens count in `unplaced` instead.
        unplaced: the share of the score, 0 to 1, of special tokens, which have no position in the text.
        query_tokens: the tokens of the query, in order.
        tokens: the tokens of the passage that some query token chose, in order.
        similarities: the similarity of each query token (rows) with each of `tokens` (columns).
        chosen: for each query token, the position in `tokens` of the most similar one.
    """

    score: float
    shares: tuple[tuple[int, int, float], ...]
    unplaced: float
    query_tokens: tuple[str, ...]
    tokens: tuple[str, ...]
    similarities: tuple[tuple[float, ...], ...]
    chosen: tuple[int, ...]


def align(encoder: TextEncoder, query: str, passages: Sequence[str]) -> list[Alignment]:
    """Align a query with passages.

    Args:
        encoder: a late-interaction encoder; it truncates passages at its document length.
        query: the query.
        passages: the passages.

    Returns:
        One alignment per passage.

    Raises:
        EncoderError: the encoder fails, or returns different numbers of tokens and vectors.
    """
    with muted_warnings():
        (query_vectors,) = encoder.encode_queries([query])
        encoded = encoder.encode_documents(passages)
    query_tokens = list(encoder.tokens(query, query=True))
    _check_count(query_tokens, query_vectors)
    return [
        _align(query, query_vectors, query_tokens, passage, vectors, list(encoder.tokens(passage, query=False)))
        for passage, vectors in zip(passages, encoded, strict=True)
    ]


def _align(
    query: str,
    query_vectors: NDArray[np.float32],
    query_tokens: list[Any],
    passage: str,
    vectors: NDArray[np.float32],
    tokens: list[Any],
) -> Alignment:
    _check_count(tokens, vectors)
    # Rounded to float16, as an index stores them.
    table = query_vectors @ vectors.astype(np.float16).astype(np.float32).T
    # The first of equal similarities, as in MaxSim.
    best = table.argmax(axis=1) if len(vectors) else np.zeros(0, dtype=np.int64)
    columns = np.unique(best)
    gains: dict[tuple[int, int], float] = {}
    for row, column in enumerate(best.tolist()):
        span = tokens[column].start, tokens[column].end
        gains[span] = gains.get(span, 0.0) + max(float(table[row, column]), 0.0)
    total = sum(gains.values())
    placed = {span: gain for span, gain in gains.items() if span[0] < span[1] and gain > 0}
    largest = max(placed.values(), default=1.0)
    return Alignment(
        score=float(table.max(axis=1).sum()) if len(vectors) else float("-inf"),
        shares=tuple((start, end, gain / largest) for (start, end), gain in sorted(placed.items())),
        unplaced=1 - sum(placed.values()) / total if total else 0.0,
        query_tokens=tuple(_surface(token, query) for token in query_tokens),
        tokens=tuple(_surface(tokens[column], passage) for column in columns.tolist()),
        similarities=tuple(tuple(row) for row in table[:, columns].round(4).tolist()),
        chosen=tuple(np.searchsorted(columns, best).tolist()),
    )


def _check_count(tokens: Sequence[Any], vectors: NDArray[Any]) -> None:
    if len(tokens) != len(vectors):
        raise EncoderError(f"encoder: must return one token per vector, got {len(tokens)} for {len(vectors)} vectors")


def _surface(token: Any, text: str) -> str:
    """Return a token as written in the text, or a special token as the tokenizer writes it."""
    return text[token.start : token.end] or str(token.text)
