"""Words of BM25, and its stop words by language."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from serotine.index import analyze

# The names of bm25s's lists.
_STOP_LISTS = {
    "da": "DANISH",
    "de": "GERMAN",
    "en": "EN",
    "es": "SPANISH",
    "fr": "FRENCH",
    "it": "ITALIAN",
    "nl": "DUTCH",
    "no": "NORWEGIAN",
    "pt": "PORTUGUESE",
    "ru": "RUSSIAN",
    "sv": "SWEDISH",
    "tr": "TURKISH",
}


@cache
def _word() -> re.Pattern[str]:
    # \w excludes vowel signs, which are marks: without them, Hindi, Bengali and Telugu words would be split.
    marks = "".join(chr(code) for code in range(0x300, 0xFFFF) if unicodedata.category(chr(code)).startswith("M"))
    return re.compile(f"[\\w{marks}]+")


def words(text: str) -> list[str]:
    """Return the words of a text, case folded; overlapping pairs of characters in scripts without spaces.

    Single letters are dropped, except in scripts without case, where a single character can be a word.
    """
    return [word for word in _word().findall(analyze(text)) if len(word) > 1 or unicodedata.category(word) == "Lo"]


def stop_words(language: str | None) -> frozenset[str]:
    """Return the stop words of a language; an empty set without a list."""
    if language not in _STOP_LISTS:
        return frozenset()
    import bm25s.stopwords

    return frozenset(getattr(bm25s.stopwords, f"STOPWORDS_{_STOP_LISTS[language]}", ()))
