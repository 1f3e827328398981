"""Excerpts: the part of a text that shows its matches best, for terminals, agents and pages.

Spans are (start, end, weight) in text order, offsets in characters, weights in (0, 1] with the best match at 1, as
`Explanation.spans` returns them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from serotine.common_words import rarity
from serotine.texts import printable

Span = tuple[int, int, float]
Piece = tuple[int, int]
# Counts what a piece of text costs, in the unit of the budget: tokens or characters.
Cost = Callable[[str], int]

# Around the matches in a `passage`: control characters, which `printable` removes from the text itself.
MARK, UNMARK = "\x01", "\x02"
# Every query token matches some word, if only a stop word: matches far weaker than the best are not shown.
RELEVANT_WEIGHT = 0.7

_SENTENCE_END = re.compile(
    # A full stop with any closing quotes or brackets, before white space;
    "(?<![.!?\u2026])[.!?\u2026]++[\"')\\]\u201d\u2019]*+\\s+"
    # the full stops of Chinese and Japanese, which need no white space;
    "|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d\u2019\uff09]*\\s*"
    # the end of a line, for lists, tables and code.
    "|(?<!\\s)[^\\S\\n]*+\\n\\s*"
)
_WORD = re.compile(r"\S+\s*")
# Longer "words" come from scripts without spaces, such as Chinese, and are cut anywhere.
_MAX_WORD_PIECE = 40
_MAX_WORD_SEARCH = 30
# Lines of prose wrapped by hand are at least this long.
_MIN_WRAPPED_LINE = 50


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a text.

    Attributes:
        start: its first character.
        end: one past its last character.
        cost: what it costs, in the unit of the budget it was cut to.
    """

    start: int
    end: int
    cost: int


def word_spans(query: str, text: str) -> list[Span]:
    """Return where the query's words occur in a text, without an encoder; function words are faint."""
    weights = {word.casefold(): rarity(word) for word in re.findall(r"\w+", query)}
    words = [match for match in re.finditer(r"\w+", text) if match.group().casefold() in weights]
    spans = [(match.start(), match.end(), weights[match.group().casefold()]) for match in words]
    strongest = max((weight for _, _, weight in spans), default=1.0)
    return [(start, end, weight / strongest) for start, end, weight in spans]


def relevant_spans(spans: Sequence[Span]) -> list[Span]:
    """Return the spans of at least `RELEVANT_WEIGHT`."""
    return [span for span in spans if span[2] >= RELEVANT_WEIGHT]


def merge_spans(spans: Sequence[Span]) -> list[Span]:
    """Join spans that touch or overlap, such as the characters of a script without spaces; the best weight wins."""
    merged: list[Span] = []
    for start, end, weight in spans:
        if merged and start <= merged[-1][1]:
            previous = merged.pop()
            start, end, weight = previous[0], max(previous[1], end), max(previous[2], weight)
        merged.append((start, end, weight))
    return merged


def passage(text: str, spans: Sequence[Span], width: int = 240) -> str:
    """Return about `width` characters of a text on one line, its relevant spans between `MARK` and `UNMARK`."""
    return " ".join(_marked(printable(text), spans, width).split())


def code_passage(text: str, spans: Sequence[Span], width: int = 120, height: int = 8) -> str:
    """Return the `height` lines of code with the heaviest relevant matches, as `passage` marks them, dots around them.

    Lines longer than `width` characters are cut to their matches. Indentation that all lines have is left out.
    """
    bounds: list[Piece] = []
    for line in text.split("\n"):
        start = bounds[-1][1] + 1 if bounds else 0
        bounds.append((start, start + len(line)))
    relevant = relevant_spans(spans)
    weights = [_weight(relevant, *piece) for piece in bounds]

    def rank(line: int) -> tuple[float, int]:
        # Of equally heavy runs, the one whose matches are nearest to its middle; without matches, the first.
        matched = [i for i, weight in enumerate(weights[line : line + height]) if weight]
        return (sum(weights[line : line + height]), -abs(matched[0] + matched[-1] - height + 1) if matched else -line)

    first = max(range(max(len(bounds) - height, 0) + 1), key=rank)
    shown = bounds[first : first + height]
    indentations = [len(line) - len(line.lstrip()) for start, end in shown if (line := text[start:end]).strip()]
    lost = min(indentations, default=0)
    lines = ["…"] if first else []
    for start, end in shown:
        start = min(start + lost, end)
        inside = [(a - start, b - start, weight) for a, b, weight in _inside(relevant, start, end)]
        lines.append(_marked(text[start:end], inside, width).rstrip())
    if first + height < len(bounds):
        lines.append("…")
    return "\n".join(lines)


def _marked(text: str, spans: Sequence[Span], width: int) -> str:
    """Return about `width` characters of a line, its relevant spans between `MARK` and `UNMARK`, tabs as spaces."""
    excerpt = by_width(text, spans, width)
    pieces = ["… " if excerpt.start else ""]
    offset = excerpt.start
    for start, end, _ in merge_spans(relevant_spans(spans)):
        if start >= excerpt.start and end <= excerpt.end:
            pieces += [_line(text[offset:start]), MARK, _line(text[start:end]), UNMARK]
            offset = end
    pieces += [_line(text[offset : excerpt.end]), " …" if excerpt.end < len(text) else ""]
    return "".join(pieces)


def _line(text: str) -> str:
    return printable(text.replace("\t", "    "))


def by_width(text: str, spans: Sequence[Span], width: int) -> Excerpt:
    """Return about `width` characters with the heaviest relevant matches in the middle, cut between words.

    Of equally heavy excerpts, the first. A single match longer than `width` is returned whole.
    """
    if len(text) <= width:
        return Excerpt(0, len(text), len(text))
    start, end = _heaviest_run(merge_spans(relevant_spans(spans)), width)
    margin = max(width - (end - start), 0)
    first = max(min(start - margin // 2, len(text) - width), 0)
    last = max(min(first + width, len(text)), end)
    first, last = _word_start(text, first, start), _word_end(text, last, end)
    return Excerpt(first, last, last - first)


def by_sentences(text: str, spans: Sequence[Span], budget: int, cost: Cost) -> Excerpt:
    """Return the whole sentences with the heaviest relevant matches that cost at most `budget`.

    Of equally heavy excerpts, the one whose matches are nearest to its middle. Where the best sentence alone costs
    more than `budget`, words of it; an empty excerpt where not one word fits.
    """
    total = cost(text)
    if total <= budget:
        return Excerpt(0, len(text), total)
    relevant = relevant_spans(spans)
    pieces = sentences(text)
    excerpt = _best_run(text, pieces, relevant, budget, cost)
    if excerpt.end == excerpt.start or (relevant and not _weight(relevant, excerpt.start, excerpt.end)):
        best_sentence = max(pieces, key=lambda piece: _weight(relevant, *piece))
        words = _best_run(text, _word_pieces(text, *best_sentence), relevant, budget, cost)
        excerpt = max(words, excerpt, key=lambda option: _weight(relevant, option.start, option.end))
    return excerpt


def from_offset(text: str, offset: int, budget: int, cost: Cost) -> Excerpt:
    """Return whole sentences from the character `offset` on that cost at most `budget`; words where none fits."""
    rest = text[offset:]
    pieces = sentences(rest)
    for units in (pieces, [word for piece in pieces[:1] for word in _word_pieces(rest, *piece)]):
        end = spent = 0
        for unit_start, unit_end in units:
            unit_cost = cost(rest[unit_start:unit_end])
            if spent + unit_cost > budget:
                break
            end, spent = unit_end, spent + unit_cost
        if end:
            return Excerpt(offset, offset + end, spent)
    return Excerpt(offset, offset, 0)


def sentences(text: str) -> list[Piece]:
    """Split a text into sentences and lines, as (start, end); joined they are the whole text."""
    ends = [
        match.end() for match in _SENTENCE_END.finditer(text) if not _is_wrapped_line(text, match.start(), match.end())
    ]
    bounds = [0, *(end for end in ends if end < len(text)), len(text)]
    return [(start, end) for start, end in pairwise(bounds) if end > start]


def _heaviest_run(spans: Sequence[Span], width: int) -> Piece:
    """Return where the heaviest run of spans within `width` characters starts and ends, the first of equals."""
    best, start, end = 0.0, 0, 0
    first = 0
    weight = 0.0
    for span in spans:
        weight += span[2]
        while span[1] - spans[first][0] > width and spans[first] is not span:
            weight -= spans[first][2]
            first += 1
        if weight > best:
            best, start, end = weight, spans[first][0], span[1]
    return start, end


def _best_run(text: str, pieces: Sequence[Piece], spans: Sequence[Span], budget: int, cost: Cost) -> Excerpt:
    """Return the best run of whole pieces within the budget."""
    costs = [cost(text[start:end]) for start, end in pieces]
    best, best_rank = Excerpt(0, 0, 0), (0.0, float("-inf"))
    last, spent = 0, 0
    for first, (start, _) in enumerate(pieces):
        if last < first:
            last, spent = first, 0
        while last < len(pieces) and spent + costs[last] <= budget:
            spent += costs[last]
            last += 1
        if last > first:
            excerpt = Excerpt(start, pieces[last - 1][1], spent)
            rank = _rank(spans, excerpt)
            if rank > best_rank:
                best, best_rank = excerpt, rank
            spent -= costs[first]
    return best


def _rank(spans: Sequence[Span], excerpt: Excerpt) -> tuple[float, float]:
    inside = _inside(spans, excerpt.start, excerpt.end)
    if not inside:
        # Without matches, the beginning of a text says most about it.
        return 0.0, -float(excerpt.start)
    before, after = inside[0][0] - excerpt.start, excerpt.end - inside[-1][1]
    return sum(weight for _, _, weight in inside), -float(abs(before - after))


def _weight(spans: Sequence[Span], start: int, end: int) -> float:
    return sum(weight for _, _, weight in _inside(spans, start, end))


def _inside(spans: Sequence[Span], start: int, end: int) -> list[Span]:
    return [span for span in spans if span[0] >= start and span[1] <= end]


def _word_pieces(text: str, start: int, end: int) -> list[Piece]:
    """Split a range of a text into words with the space after them; joined they are the whole range."""
    pieces: list[Piece] = []
    offset = start
    for match in _WORD.finditer(text, start, end):
        while offset < match.end():
            pieces.append((offset, min(offset + _MAX_WORD_PIECE, match.end())))
            offset = pieces[-1][1]
    return pieces


def _word_start(text: str, offset: int, latest: int) -> int:
    """Return the next start of a word, at most `latest`, where the first match begins."""
    if offset == 0 or text[offset - 1].isspace():
        return offset
    space = text.find(" ", offset, min(offset + _MAX_WORD_SEARCH, latest))
    return offset if space < 0 else space + 1


def _word_end(text: str, offset: int, earliest: int) -> int:
    """Return the previous end of a word, at least `earliest`, where the last match ends."""
    if offset == len(text) or text[offset].isspace():
        return offset
    space = text.rfind(" ", max(offset - _MAX_WORD_SEARCH, earliest), offset)
    return offset if space < 0 else space


def _is_wrapped_line(text: str, start: int, end: int) -> bool:
    """Return whether a line break is inside a sentence: after a long line, before unindented lower case."""
    if text[start:end].strip() or text.count("\n", start, end) != 1 or text[end - 1] != "\n":
        return False
    length = start - text.rfind("\n", 0, start) - 1
    return length >= _MIN_WRAPPED_LINE and (
        text[end : end + 1].islower() or text[end : end + 1] in tuple("`(\"'0123456789")
    )
