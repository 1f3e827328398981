"""Passages of one document with the text around them: late chunking (Günther et al. 2024, arXiv:2409.04701)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.spec import Side
from serotine.encoders.tokenization import TextTokenizer, Token, Tokens, WholeText
from serotine.errors import is_list, no_list, wrong_type
from serotine.texts import is_text

# Windows share a quarter: every token has at least an eighth of a window on either side, where the text has as much.
_OVERLAP_DIVISOR = 4

Spans = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PassageWindows:
    """What the model gets of a document, and where the vectors of its passages are.

    Attributes:
        windows: the tokens of every window that is needed.
        spans: int32 (tokens, 2) of every window, the characters of its tokens; (0, 0) for those beside the text.
        parts: of every passage, (window, int64 rows of its states) in order.
    """

    windows: list[Tokens]
    spans: list[NDArray[np.int32]]
    parts: list[list[tuple[int, NDArray[np.int64]]]]

    def tokens(self, passage: int, start: int, piece: Callable[[int], str]) -> list[Token]:
        """Return the token of every row of a passage that begins at `start`; `piece` is how an id is written."""
        return [
            Token(piece(id_), *((max(first - start, 0), last - start) if last > first else (0, 0)))
            for window, rows in self.parts[passage]
            for id_, (first, last) in zip(
                self.windows[window].ids[rows].tolist(), self.spans[window][rows].tolist(), strict=True
            )
        ]

    def vectors(
        self, batches: Iterable[Sequence[tuple[int, NDArray[np.float32]]]], dim: int
    ) -> list[NDArray[np.float32]]:
        """Return the states of every passage, float32 (tokens, dim), from those of all windows, in any order."""
        states = {window: rows for batch in batches for window, rows in batch}
        no_rows = np.empty((0, dim), dtype=np.float32)
        return [
            np.concatenate([no_rows, *(states[window][rows, :dim] for window, rows in parts)]) for parts in self.parts
        ]


def validated_spans(document: object, spans: object) -> Spans:
    """Return the spans of a document's passages as int64 (passages, 2).

    Raises:
        TypeError, ValueError: the document is not a text; a span is not a pair of integers, is empty, beyond the text,
            or begins before the end of the one before it.
    """
    if not isinstance(document, str):
        raise wrong_type("document", "a string", document)
    if not is_text(document):
        raise ValueError("document: contains a lone surrogate, which is not text; decode its source as UTF-8")
    if not is_list(spans):
        raise no_list("spans", "pairs (start, end)", spans)
    pairs: list[tuple[int, int]] = []
    for i, span in enumerate(spans):
        pair = tuple(span) if is_list(span) else ()
        if len(pair) != 2 or not all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in pair):
            raise TypeError(f"spans[{i}]: must be two integers, start and end, got {span!r}")
        start, end = map(int, pair)
        if not 0 <= start <= end <= len(document):
            raise ValueError(
                f"spans[{i}]: must be within the text's {len(document):,} characters, got ({start}, {end}); "
                "offsets count characters, from 0 to one past the last"
            )
        if start == end:
            raise ValueError(f"spans[{i}]: must not be empty, got ({start}, {end}); leave it out")
        if pairs and start < pairs[-1][1]:
            raise ValueError(
                f"spans[{i}]: must begin where spans[{i - 1}] ends, at {pairs[-1][1]}, or later, got ({start}, {end}); "
                "sort spans, and cut them without overlap"
            )
        pairs.append((start, end))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def passage_windows(
    tokenizer: TextTokenizer, document: str, spans: Spans, side: Side, *, allow_empty: bool
) -> PassageWindows:
    """Return the windows of a document that its passages need, and the rows of each passage.

    A token belongs to the span that has its first character, white space aside, and is encoded in the window in whose
    middle it is. Tokens beside the text (special tokens, marker, prompt) belong to every passage: those before
    it from the window of its first token, those after it from the window of its last one.

    Args:
        tokenizer: of the encoder.
        document: the text.
        spans: as `validated_spans` returns them.
        side: the tokenization rules.
        allow_empty: whether a span may be without tokens.

    Raises:
        ValueError: a span is without tokens.
    """
    whole = tokenizer.whole(document, side)
    passages = _passages_of_tokens(document, whole, spans)
    windows = _windows(len(whole.ids), tokenizer.window_room(whole, side))
    ends = np.array([end for *_, end in windows])
    order = np.argsort(passages, kind="stable")
    bounds = np.searchsorted(passages[order], np.arange(len(spans) + 1))
    numbers: dict[int, int] = {}
    encoded: list[tuple[Tokens, NDArray[np.int64]]] = []
    parts: list[list[tuple[int, NDArray[np.int64]]]] = []
    for i, (start, end) in enumerate(spans.tolist()):
        tokens = order[bounds[i] : bounds[i + 1]]
        parts.append([])
        if not tokens.size:
            if not allow_empty:
                raise ValueError(
                    f"spans[{i}]: must have tokens, got {document[start:end]!r} at ({start}, {end}); leave it out"
                )
            continue
        first, last = np.searchsorted(ends, [tokens[0], tokens[-1]], side="right").tolist()
        for window in range(first, last + 1):
            if window not in numbers:
                numbers[window] = len(encoded)
                encoded.append(tokenizer.window(whole, *windows[window][:2], side))
            window_tokens, positions = encoded[numbers[window]]
            text_rows = np.flatnonzero(positions >= 0)
            is_owned = (positions < ends[window]) & (positions >= (ends[window - 1] if window else 0))
            rows = is_owned & (passages[positions] == i)
            if window == first:
                rows[: text_rows[-1]] |= positions[: text_rows[-1]] < 0
            if window == last:
                rows[text_rows[-1] :] |= positions[text_rows[-1] :] < 0
            parts[i].append((numbers[window], np.flatnonzero(rows & window_tokens.scored)))
    # Row -1 is that of a token beside the text.
    all_spans = np.concatenate([whole.spans, np.zeros((1, 2), dtype=np.int32)])
    return PassageWindows([tokens for tokens, _ in encoded], [all_spans[rows] for _, rows in encoded], parts)


def _windows(count: int, room: int) -> list[tuple[int, int, int]]:
    """Return of every window its first token, the end of its tokens, and the end of those that it encodes for good."""
    if count <= room:
        return [(0, count, count)]
    step = room - room // _OVERLAP_DIVISOR
    starts = [*range(0, count - room, step), count - room]
    middles = [(after + before + room) // 2 for before, after in pairwise(starts)]
    return [(start, start + room, end) for start, end in zip(starts, [*middles, count], strict=True)]


def _passages_of_tokens(document: str, whole: WholeText, spans: Spans) -> NDArray[np.int64]:
    """Return the number of the span that every token belongs to, int64 (tokens,); -1 for none."""
    if not len(spans):
        return np.full(len(whole.ids), -1, dtype=np.int64)
    # Offsets without white space, which some tokenizers count with the word before or after it.
    visible = np.array([not character.isspace() for character in document], dtype=bool)
    without_spaces = np.concatenate([[0], np.cumsum(visible)])
    found = _containing(without_spaces[whole.spans[:, 0]], without_spaces[spans])
    blank = without_spaces[whole.spans[:, 0]] == without_spaces[whole.spans[:, 1]]
    found[blank] = _containing(whole.spans[blank, 0], spans)
    return found


def _containing(offsets: NDArray[Any], spans: NDArray[Any]) -> NDArray[np.int64]:
    """Return the span that has every offset; -1 for none."""
    number = np.minimum(np.searchsorted(spans[:, 1], offsets, side="right"), len(spans) - 1)
    return np.where((spans[number, 0] <= offsets) & (offsets < spans[number, 1]), number, -1)
