"""Texts cut to a number of tokens, at the ends of sentences, around what matched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from serotine.serving.mcp.counting import as_json, count_tokens

Span = tuple[int, int, float]

_ENDS = re.compile(
    # A full stop, perhaps with closing quotes or brackets, before white space;
    "[.!?\u2026]+[\"')\\]\u201d\u2019]*\\s+"
    # the stops of Chinese and Japanese, which nothing need follow;
    "|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d\u2019\uff09]*\\s*"
    # the end of a line, for lists, tables and code.
    "|\\s*\\n\\s*"
)
_WORD = re.compile(r"\S+\s*")
# Scripts without spaces: a "word" longer than this is cut anywhere.
_LONGEST_WORD = 40
# Prose that was wrapped by hand has lines at least this long.
_WRAPPED = 50
# Every word of a question chooses some word of a passage; what matches much worse than the best says nothing.
_WEAKEST = 0.7


@dataclass(frozen=True, slots=True)
class Cut:
    """The stretch of a text that is shown: its characters `start` to `end`, which cost `tokens`."""

    start: int
    end: int
    tokens: int


def cost(text: str) -> int:
    """Tokens of `text` as it stands, or as it stands in JSON, whichever are more."""
    return max(count_tokens(text), count_tokens(as_json(text)[1:-1]))


def sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences and lines of a text begin and end; together they are the whole text."""
    found = _ENDS.finditer(text)
    return _between(text, [match.end() for match in found if not _wraps(text, match.start(), match.end())])


def around(text: str, spans: Sequence[Span], most: int) -> Cut:
    """The stretch of whole sentences with the most matches in it that costs at most `most` tokens.

    Of equals, the one with as much before its matches as after them. Where not even the sentence that matches best
    fits, words of it; nothing where not even one word does.
    """
    whole = cost(text)
    if whole <= most:
        return Cut(0, len(text), whole)
    strong = [span for span in spans if span[2] >= _WEAKEST]
    pieces = sentences(text)
    found = _best(text, pieces, strong, most)
    if found.end == found.start or (strong and _weight(strong, found) == 0):
        # The sentence that matters is longer than what there is room for.
        longest = max(pieces, key=lambda piece: _weight(strong, Cut(piece[0], piece[1], 0)))
        found = max(_best(text, _words(text, *longest), strong, most), found, key=lambda cut: _weight(strong, cut))
    return found


def from_here(text: str, offset: int, most: int) -> Cut:
    """Whole sentences from the character `offset` on, or words where not one sentence fits."""
    rest = text[offset:]
    first = sentences(rest)[:1]
    for pieces in (sentences(rest), [word for piece in first for word in _words(rest, *piece)]):
        end = tokens = 0
        for start, stop in pieces:
            more = cost(rest[start:stop])
            if tokens + more > most:
                break
            end, tokens = stop, tokens + more
        if end:
            return Cut(offset, offset + end, tokens)
    return Cut(offset, offset, 0)


def share(needs: Sequence[int], budget: int, least: int) -> list[int] | None:
    """Tokens for each of several texts that need `needs`: short ones get it, the others equal parts of the rest.

    None where a part would be below `least`.
    """
    level = _level(needs, budget)
    if any(need > level < least for need in needs):
        return None
    return [min(need, level) for need in needs]


def _level(needs: Sequence[int], budget: int) -> int:
    """The part that fills the budget when nobody gets more than it, or than their need."""
    left = budget
    for place, need in enumerate(sorted(needs)):
        part = left // (len(needs) - place)
        if need > part:
            return max(part, 0)
        left -= need
    return max(needs, default=0)


def _wraps(text: str, start: int, end: int) -> bool:
    """Whether a line break stands inside a sentence: after a long line, before small letters that are not indented."""
    if text[start:end].strip() or text.count("\n", start, end) != 1 or text[end - 1] != "\n":
        return False
    length = start - text.rfind("\n", 0, start) - 1
    return length >= _WRAPPED and (text[end : end + 1].islower() or text[end : end + 1] in tuple("`(\"'0123456789"))


def _between(text: str, ends: Sequence[int]) -> list[tuple[int, int]]:
    marks = [0, *(end for end in ends if 0 < end < len(text)), len(text)]
    return [(start, end) for start, end in pairwise(marks) if end > start]


def _words(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where the words of a stretch begin and end; together they are the whole stretch."""
    words = []
    at = start
    for match in _WORD.finditer(text, start, end):
        while at < match.end():
            words.append((at, min(at + _LONGEST_WORD, match.end())))
            at = words[-1][1]
    return words


def _best(text: str, pieces: Sequence[tuple[int, int]], spans: Sequence[Span], most: int) -> Cut:
    tokens = [cost(text[start:end]) for start, end in pieces]
    best, best_key = Cut(0, 0, 0), (0.0, float("-inf"))
    last, spent = 0, 0
    for first, (start, _) in enumerate(pieces):
        if last < first:
            last, spent = first, 0
        while last < len(pieces) and spent + tokens[last] <= most:
            spent += tokens[last]
            last += 1
        if last > first:
            cut = Cut(start, pieces[last - 1][1], spent)
            key = _key(spans, cut)
            if key > best_key:
                best, best_key = cut, key
            spent -= tokens[first]
    return best


def _key(spans: Sequence[Span], cut: Cut) -> tuple[float, float]:
    inside = _inside(spans, cut)
    if not inside:
        # Without a match to show, the beginning of a text says most about it.
        return 0.0, -float(cut.start)
    before, after = inside[0][0] - cut.start, cut.end - inside[-1][1]
    return sum(span[2] for span in inside), -float(abs(before - after))


def _weight(spans: Sequence[Span], cut: Cut) -> float:
    return sum(span[2] for span in _inside(spans, cut))


def _inside(spans: Sequence[Span], cut: Cut) -> list[Span]:
    return [span for span in spans if span[0] >= cut.start and span[1] <= cut.end]
