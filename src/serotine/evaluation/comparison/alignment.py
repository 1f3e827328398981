"""Which tokens of a passage a question matched, and how well: what a report shades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from serotine.index import explain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serotine.text_encoder import TextEncoder


@dataclass(frozen=True, slots=True)
class Alignment:
    """One question beside one passage, token by token.

    Attributes:
        score: MaxSim.
        shares: (start, end, share) of passage characters in text order: how much of the score the tokens there gave,
            the most 1. What special tokens gave is in `unplaced`.
        unplaced: the part of the score, 0 to 1, that was matched by special tokens, which stand nowhere in the text.
        query_tokens: the question's tokens, in order.
        tokens: the passage's tokens that some query token chose, in order.
        similarities: of each query token (rows) with each of `tokens` (columns).
        chosen: for each query token the place in `tokens` of the one it chose.
    """

    score: float
    shares: tuple[tuple[int, int, float], ...]
    unplaced: float
    query_tokens: tuple[str, ...]
    tokens: tuple[str, ...]
    similarities: tuple[tuple[float, ...], ...]
    chosen: tuple[int, ...]


def align(encoder: TextEncoder, query: str, passages: Sequence[str]) -> list[Alignment]:
    """Aligns a question with passages.

    Args:
        encoder: a late-interaction encoder; it sees as much of a passage as its document length allows.
        query: the question.
        passages: texts.

    Returns:
        One alignment a passage.

    Raises:
        EncoderError: the encoder fails on them, or tells other tokens than it encodes.
    """
    (asked,) = encoder.encode_queries([query])
    query_tokens = list(encoder.tokens(query, query=True))
    encoded = encoder.encode_documents(passages)
    return [
        _align(query, asked, query_tokens, passage, vectors, list(encoder.tokens(passage, query=False)))
        for passage, vectors in zip(passages, encoded, strict=True)
    ]


def _align(
    query: str,
    asked: NDArray[np.float32],
    query_tokens: list[Any],
    passage: str,
    vectors: NDArray[np.float32],
    tokens: list[Any],
) -> Alignment:
    # Rounded as an index keeps them.
    kept = vectors.astype(np.float16)
    told = explain("passage", query, asked, query_tokens, passage, kept, tokens)
    table = asked @ kept.astype(np.float32).T
    # As `explain` breaks ties: the first of equals.
    best = table.argmax(axis=1) if len(vectors) else np.zeros(0, dtype=np.int64)
    columns = np.unique(best)
    gains: dict[tuple[int, int], float] = {}
    for match in told.matches:
        gains[match.start, match.end] = gains.get((match.start, match.end), 0.0) + max(match.similarity, 0.0)
    total = sum(gains.values())
    placed = {span: gain for span, gain in gains.items() if span[0] < span[1] and gain > 0}
    strongest = max(placed.values(), default=1.0)
    return Alignment(
        score=told.score,
        shares=tuple((start, end, gain / strongest) for (start, end), gain in sorted(placed.items())),
        unplaced=1 - sum(placed.values()) / total if total else 0.0,
        query_tokens=tuple(_surface(token, query) for token in query_tokens),
        tokens=tuple(_surface(tokens[column], passage) for column in columns.tolist()),
        similarities=tuple(tuple(row) for row in table[:, columns].round(4).tolist()),
        chosen=tuple(np.searchsorted(columns, best).tolist()),
    )


def _surface(token: Any, text: str) -> str:
    """A token as it stands in the text; a special token, which stands nowhere, as the tokeniser writes it."""
    return text[token.start : token.end] or str(token.text)
