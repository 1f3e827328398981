"""Languages of BM25: detection, words, Snowball stemmers and stop words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import islice

from serotine.index import analyze

SNOWBALL = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
"""Snowball's name of a stemmer by ISO 639-1 code; older releases of the library lack some."""

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
# The most likely language of a script, by the first word of a letter's Unicode name.
_SCRIPTS = {
    "ARABIC": "ar",
    "ARMENIAN": "hy",
    "BENGALI": "bn",
    "CJK": "zh",
    "CYRILLIC": "ru",
    "DEVANAGARI": "hi",
    "GREEK": "el",
    "HANGUL": "ko",
    "HEBREW": "he",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAI": "th",
}
# Persian letters that Arabic lacks.
_PERSIAN = frozenset("پچژگ")
_MAX_TEXTS = 200
_MAX_CHARACTERS = 1000
# A third to a half of a text are stop words of its language, and a few percent are stop words of another.
_MIN_STOP_WORD_SHARE = 0.12


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


def detect_language(texts: Iterable[str]) -> str | None:
    """Detect the main language of texts by script, and for Latin script by stop words.

    Args:
        texts: the texts; only the first 200 are read.

    Returns:
        ISO 639-1 code; None if no language fits, as for Swahili or program code.
    """
    sample = [text[:_MAX_CHARACTERS] for text in islice(texts, _MAX_TEXTS)]
    letters = Counter(letter for text in sample for letter in text if letter.isalpha())
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        scripts[unicodedata.name(letter, "?").split()[0]] += count
    total = scripts.total()
    if not total:
        return None
    if scripts["HIRAGANA"] + scripts["KATAKANA"] > 0.1 * total:
        return "ja"
    script, script_letters = scripts.most_common(1)[0]
    if script_letters < 0.5 * total:
        return None
    if script == "ARABIC":
        return "fa" if sum(letters[letter] for letter in _PERSIAN) > 0.005 * script_letters else "ar"
    if script != "LATIN":
        return _SCRIPTS.get(script)
    word_counts = Counter(word for text in sample for word in words(text))
    shares = {
        language: sum(word_counts[word] for word in stop_words(language)) / max(word_counts.total(), 1)
        for language in _STOP_LISTS
        if language != "ru"
    }
    best = max(shares, key=lambda language: shares[language])
    return best if shares[best] >= _MIN_STOP_WORD_SHARE else None
