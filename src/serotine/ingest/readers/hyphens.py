"""Words broken at the end of a line: joined, or with their hyphen, as the text itself writes them elsewhere."""

from __future__ import annotations

import re
from collections import Counter

from serotine.common_words import ENGLISH

# What pdfium writes for a hyphen at the end of a line, between the halves of a word.
_BREAK = re.compile("[\ufffe\x02]\r?\n?")
_HALF = r"[^\W_]++(?:-[^\W_]++)*+"
# Only from the beginning of a word: long runs of letters would be read once for each of them.
_BROKEN = re.compile(rf"(?<![^\W_])(?<![^\W_]-)({_HALF})(?:{_BREAK.pattern})({_HALF})")
_WORD = re.compile(_HALF)
# Words that English nearly always joins with a hyphen to the next, or to the one before. Chosen on pages of
# Python's documentation.
_HYPHENATED_AFTER = frozenset(("cross", "double", "high", "low", "non", "quasi", "self", "single", "well"))
_HYPHENATED_BEFORE = frozenset(
    (
        *("aligned", "aware", "based", "compatible", "compiled", "defined", "dependent", "driven", "encoded"),
        *("friendly", "level", "oriented", "platform", "quality", "readable", "related", "safe", "separated"),
        *("specific", "style"),
    )
)
_MIN_LETTERS = 3


def join_hyphenated(text: str) -> str:
    r"""Return a text without the marks of broken words: "infor\x02mation" is joined, "self\x02evident" is not.

    The form that is more frequent in the rest of the text decides. Where it has neither, a hyphen stays beside a digit,
    beside a capital ("Anglo-American"), after a single letter, beside a few words ("self", "based"), and between two
    words that the text also has alone. Of a word with another hyphen the nearest part decides: "state-of\x02the" has
    one, "self-evi\x02dent" has not.
    """
    if _BREAK.search(text) is None:
        return text
    words = Counter(_WORD.findall(_BROKEN.sub(" ", text).lower()))
    for word, count in list(words.items()):
        if "-" in word:
            words.update(dict.fromkeys(word.split("-"), count))
    text = _BROKEN.sub(lambda match: _joined(match.group(1), match.group(2), words), text)
    return _BREAK.sub("", text)


def _joined(first: str, second: str, words: Counter[str]) -> str:
    joined, hyphenated = first + second, f"{first}-{second}"
    counts = words[joined.lower()], words[hyphenated.lower()]
    if counts[0] != counts[1]:
        return joined if counts[0] > counts[1] else hyphenated
    # "self-evi" and "dent": what is broken is "evi" and "dent".
    left, right = first.rpartition("-")[2], second.partition("-")[0]
    if (left, right) != (first, second):
        if words[f"{left}{right}".lower()]:
            return joined
        halves = [half for half, whole in ((left, first), (right, second)) if half != whole]
        return hyphenated if all(_is_word(half, words) for half in halves) else joined
    # "Anglo-American", "SSL-related".
    capital = second[0].isupper() != first[-1].isupper() and (second[0].isupper() or first.isupper())
    digit = first[-1].isdigit() or second[0].isdigit()
    alone = all(len(half) >= _MIN_LETTERS and words[half.lower()] for half in (first, second))
    before = second.lower() in _HYPHENATED_BEFORE and len(first) > _MIN_LETTERS
    usual = before or first.lower() in _HYPHENATED_AFTER or len(first) == 1
    return hyphenated if capital or digit or alone or usual else joined


def _is_word(half: str, words: Counter[str]) -> bool:
    """Return whether half of a broken word is a word: "the", but not "evi"."""
    known = bool(words[half.lower()]) or half.lower() in _HYPHENATED_AFTER or half.lower() in ENGLISH
    return known or not half.isalpha() or len(half) == 1
