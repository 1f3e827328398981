"""Words that a tokenizer spells letter by letter, because its vocabulary has the letters of a script but no words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from serotine.languages import letter_script

# Shorter runs occur in names and rare words of every script.
_MIN_TOKENS = 4
# Greek to the phonetic extensions; kana; Hangul. Latin letters are left out: codes and numbers are spelled in any
# vocabulary. So are Han characters, most of which are words.
_OTHER_LETTERS = re.compile("[\u0370-\u1cff\u3041-\u30ff\uac00-\ud7a3]")


def has_other_letters(text: str) -> bool:
    """Return whether a text has letters of scripts in which words may be spelled."""
    return not text.isascii() and _OTHER_LETTERS.search(text) is not None


def spelled_words(text: str, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (start, end) of the runs of at least four tokens that are one letter, or a part of one, each.

    Args:
        text: what was tokenized.
        spans: (start, end) of the characters of every token.
    """
    words: list[tuple[int, int]] = []
    first = last = tokens = 0
    for start, end in [*spans, (0, 0)]:
        is_letter = end - start == 1 and _OTHER_LETTERS.match(text[start]) and letter_script(text[start]) != "Latin"
        # Marks that the tokenizer drops are between the letters of a word; parts of one letter have the same span.
        if is_letter and tokens and all(map(_is_mark, text[last:start])):
            last, tokens = end, tokens + 1
            continue
        if tokens >= _MIN_TOKENS:
            words.append((first, last))
        first, last, tokens = start, end, int(bool(is_letter))
    return words


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")
