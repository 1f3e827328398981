"""The passage to show of a document: the stretch with the best matches, its matched words marked."""

from __future__ import annotations

from collections.abc import Sequence

from serotine.cli.output import printable

Span = tuple[int, int, float]

# Control characters: `printable` has removed every one from the text itself.
MARK, UNMARK = "\x01", "\x02"
# Every word of the question chooses some word, if only an "in"; what matches much worse than the best is not shown.
_WEAKEST = 0.7
# A cut looks this far for the end of a word; scripts without spaces are cut anywhere.
_LONGEST_WORD = 30


def passage(text: str, spans: Sequence[Span], width: int = 240) -> str:
    """At most about `width` characters of `text` on one line, matched words between `MARK` and `UNMARK`.

    Args:
        text: the document.
        spans: (start, end, weight) in text order, weights in (0, 1].
        width: characters, cut at the words' ends.
    """
    text = printable(text)
    strong = _joined([span for span in spans if span[2] >= _WEAKEST])
    start, end = _window(text, strong, width)
    pieces = ["… " if start else ""]
    at = start
    for left, right, _ in strong:
        if left >= start and right <= end:
            pieces += [text[at:left], MARK, text[left:right], UNMARK]
            at = right
    pieces += [text[at:end], " …" if end < len(text) else ""]
    return " ".join("".join(pieces).split())


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Spans that touch as one: the characters of a script without spaces."""
    joined: list[Span] = []
    for start, end, weight in spans:
        if joined and start <= joined[-1][1]:
            before = joined.pop()
            start, end, weight = before[0], max(before[1], end), max(before[2], weight)
        joined.append((start, end, weight))
    return joined


def _window(text: str, spans: Sequence[Span], width: int) -> tuple[int, int]:
    """The stretch that holds the most weight, the first of equals, with the rest of its width shared on both sides."""
    if len(text) <= width:
        return 0, len(text)
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
    room = max(width - (end - start), 0)
    left = max(min(start - room // 2, len(text) - width), 0)
    right = max(min(left + width, len(text)), end)
    return _word_start(text, left, start), _word_end(text, right, end)


def _word_start(text: str, at: int, latest: int) -> int:
    """The next start of a word, not beyond `latest`, where the first match begins."""
    if at == 0 or text[at - 1].isspace():
        return at
    space = text.find(" ", at, min(at + _LONGEST_WORD, latest))
    return at if space < 0 else space + 1


def _word_end(text: str, at: int, earliest: int) -> int:
    if at == len(text) or text[at].isspace():
        return at
    space = text.rfind(" ", max(at - _LONGEST_WORD, earliest), at)
    return at if space < 0 else space
