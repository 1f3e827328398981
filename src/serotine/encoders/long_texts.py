"""Texts far beyond any encoder's length, tokenized piece by piece: one of megabytes takes the memory of a piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Encoding

# Characters. Texts up to this length are tokenized whole.
PIECE = 1 << 16
# Tokens beside a cut may differ from those of the whole text.
_MARGIN = 64


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """Yield a text in pieces of at most `PIECE` characters, each with its start, cut at white space where there is any.

    >>> [(start, len(piece)) for start, piece in pieces("bats " * 20_000)]
    [(0, 65534), (65535, 34465)]
    """
    start = 0
    while len(text) - start > PIECE:
        end = start + PIECE
        space = max(text.rfind(character, start + 1, end) for character in " \n\t")
        yield start, text[start : space if space > 0 else end]
        # Most tokenizers read the white space as a part of the next word, or not at all.
        start = space + 1 if space > 0 else end
    yield start, text[start:]


def relevant_part(text: str, length: int, encode: Callable[[str], Encoding], *, left: bool) -> tuple[int, str]:
    """Return the start and the part of a text that has the first `length` tokens of the whole, or the last ones.

    Args:
        text: of any length.
        length: number of tokens.
        encode: the tokenizer, without truncation.
        left: whether the last tokens count, not the first.
    """
    size = PIECE
    while size < len(text):
        start = len(text) - size if left else 0
        part = text[start : start + size]
        if len(encode(part)) >= length + _MARGIN:
            return start, part
        size *= 16
    return 0, text
