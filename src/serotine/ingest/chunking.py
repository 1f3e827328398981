"""Long texts into passages that the encoder reads to their end: by structure first, then by its own tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serotine.ingest.extract import Extract, Section

if TYPE_CHECKING:
    from serotine.index import TextEncoder

# About as long as the passages of the collections that late-interaction models are trained and judged on.
_USUAL = 256
_USUAL_SHARE = 8
# A heading with a line or two under it does not stand alone: it goes with what follows.
_TINY_SHARE = 4
# Characters tokenised at once; the tokenisers keep much beside each token.
_BLOCK = 1 << 15
_BLOCKS_AT_ONCE = 32
FEWEST = 16

_PARAGRAPH = re.compile(r"\n[ \t\r\f]*\n\s*")
_SENTENCE = re.compile(r"""[.!?…]+["'”’»)\]]*\s+|[。！？｡]+["”’」』）]*\s*""")  # noqa: RUF001
_LINE = re.compile(r"[\r\n]\s*")
_WORD = re.compile(r"\s+")
# Pieces about as long as tokens: of scripts without spaces a letter, of others a word unless it is long.
_WORD_LIKE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w{1,12}|[^\w\s]")

Spans = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Chunking:
    """How texts are cut.

    Attributes:
        tokens: most tokens of a passage; None: texts stay whole.
        overlap: about how many of them a passage shares with the one before it in the same section.
    """

    tokens: int | None
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.tokens is not None and self.tokens < FEWEST:
            raise ValueError(f"chunk tokens: want at least {FEWEST}, got {self.tokens}")
        if self.tokens is not None and not 0 <= self.overlap <= self.tokens // 2:
            raise ValueError(f"overlap: want 0 to half of {self.tokens} tokens, got {self.overlap}")

    def __str__(self) -> str:
        return "whole" if self.tokens is None else f"{self.tokens}/{self.overlap}"

    @classmethod
    def parse(cls, told: str) -> Chunking:
        """What `str` wrote."""
        tokens, slash, overlap = told.partition("/")
        return cls(int(tokens), int(overlap)) if slash else cls(None)

    @classmethod
    def of(cls, tokens: int | None, overlap: int | None, encoder: TextEncoder) -> Chunking:
        """What was asked for, or is usual for the encoder: 256 tokens if it reads so many, an eighth of them shared.

        Raises:
            ValueError: the encoder does not read so many, or the overlap is no part of them.
        """
        room = getattr(encoder, "document_room", None)
        if tokens is not None and room is not None and tokens > room:
            raise ValueError(
                f"chunk tokens: {encoder.name!r} reads {room} tokens of a document; want at most so many, got {tokens}"
            )
        chosen = tokens if tokens is not None else max(min(_USUAL, room or _USUAL), FEWEST)
        return cls(chosen, chosen // _USUAL_SHARE if overlap is None else overlap)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: where it stands in the text, under which headings, and on which page it begins."""

    start: int
    end: int
    headings: tuple[str, ...]
    page: int | None


class Chunker:
    """Cuts texts for one encoder.

    Args:
        encoder: whose tokens are counted.
        chunking: how long passages are.
    """

    def __init__(self, encoder: TextEncoder, chunking: Chunking) -> None:
        self.chunking = chunking
        self._encoder = encoder

    def chunks(self, extract: Extract) -> list[Chunk]:
        """The passages of a text in order, white space at their ends left out; none where it has no words.

        Every word is in one of them. A text that is short enough is one passage.
        """
        text = extract.text
        whole = _joined(extract.sections) if extract.sections else Section(0, len(text))
        if not text.strip():
            return []
        limit = self.chunking.tokens
        if limit is None:
            return _stripped(text, [(0, len(text))], whole)
        counted = [self._spans(text, section.start, section.end) for section in extract.sections]
        if sum(map(len, counted)) <= limit:
            return _stripped(text, [(0, len(text))], whole)
        found: list[Chunk] = []
        for first, last in _groups([len(spans) for spans in counted], limit):
            section = _joined(extract.sections[first:last])
            spans = np.concatenate(counted[first:last])
            found += _stripped(text, self._cut(text, section, spans, limit), section)
        return found

    def _cut(self, text: str, section: Section, spans: Spans, limit: int) -> list[tuple[int, int]]:
        """The section in pieces of at most `limit` tokens, counted as they will be encoded: each alone."""
        tried = limit
        while True:
            pieces = _pieces(text, section, spans, tried, min(self.chunking.overlap, tried // 2))
            longest = max(map(len, self._count([text[start:end].strip() for start, end in pieces])))
            if longest <= limit or tried == 1:
                return pieces
            tried = max(tried - (longest - limit), 1)

    def _count(self, texts: Sequence[str]) -> list[Spans]:
        exact: Callable[[Sequence[str]], list[Spans]] | None = getattr(self._encoder, "token_spans", None)
        if exact is not None:
            found: list[Spans] = []
            for start in range(0, len(texts), _BLOCKS_AT_ONCE):
                found += exact(texts[start : start + _BLOCKS_AT_ONCE])
            return found
        # An encoder that tells no more than an index asks of it.
        listed = [[match.span() for match in _WORD_LIKE.finditer(text)] for text in texts]
        return [np.array(spans, np.int32).reshape(-1, 2) for spans in listed]

    def _spans(self, text: str, start: int, end: int) -> Spans:
        """Where the tokens between two places stand."""
        places = [start]
        while places[-1] + _BLOCK < end:
            # At a space: no token goes over it.
            at = places[-1] + _BLOCK
            spaces = [match.end() for match in _WORD.finditer(text, places[-1] + _BLOCK // 2, at)]
            places.append(spaces[-1] if spaces else at)
        places.append(end)
        found = self._count([text[a:b] for a, b in pairwise(places)])
        shifted = [spans + place for spans, place in zip(found, places, strict=False)]
        return np.concatenate(shifted) if shifted else np.empty((0, 2), np.int32)


def _groups(counts: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Which sections go together, as ranges: a tiny one goes with the next."""
    found: list[tuple[int, int]] = []
    first = total = 0
    for i, count in enumerate(counts):
        if i > first and not (total * _TINY_SHARE < limit and (total + count <= limit or count > limit)):
            found.append((first, i))
            first, total = i, 0
        total += count
    return [*found, (first, len(counts))]


def _joined(sections: Sequence[Section]) -> Section:
    """Several sections as one, under what headings they have in common; a heading goes with those below it."""
    headings = sections[0].headings
    for section in sections[1:]:
        shared = sum(1 for _ in _common(headings, section.headings))
        longer = max(headings, section.headings, key=len)
        headings = longer if shared == min(len(headings), len(section.headings)) and headings else longer[:shared]
    return Section(sections[0].start, sections[-1].end, headings, sections[0].page)


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> list[str]:
    found = []
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        found.append(a)
    return found


def _pieces(text: str, section: Section, spans: Spans, limit: int, overlap: int) -> list[tuple[int, int]]:
    """Cuts where in the second half of a piece a paragraph ends; else a sentence, a line or a word."""
    count = len(spans)
    if count <= limit:
        return [(section.start, section.end)]
    starts = np.maximum.accumulate(spans[:, 0])
    ends = np.maximum.accumulate(spans[:, 1])

    def after(pattern: re.Pattern[str]) -> NDArray[np.intp]:
        places = [match.end() for match in pattern.finditer(text, section.start, section.end)]
        return np.unique(np.searchsorted(starts, places))

    # Between tokens that share a character there is no place to cut.
    clean = np.flatnonzero(starts[1:] >= ends[:-1]) + 1
    levels = [np.intersect1d(after(pattern), clean) for pattern in (_PARAGRAPH, _SENTENCE, _LINE, _WORD)]
    levels.append(clean)
    found = []
    first = 0
    while first + limit < count:
        cut = _choice(levels, first + max(limit // 2, overlap + 1), first + limit, last=True) or first + limit
        found.append((section.start if first == 0 else int(starts[first]), int(starts[cut])))
        # The overlap begins with a sentence if it can.
        again = _choice(levels[1:], cut - overlap, cut - 1, last=False) if overlap else None
        first = max(again or cut, first + 1)
    found.append((section.start if first == 0 else int(starts[first]), section.end))
    return found


def _choice(levels: Sequence[NDArray[np.intp]], low: int, high: int, *, last: bool) -> int | None:
    """The last (or first) place from `low` to `high` of the first level that has one there."""
    for places in levels:
        a, b = np.searchsorted(places, [low, high + 1])
        if a < b:
            return int(places[b - 1 if last else a])
    return None


def _stripped(text: str, pieces: Sequence[tuple[int, int]], section: Section) -> list[Chunk]:
    found = []
    for start, end in pieces:
        piece = text[start:end]
        words = piece.strip()
        if words:
            start += len(piece) - len(piece.lstrip())
            found.append(Chunk(start, start + len(words), section.headings, section.page))
    return found
