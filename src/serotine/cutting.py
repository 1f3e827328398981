"""Texts cut into pieces of a maximum number of tokens, where a paragraph, a sentence or a word ends."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from serotine.text_encoder import TextEncoder

# The metadata that say which passage a document is.
PASSAGE_FIELDS = ("document", "start", "end")
MIN_TOKENS = 16
# Characters of the metadata of one document in all its passages together: each has all of them.
_MAX_REPEATED_METADATA = 64 << 20
# About the length of the passages that late-interaction models are trained and evaluated on.
_DEFAULT_TOKENS = 256
_OVERLAP_DIVISOR = 8
# A word outside the vocabulary is one token, however long: passages have at most so many characters per token allowed.
# English has about 5.
_MAX_CHARACTERS_PER_TOKEN = 8
# A longer token is counted, and may be cut, as if it were several; only unknown words are so long.
_LONG_TOKEN = 32
# Characters tokenized at once; tokenizers hold much memory for each token.
_BLOCK = 1 << 15
_BLOCKS_PER_CALL = 32

_PARAGRAPH = re.compile(r"\n[ \t\r\f]*\n\s*")
_SENTENCE = re.compile(r"""(?<![.!?…])[.!?…]++["'”’»)\]]*+\s+|[。！？｡]+["”’」』）]*\s*""")  # noqa: RUF001
_LINE = re.compile(r"[\r\n]\s*")
_WORD = re.compile(r"\s+")
# Pieces about as long as tokens: a letter of scripts without spaces, otherwise a word or a part of a long one.
_WORD_LIKE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w{1,12}|[^\w\s]")

Spans = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PassageContext:
    """The text that a passage is encoded in, for late chunking.

    Attributes:
        text: of consecutive passages of a document, one object for all of them.
        start: first character of the passage in it.
        end: one past its last.
    """

    text: str
    start: int
    end: int


def default_length(room: int | None) -> tuple[int, int]:
    """Return the tokens of a passage, 256 if the encoder has room for as many, and of its overlap, an eighth."""
    length = max(min(_DEFAULT_TOKENS, room or _DEFAULT_TOKENS), MIN_TOKENS)
    return length, default_overlap(length)


def default_overlap(tokens: int) -> int:
    """Return about how many tokens a passage shares with the one before it."""
    return tokens // _OVERLAP_DIVISOR


def max_characters(tokens: int) -> int:
    """Return the maximum number of characters of a passage of at most so many tokens."""
    return tokens * _MAX_CHARACTERS_PER_TOKEN


def passage_id(document: str, number: int) -> str:
    """Return the id of a document's passage, numbered from 1."""
    return f"{document}#{number}"


def passage_metadata(metadata: Mapping[str, Any], document: str, start: int, end: int) -> dict[str, Any]:
    """Return a document's metadata with the passage's own: the document's id, and its characters in the text.

    A field of the document with one of these names is renamed, as `with_own` does.
    """
    return with_own(metadata, dict(zip(PASSAGE_FIELDS, (document, start, end), strict=True)))


def repeated_metadata_problem(length: int) -> str:
    """Return what is wrong where all passages of a document have metadata of so many characters together, or ""."""
    if length <= _MAX_REPEATED_METADATA:
        return ""
    return (
        f"the metadata of its passages must be at most {_MAX_REPEATED_METADATA:,} characters together, as each has "
        "those of the whole text, got more; shorten its title, headings or other metadata, or split the text"
    )


def with_own(
    metadata: Mapping[str, Any], own: Mapping[str, Any], renamed: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return a document's metadata with fields of Serotine's own.

    A field of the document with one of their names is renamed: "start" to "document_start", or, where the document has
    that too, to "document_document_start". `renamed` is what `new_names` returns of both, where that is known.
    """
    if renamed is None:
        renamed = new_names(metadata, own)
    return {**{renamed.get(key, key): value for key, value in metadata.items()}, **own}


def new_names(metadata: Mapping[str, Any], own: Iterable[str]) -> dict[str, str]:
    """Return the names that `with_own` gives to the fields of a document that have one of Serotine's own names."""
    renamed = {}
    for key in metadata.keys() & set(own):
        name = key
        while name in own or name in metadata:
            name = f"document_{name}"
        renamed[key] = name
    return renamed


class Cutter:
    """Cuts texts by the tokens of one encoder.

    Args:
        encoder: the encoder whose tokens are counted.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    def fits(self, text: str, tokens: int) -> bool:
        """Return whether a text certainly has at most so many tokens, without counting: each has a byte of its own."""
        return len(text) <= tokens and len(text.encode("utf-8", "replace")) <= tokens

    def cut(self, text: str, tokens: int, overlap: int) -> list[tuple[int, int]]:
        """Return the (start, end) of the pieces of a text without structure, without white space at their ends."""
        return stripped(text, self.pieces(text, 0, len(text), self.spans(text, 0, len(text)), tokens, overlap))

    def pieces(self, text: str, start: int, end: int, spans: Spans, tokens: int, overlap: int) -> list[tuple[int, int]]:
        """Cut a part of a text into pieces of at most `tokens` tokens, counted as they are encoded: each piece alone.

        Args:
            text: the text.
            start: first character of the part.
            end: one past its last.
            spans: `spans` of the part.
            tokens: maximum tokens of a piece.
            overlap: about how many tokens a piece shares with the one before it.
        """
        target = tokens
        # Most pieces end where a sentence does, and are the same for a target that is a little smaller.
        counts: dict[tuple[int, int], int] = {}
        while True:
            pieces = _pieces(text, start, end, spans, target, min(overlap, target // 2))
            unknown = [piece for piece in pieces if piece not in counts]
            counted = self.count([text[first:last].strip() for first, last in unknown])
            counts.update(zip(unknown, map(len, counted), strict=True))
            largest = max(counts[piece] for piece in pieces)
            if largest <= tokens or target == 1:
                return pieces
            target = max(target - (largest - tokens), 1)

    def count(self, texts: Sequence[str]) -> list[Spans]:
        """Return the (start, end) of the tokens of every text."""
        token_spans: Callable[[Sequence[str]], list[Spans]] | None = getattr(self._encoder, "token_spans", None)
        if token_spans is not None:
            spans: list[Spans] = []
            for start in range(0, len(texts), _BLOCKS_PER_CALL):
                spans += token_spans(texts[start : start + _BLOCKS_PER_CALL])
            return spans
        # An encoder with only what an index requires.
        words = [[match.span() for match in _WORD_LIKE.finditer(text)] for text in texts]
        return [np.array(pieces, np.int32).reshape(-1, 2) for pieces in words]

    def spans(self, text: str, start: int, end: int) -> Spans:
        """Return the (start, end) of the tokens between two offsets."""
        offsets = [start]
        while offsets[-1] + _BLOCK < end:
            # Cut at a space, which no token spans.
            limit = offsets[-1] + _BLOCK
            spaces = [match.end() for match in _WORD.finditer(text, offsets[-1] + _BLOCK // 2, limit)]
            offsets.append(spaces[-1] if spaces else limit)
        offsets.append(end)
        blocks = self.count([text[a:b] for a, b in pairwise(offsets)])
        shifted = [spans + offset for spans, offset in zip(blocks, offsets, strict=False)]
        return np.concatenate(shifted) if shifted else np.empty((0, 2), np.int32)


def stripped(text: str, pieces: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return pieces without white space at their ends, and without those of nothing else."""
    result = []
    for start, end in pieces:
        piece = text[start:end]
        if content := piece.strip():
            start += len(piece) - len(piece.lstrip())
            result.append((start, start + len(content)))
    return result


def _without_long_tokens(text: str, spans: Spans) -> Spans:
    """Divide every very long token into parts, between which a word without spaces may be cut."""
    long = np.flatnonzero(spans[:, 1] - spans[:, 0] > _LONG_TOKEN)
    if not long.size:
        return spans
    rows: list[NDArray[np.int32]] = []
    last = 0
    for i in long.tolist():
        start, end = spans[i].tolist()
        cuts = [
            offset
            for offset in range(start + _MAX_CHARACTERS_PER_TOKEN, end, _MAX_CHARACTERS_PER_TOKEN)
            # A mark belongs to the character before it.
            if unicodedata.category(text[offset])[0] != "M"
        ]
        rows += [spans[last:i], np.array(list(pairwise([start, *cuts, end])), np.int32)]
        last = i + 1
    return np.concatenate([*rows, spans[last:]])


def _pieces(text: str, start: int, end: int, spans: Spans, limit: int, overlap: int) -> list[tuple[int, int]]:
    """Cut where a paragraph ends in the second half of a piece; else a sentence, a line or a word."""
    count, max_length = len(spans), max_characters(limit)
    if count <= limit and end - start <= max_length:
        return [(start, end)]
    spans = _without_long_tokens(text, spans)
    count = len(spans)
    if count < 2:
        return [(start, end)]
    starts = np.maximum.accumulate(spans[:, 0])
    ends = np.maximum.accumulate(spans[:, 1])

    def after(pattern: re.Pattern[str]) -> NDArray[np.intp]:
        offsets = [match.end() for match in pattern.finditer(text, start, end)]
        cuts = np.searchsorted(starts, offsets)
        cuts = cuts[cuts < count]
        cuts = cuts[is_clean[cuts]]
        return cuts[np.diff(cuts, prepend=0) > 0]

    # Tokens that share a character cannot be cut apart.
    is_clean = np.concatenate(([False], starts[1:] >= ends[:-1]))
    levels = [*map(after, (_PARAGRAPH, _SENTENCE, _LINE, _WORD)), np.flatnonzero(is_clean)]
    pieces = []
    first = 0
    while True:
        # As many tokens as fit, by their number and by their characters.
        fitting = int(np.searchsorted(ends, starts[first] + max_length, side="right")) - first
        size = max(min(limit, fitting), 1)
        if first + size >= count:
            break
        shared = min(overlap, size // 2)
        cut = _choice(levels, first + max(size // 2, shared + 1), first + size, last=True) or first + size
        pieces.append((start if first == 0 else int(starts[first]), int(starts[cut])))
        # The overlap starts with a sentence if possible.
        overlap_start = _choice(levels[1:], cut - shared, cut - 1, last=False) if shared else None
        first = max(overlap_start or cut, first + 1)
    pieces.append((start if first == 0 else int(starts[first]), end))
    return pieces


def _choice(levels: Sequence[NDArray[np.intp]], low: int, high: int, *, last: bool) -> int | None:
    """Return the last (or first) cut from `low` to `high` of the first level that has one."""
    for cuts in levels:
        a, b = np.searchsorted(cuts, [low, high + 1])
        if a < b:
            return int(cuts[b - 1 if last else a])
    return None
