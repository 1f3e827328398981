"""Explanations: which document token each query token matched best."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.common_words import rarity
from serotine.errors import EncoderError
from serotine.languages import WITHOUT_SPACES, letter_script


@dataclass(frozen=True, slots=True)
class TokenMatch:
    """A query token and the document token it matches best.

    Attributes:
        query_token: the query token, as the tokenizer writes it.
        query_start: its first character in the query; equal to `query_end` for a special token.
        query_end: one past its last character.
        token: the most similar document token; None in a document without tokens.
        start: first character of that token in the document's text; equal to `end` for a special token.
        end: one past its last character.
        similarity: their dot product, which the query token adds to the score.
        rarity: how much the match says about the document: 1 for rare words, down to 0.1 for words of every document.
    """

    query_token: str
    query_start: int
    query_end: int
    token: str | None
    start: int
    end: int
    similarity: float
    rarity: float = 1.0


@dataclass(frozen=True, slots=True)
class Explanation:
    """The parts of a document's score: the similarities of `matches` add up to `score`.

    Attributes:
        id: the document's id; of one that was split, that of the passage explained.
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
        """Return the document's matched words: (start, end, weight), in text order, weights in (0, 1], the best 1.

        A word's weight is that of the strongest match inside it: similarity times rarity, so that common words are
        faint. Special tokens and punctuation, in the query or the document, are skipped.
        """
        words: dict[tuple[int, int], float] = {}
        for match in self.matches:
            query_token = self.query[match.query_start : match.query_end]
            token = self.text[match.start : match.end]
            if match.similarity <= 0 or not _is_word(query_token) or not _is_word(token):
                continue
            word = _word_around(self.text, match.start, match.end)
            words[word] = max(words.get(word, 0.0), match.similarity * match.rarity)
        strongest = max(words.values(), default=1.0)
        return [(start, end, weight / strongest) for (start, end), weight in sorted(words.items())]


def _is_word(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _word_around(text: str, start: int, end: int) -> tuple[int, int]:
    # Scripts written without spaces would extend to a whole sentence: their tokens stay as they are.
    def inside(character: str) -> bool:
        if character.isascii():
            return character.isalnum()
        # Vowel signs and accents are marks; a script is the first word of their names too.
        is_part = character.isalnum() or unicodedata.category(character).startswith("M")
        return is_part and letter_script(character) not in WITHOUT_SPACES

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
    rarity: Callable[[str], float] = rarity,
) -> Explanation:
    """Align a query with a document, given the vectors of both and the token of every row; `rarity` is of a word."""
    for name, tokens, vectors in (
        ("query", query_tokens, query_vectors),
        ("document", document_tokens, document_vectors),
    ):
        if len(tokens) != len(vectors):
            raise EncoderError(
                f"{id_}: the encoder reports {len(tokens)} tokens for {len(vectors)} {name} vectors; "
                "use the encoder this index was built with"
            )
    stored = document_vectors.astype(np.float32)
    scores, positions = maxsim.score_contrastive_with_argmax(query_vectors[None], stored, [0, len(stored)])
    matches = []
    for row, (query_token, position) in enumerate(zip(query_tokens, positions[0, 0].tolist(), strict=True)):
        token = document_tokens[position] if position >= 0 else None
        query_start, query_end = _without_spaces(query, query_token)
        start, end = (0, 0) if token is None else _without_spaces(text, token)
        similarity = float(query_vectors[row] @ stored[position]) if token is not None else float("-inf")
        matches.append(
            TokenMatch(
                query_token=query_token.text,
                query_start=query_start,
                query_end=query_end,
                token=None if token is None else token.text,
                start=start,
                end=end,
                similarity=similarity,
                rarity=min((rarity(word) for word in _matched_words(query, query_token, text, token)), default=1.0),
            )
        )
    return Explanation(id_, float(scores[0, 0]), query, text, tuple(matches))


def _without_spaces(text: str, token: Any) -> tuple[int, int]:
    """Return a token's characters without the space before its word, which SentencePiece counts with it."""
    piece = text[token.start : token.end]
    start = token.start + len(piece) - len(piece.lstrip())
    return start, max(start, token.end - len(piece) + len(piece.rstrip()))


def _matched_words(query: str, query_token: Any, text: str, token: Any | None) -> Iterator[str]:
    """Yield the words around two matched tokens; none for special tokens and punctuation."""
    for whole, part in ((query, query_token), (text, token)):
        if part is not None and _is_word(whole[part.start : part.end]):
            start, end = _word_around(whole, *_without_spaces(whole, part))
            yield whole[start:end]
