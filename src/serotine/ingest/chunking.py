"""Long texts cut into passages that the encoder reads whole: by structure first, then by its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from serotine.cutting import MIN_TOKENS, Cutter, Spans, default_length, default_overlap, max_characters, stripped
from serotine.errors import check_flags, invalid
from serotine.ingest.cut_cache import Chunk, CutCache, CutList, digest_of
from serotine.ingest.extract import Extract, Section
from serotine.wording import worded

if TYPE_CHECKING:
    from serotine.text_encoder import TextEncoder

# A section shorter than a quarter of a passage joins the next: a heading with a line or two is no passage.
_TINY_DIVISOR = 4
# Characters of a long text that are cut at once.
_PORTION = 1 << 17
# What is recorded of late chunking, after tokens and overlap.
_LATE = "/late"


@dataclass(frozen=True, slots=True)
class Chunking:
    """How texts are cut.

    Attributes:
        tokens: maximum tokens of a passage; None: texts stay whole.
        overlap: about how many tokens a passage shares with the one before it in the same section.
        late: whether passages are encoded with the text around them (late chunking), and so share none.
    """

    tokens: int | None
    overlap: int = 0
    late: bool = False

    def __post_init__(self) -> None:
        check_flags(late=self.late)
        if self.late and self.tokens is None:
            raise invalid(_tokens(), "a number with late chunking", self.tokens, fix="texts that stay whole need none")
        if self.late and self.overlap:
            fix = worded("omit it", http="omit it", command="omit it, or add --no-late-chunking")
            raise invalid(_overlap(), "0 with late chunking", self.overlap, fix=fix)
        if self.tokens is not None and self.tokens < MIN_TOKENS:
            raise invalid(_tokens(), f"at least {MIN_TOKENS}", self.tokens)
        if self.tokens is not None and not 0 <= self.overlap <= self.tokens // 2:
            raise invalid(_overlap(), f"between 0 and half of {self.tokens} tokens", self.overlap)

    def __str__(self) -> str:
        return "whole" if self.tokens is None else f"{self.tokens}/{self.overlap}{_LATE if self.late else ''}"

    @classmethod
    def parse(cls, value: str) -> Chunking:
        """Parse what `str` returns, and what an index records after a space."""
        chunking = value.partition(" ")[0]
        tokens, slash, overlap = chunking.removesuffix(_LATE).partition("/")
        return cls(int(tokens), int(overlap), chunking.endswith(_LATE)) if slash else cls(None)

    @classmethod
    def of(cls, tokens: int | None, overlap: int | None, encoder: TextEncoder, *, late: bool = False) -> Chunking:
        """Return the given chunking, or the default of the encoder: 256 tokens if it reads that many, an eighth shared.

        With late chunking, none is shared.

        Raises:
            ValueError: the encoder reads fewer tokens, or the overlap is more than half of them.
        """
        length = tokens if tokens is not None else default_length(getattr(encoder, "document_room", None))[0]
        if overlap is None:
            overlap = 0 if late else default_overlap(length)
        chunking = cls(length, overlap, late)
        chunking.check_room(encoder)
        return chunking

    def check_room(self, encoder: TextEncoder) -> None:
        """Raise ValueError for passages that are longer than an encoder reads."""
        limit = getattr(encoder, "document_room", None)
        if self.tokens is not None and limit is not None and self.tokens > limit:
            raise invalid(_tokens(), f"at most {limit}, the tokens that {encoder.name!r} reads", self.tokens)


def _tokens() -> str:
    return worded("tokens", http="tokens", command="--chunk-tokens")


def _overlap() -> str:
    return worded("overlap", http="overlap", command="--overlap")


class Chunker:
    """Cuts texts into passages for one encoder.

    Args:
        encoder: the encoder whose tokens are counted.
        chunking: length and overlap of passages.
        on_step: called before every portion of a long text is cut; what it raises ends the cutting.
    """

    def __init__(self, encoder: TextEncoder, chunking: Chunking, on_step: Callable[[], None] = lambda: None) -> None:
        self.chunking = chunking
        self.encoder = encoder
        self._on_step = on_step
        self._cutter = Cutter(encoder)
        self._cuts = CutCache()

    def are_long(self, texts: Sequence[str]) -> list[bool]:
        """Return for every text whether it is cut into several passages."""
        limit = self.chunking.tokens
        if limit is None:
            return [False] * len(texts)
        key = digest_of("records", *texts)
        known = self._cuts.take_long(key)
        if known is not None:
            return [i in known for i in range(len(texts))]
        # A text beyond the number of characters is long, however few its tokens.
        unclear = [
            i
            for i, text in enumerate(texts)
            if len(text) <= max_characters(limit) and not self._cutter.fits(text, limit)
        ]
        spans = self._cutter.count([texts[i] for i in unclear])
        long = {i for i, tokens in zip(unclear, spans, strict=True) if len(tokens) > limit}
        flags = [i in long or len(text) > max_characters(limit) for i, text in enumerate(texts)]
        self._cuts.put_long(key, frozenset(i for i, is_long in enumerate(flags) if is_long))
        return flags

    def chunks(self, extract: Extract) -> Iterator[Chunk]:
        """Yield the passages of a text in order, without white space at their ends; none for an empty text.

        Every word is in a passage. A text that is short enough is one passage, unless it has separate sections. Of a
        long text, a portion of about 130,000 characters is cut at a time, so that memory is bounded and progress seen.
        A text that is cut for a second time, to be stored after it was planned, is not tokenized again.
        """
        if not extract.text.strip():
            return
        if self.chunking.tokens is None:
            yield from self._chunks(extract)
            return
        # Offsets and headings of sections decide, too.
        key = digest_of(str(hash(extract.sections)), extract.text)
        known = self._cuts.take(key)
        if known is not None:
            yield from known
            return
        cut = CutList()
        for chunk in self._chunks(extract):
            cut.append(chunk)
            yield chunk
        self._cuts.put(key, cut)

    def _chunks(self, extract: Extract) -> Iterator[Chunk]:
        text, limit = extract.text, self.chunking.tokens
        whole = _join(extract.sections) if extract.sections else Section(0, len(text))
        if limit is None:
            yield from _strip(text, [(0, len(text))], whole)
            return
        if len(text) > _PORTION:
            for portion in _portions(text, extract.sections):
                self._on_step()
                yield from self._cut(text, portion, [self._spans(text, section) for section in portion], limit)
            return
        section_spans = [self._spans(text, section) for section in extract.sections]
        fits = sum(map(len, section_spans)) <= limit and len(text) <= max_characters(limit)
        if fits and not any(section.separate for section in extract.sections[1:]):
            yield from _strip(text, [(0, len(text))], whole)
        else:
            yield from self._cut(text, extract.sections, section_spans, limit)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text that the encoder reads."""
        limit = getattr(self.encoder, "document_room", None)
        counts = [len(spans) for spans in self._cutter.count(texts)]
        return counts if limit is None else [min(count, limit) for count in counts]

    def _spans(self, text: str, section: Section) -> Spans:
        return self._cutter.spans(text, section.start, section.end)

    def _cut(
        self, text: str, sections: Sequence[Section], section_spans: Sequence[Spans], limit: int
    ) -> Iterator[Chunk]:
        for first, last in _groups(sections, [len(spans) for spans in section_spans], limit):
            section = _join(sections[first:last])
            spans = np.concatenate(section_spans[first:last])
            pieces = self._cutter.pieces(text, section.start, section.end, spans, limit, self.chunking.overlap)
            yield from _strip(text, pieces, section)


def _portions(text: str, sections: Sequence[Section]) -> Iterator[list[Section]]:
    """Yield consecutive sections of about 130,000 characters together; a longer section is divided."""
    portion: list[Section] = []
    size = 0
    for section in sections:
        start = section.start
        while start < section.end:
            end = _portion_end(text, start, section.end)
            if portion and size + end - start > _PORTION:
                yield portion
                portion, size = [], 0
            portion.append(replace(section, start=start, end=end))
            size += end - start
            start = end
    if portion:
        yield portion


def _portion_end(text: str, start: int, end: int) -> int:
    """Return the end of a portion that begins at `start`: after the last paragraph in it, or line, or space."""
    limit = start + _PORTION
    if limit >= end:
        return end
    for separator in ("\n\n", "\n", " "):
        offset = text.rfind(separator, start + _PORTION // 2, limit)
        if offset >= 0:
            return offset + len(separator)
    return limit


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


def _strip(text: str, pieces: Sequence[tuple[int, int]], section: Section) -> list[Chunk]:
    return [Chunk(start, end, section.headings) for start, end in stripped(text, pieces)]
