"""Why a document was found: which of its tokens each query token chose."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.errors import EncoderError


@dataclass(frozen=True, slots=True)
class TokenMatch:
    """One query token and the document token it chose.

    Attributes:
        query_token: the query token, as the tokeniser writes it.
        query_start: its first character in the query; equal to `query_end` for a special token.
        query_end: one past its last character.
        token: the document token it is most similar to; None in a document without tokens.
        start: first character of that token in the document's text; equal to `end` for a special token.
        end: one past its last character.
        similarity: their dot product, this query token's share of the score.
    """

    query_token: str
    query_start: int
    query_end: int
    token: str | None
    start: int
    end: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score taken apart: the similarities of `matches` add up to `score`.

    Attributes:
        id: the document's id.
        score: its MaxSim score.
        query: the query's text.
        text: the document's text.
        matches: one per query token, in order.
    """

    id: str
    score: float
    query: str
    text: str
    matches: tuple[TokenMatch, ...]

    def spans(self) -> list[tuple[int, int, float]]:
        """The document's matched words: (start, end, weight), in text order, weights in (0, 1], the best match 1.

        A word is as strong as the strongest match inside it. Special tokens and punctuation, on either side, mark
        nothing.
        """
        words: dict[tuple[int, int], float] = {}
        for match in self.matches:
            asked = self.query[match.query_start : match.query_end]
            chosen = self.text[match.start : match.end]
            if match.similarity <= 0 or not _has_letters(asked) or not _has_letters(chosen):
                continue
            word = _word_around(self.text, match.start, match.end)
            words[word] = max(words.get(word, 0.0), match.similarity)
        strongest = max(words.values(), default=1.0)
        return [(start, end, weight / strongest) for (start, end), weight in sorted(words.items())]


def word_spans(query: str, text: str) -> list[tuple[int, int, float]]:
    """Where words of a question stand in a text, as `Explanation.spans` gives them, without an encoder."""
    wanted = {word.casefold() for word in re.findall(r"\w+", query)}
    found = re.finditer(r"\w+", text)
    return [(match.start(), match.end(), 1.0) for match in found if match.group().casefold() in wanted]


def _has_letters(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _word_around(text: str, start: int, end: int) -> tuple[int, int]:
    # Scripts written without spaces would grow to a whole sentence: only ASCII words are widened.
    def inside(character: str) -> bool:
        return character.isascii() and character.isalnum()

    if inside(text[start]):
        while start > 0 and inside(text[start - 1]):
            start -= 1
    if inside(text[end - 1]):
        while end < len(text) and inside(text[end]):
            end += 1
    return start, end


def explain(
    id_: str,
    query: str,
    query_vectors: NDArray[np.float32],
    query_tokens: list[Any],
    text: str,
    document_vectors: NDArray[np.float16],
    document_tokens: list[Any],
) -> Explanation:
    """Aligns a query with one document, both as vectors and as the tokens that belong to their rows."""
    for what, tokens, vectors in (
        ("query", query_tokens, query_vectors),
        ("document", document_tokens, document_vectors),
    ):
        if len(tokens) != len(vectors):
            raise EncoderError(
                f"{id_}: the encoder tells {len(tokens)} tokens for {len(vectors)} {what} vectors; "
                "it is not the encoder this index was built with"
            )
    stored = document_vectors.astype(np.float32)
    scores, where = maxsim.score_contrastive_with_argmax(query_vectors[None], stored, [0, len(stored)])
    matches = []
    for row, (asked, place) in enumerate(zip(query_tokens, where[0, 0].tolist(), strict=True)):
        chosen = document_tokens[place] if place >= 0 else None
        similarity = float(query_vectors[row] @ stored[place]) if chosen is not None else float("-inf")
        matches.append(
            TokenMatch(
                query_token=asked.text,
                query_start=asked.start,
                query_end=asked.end,
                token=None if chosen is None else chosen.text,
                start=0 if chosen is None else chosen.start,
                end=0 if chosen is None else chosen.end,
                similarity=similarity,
            )
        )
    return Explanation(id_, float(scores[0, 0]), query, text, tuple(matches))
