"""Long texts cut into passages that the encoder reads whole: by structure first, then by its tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serotine.errors import invalid
from serotine.ingest.extract import Extract, Section

if TYPE_CHECKING:
    from serotine.text_encoder import TextEncoder

# About the length of the passages that late-interaction models are trained and evaluated on.
_DEFAULT_TOKENS = 256
_OVERLAP_DIVISOR = 8
# A section shorter than a quarter of a passage joins the next: a heading with a line or two is no passage.
_TINY_DIVISOR = 4
# Characters tokenized at once; tokenizers hold much memory for each token.
_BLOCK = 1 << 15
_BLOCKS_PER_CALL = 32
MIN_TOKENS = 16

_PARAGRAPH = re.compile(r"\n[ \t\r\f]*\n\s*")
_SENTENCE = re.compile(r"""[.!?…]+["'”’»)\]]*\s+|[。！？｡]+["”’」』）]*\s*""")  # noqa: RUF001
_LINE = re.compile(r"[\r\n]\s*")
_WORD = re.compile(r"\s+")
# Pieces about as long as tokens: a letter of scripts without spaces, otherwise a word or a part of a long one.
_WORD_LIKE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w{1,12}|[^\w\s]")

Spans = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Chunking:
    """How texts are cut.

    Attributes:
        tokens: maximum tokens of a passage; None: texts stay whole.
        overlap: about how many tokens a passage shares with the one before it in the same section.
    """

    tokens: int | None
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.tokens is not None and self.tokens < MIN_TOKENS:
            raise invalid("chunk tokens", f"at least {MIN_TOKENS}", self.tokens)
        if self.tokens is not None and not 0 <= self.overlap <= self.tokens // 2:
            raise invalid("overlap", f"between 0 and half of {self.tokens} tokens", self.overlap)

    def __str__(self) -> str:
        return "whole" if self.tokens is None else f"{self.tokens}/{self.overlap}"

    @classmethod
    def parse(cls, value: str) -> Chunking:
        """Parse what `str` returns."""
        tokens, slash, overlap = value.partition("/")
        return cls(int(tokens), int(overlap)) if slash else cls(None)

    @classmethod
    def of(cls, tokens: int | None, overlap: int | None, encoder: TextEncoder) -> Chunking:
        """Return the given chunking, or the default of the encoder: 256 tokens if it reads that many, an eighth shared.

        Raises:
            ValueError: the encoder reads fewer tokens, or the overlap is more than half of them.
        """
        limit = getattr(encoder, "document_room", None)
        if tokens is not None and limit is not None and tokens > limit:
            raise invalid("chunk tokens", f"at most {limit}, the tokens that {encoder.name!r} reads", tokens)
        length = tokens if tokens is not None else max(min(_DEFAULT_TOKENS, limit or _DEFAULT_TOKENS), MIN_TOKENS)
        return cls(length, length // _OVERLAP_DIVISOR if overlap is None else overlap)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: its characters in the text, and its headings."""

    start: int
    end: int
    headings: tuple[str, ...]


class Chunker:
    """Cuts texts into passages for one encoder.

    Args:
        encoder: the encoder whose tokens are counted.
        chunking: length and overlap of passages.
    """

    def __init__(self, encoder: TextEncoder, chunking: Chunking) -> None:
        self.chunking = chunking
        self._encoder = encoder

    def chunks(self, extract: Extract) -> list[Chunk]:
        """Return the passages of a text in order, without white space at their ends; none for an empty text.

        Every word is in a passage. A text that is short enough is one passage, unless it has separate sections.
        """
        text = extract.text
        whole = _join(extract.sections) if extract.sections else Section(0, len(text))
        if not text.strip():
            return []
        limit = self.chunking.tokens
        if limit is None:
            return _strip(text, [(0, len(text))], whole)
        section_spans = [self._spans(text, section.start, section.end) for section in extract.sections]
        if sum(map(len, section_spans)) <= limit and not any(section.separate for section in extract.sections[1:]):
            return _strip(text, [(0, len(text))], whole)
        chunks: list[Chunk] = []
        for first, last in _groups(extract.sections, [len(spans) for spans in section_spans], limit):
            section = _join(extract.sections[first:last])
            spans = np.concatenate(section_spans[first:last])
            chunks += _strip(text, self._cut(text, section, spans, limit), section)
        return chunks

    def _cut(self, text: str, section: Section, spans: Spans, limit: int) -> list[tuple[int, int]]:
        """Cut a section into pieces of at most `limit` tokens, counted as they are encoded: each piece alone."""
        target = limit
        while True:
            pieces = _pieces(text, section, spans, target, min(self.chunking.overlap, target // 2))
            largest = max(map(len, self._count([text[start:end].strip() for start, end in pieces])))
            if largest <= limit or target == 1:
                return pieces
            target = max(target - (largest - limit), 1)

    def _count(self, texts: Sequence[str]) -> list[Spans]:
        token_spans: Callable[[Sequence[str]], list[Spans]] | None = getattr(self._encoder, "token_spans", None)
        if token_spans is not None:
            spans: list[Spans] = []
            for start in range(0, len(texts), _BLOCKS_PER_CALL):
                spans += token_spans(texts[start : start + _BLOCKS_PER_CALL])
            return spans
        # An encoder with only what an index requires.
        words = [[match.span() for match in _WORD_LIKE.finditer(text)] for text in texts]
        return [np.array(pieces, np.int32).reshape(-1, 2) for pieces in words]

    def _spans(self, text: str, start: int, end: int) -> Spans:
        """Return the (start, end) of the tokens between two offsets."""
        offsets = [start]
        while offsets[-1] + _BLOCK < end:
            # Cut at a space, which no token spans.
            limit = offsets[-1] + _BLOCK
            spaces = [match.end() for match in _WORD.finditer(text, offsets[-1] + _BLOCK // 2, limit)]
            offsets.append(spaces[-1] if spaces else limit)
        offsets.append(end)
        blocks = self._count([text[a:b] for a, b in pairwise(offsets)])
        shifted = [spans + offset for spans, offset in zip(blocks, offsets, strict=False)]
        return np.concatenate(shifted) if shifted else np.empty((0, 2), np.int32)


def _groups(sections: Sequence[Section], counts: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Return ranges of sections that form a passage: a tiny section joins the next."""
    groups: list[tuple[int, int]] = []
    first = total = 0
    for i, count in enumerate(counts):
        if i > first:
            # A title page, a line above the first definition.
            tiny = total < MIN_TOKENS and _related(sections[i - 1], sections[i])
            joins = tiny if sections[i].separate else total * _TINY_DIVISOR < limit
            if not (joins and (total + count <= limit or count > limit)):
                groups.append((first, i))
                first, total = i, 0
        total += count
    return [*groups, (first, len(counts))]


def _related(first: Section, second: Section) -> bool:
    """Return whether the headings of one section are among those of the other."""
    return _count_common(first.headings, second.headings) == min(len(first.headings), len(second.headings))


def _join(sections: Sequence[Section]) -> Section:
    """Join sections into one, under the headings they have in common; a heading includes those below it."""
    headings = sections[0].headings
    for section in sections[1:]:
        shared = _count_common(headings, section.headings)
        longer = max(headings, section.headings, key=len)
        within = shared == min(len(headings), len(section.headings)) and (headings or section.separate)
        headings = longer if within else longer[:shared]
    return Section(sections[0].start, sections[-1].end, headings)


def _count_common(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """Return the length of the common prefix."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def _pieces(text: str, section: Section, spans: Spans, limit: int, overlap: int) -> list[tuple[int, int]]:
    """Cut where a paragraph ends in the second half of a piece; else a sentence, a line or a word."""
    count = len(spans)
    if count <= limit:
        return [(section.start, section.end)]
    starts = np.maximum.accumulate(spans[:, 0])
    ends = np.maximum.accumulate(spans[:, 1])

    def after(pattern: re.Pattern[str]) -> NDArray[np.intp]:
        offsets = [match.end() for match in pattern.finditer(text, section.start, section.end)]
        return np.unique(np.searchsorted(starts, offsets))

    # Tokens that share a character cannot be cut apart.
    clean = np.flatnonzero(starts[1:] >= ends[:-1]) + 1
    levels = [np.intersect1d(after(pattern), clean) for pattern in (_PARAGRAPH, _SENTENCE, _LINE, _WORD)]
    levels.append(clean)
    pieces = []
    first = 0
    while first + limit < count:
        cut = _choice(levels, first + max(limit // 2, overlap + 1), first + limit, last=True) or first + limit
        pieces.append((section.start if first == 0 else int(starts[first]), int(starts[cut])))
        # The overlap starts with a sentence if possible.
        overlap_start = _choice(levels[1:], cut - overlap, cut - 1, last=False) if overlap else None
        first = max(overlap_start or cut, first + 1)
    pieces.append((section.start if first == 0 else int(starts[first]), section.end))
    return pieces


def _choice(levels: Sequence[NDArray[np.intp]], low: int, high: int, *, last: bool) -> int | None:
    """Return the last (or first) cut from `low` to `high` of the first level that has one."""
    for cuts in levels:
        a, b = np.searchsorted(cuts, [low, high + 1])
        if a < b:
            return int(cuts[b - 1 if last else a])
    return None


def _strip(text: str, pieces: Sequence[tuple[int, int]], section: Section) -> list[Chunk]:
    chunks = []
    for start, end in pieces:
        piece = text[start:end]
        stripped = piece.strip()
        if stripped:
            start += len(piece) - len(piece.lstrip())
            chunks.append(Chunk(start, start + len(stripped), section.headings))
    return chunks
