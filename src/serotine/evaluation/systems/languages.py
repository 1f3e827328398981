"""Texts to words for BM25: which language they are in, its Snowball stemmer and its stop words."""

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

# bm25s's lists, by its name for each.
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
# The scripts of one language each, as far as retrieval collections go; by the first word of a letter's Unicode name.
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
# Letters of Persian that Arabic does not have.
_PERSIAN = frozenset("پچژگ")
_SAMPLE = 200
_SAMPLE_CHARACTERS = 1000
# Running text in a language is a third to a half stop words; of another one's, a few in a hundred look like them.
_LEAST_STOP_WORDS = 0.12


@cache
def _word() -> re.Pattern[str]:
    # Vowel signs are marks, which \w leaves out: without them Hindi, Bengali or Telugu words fall to pieces.
    marks = "".join(chr(code) for code in range(0x300, 0xFFFF) if unicodedata.category(chr(code)).startswith("M"))
    return re.compile(f"[\\w{marks}]+")


def words(text: str) -> list[str]:
    """The words of a text, case folded; where a script has no spaces, overlapping pairs of characters.

    Single letters are left out, single characters of other scripts are not: there they can be words.
    """
    found: list[str] = _word().findall(analyze(text))
    return [word for word in found if len(word) > 1 or unicodedata.category(word) == "Lo"]


def stop_words(language: str | None) -> frozenset[str]:
    """A language's stop words; none where there is no list."""
    if language not in _STOP_LISTS:
        return frozenset()
    import bm25s.stopwords

    return frozenset(getattr(bm25s.stopwords, f"STOPWORDS_{_STOP_LISTS[language]}", ()))


def guess(texts: Iterable[str]) -> str | None:
    """The language most of the texts are in, by script, and among those in Latin letters by stop words.

    Args:
        texts: the first 200 are looked at.

    Returns:
        ISO 639-1 code; None where nothing speaks for one language, as of Swahili or of program code.
    """
    sample = [text[:_SAMPLE_CHARACTERS] for text in islice(texts, _SAMPLE)]
    letters = Counter(letter for text in sample for letter in text if letter.isalpha())
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        scripts[unicodedata.name(letter, "?").split()[0]] += count
    total = scripts.total()
    if not total:
        return None
    if scripts["HIRAGANA"] + scripts["KATAKANA"] > 0.1 * total:
        return "ja"
    script, most = scripts.most_common(1)[0]
    if most < 0.5 * total:
        return None
    if script == "ARABIC":
        return "fa" if sum(letters[letter] for letter in _PERSIAN) > 0.005 * most else "ar"
    if script != "LATIN":
        return _SCRIPTS.get(script)
    found = Counter(word for text in sample for word in words(text))
    shares = {
        language: sum(found[word] for word in stop_words(language)) / max(found.total(), 1)
        for language in _STOP_LISTS
        if language != "ru"
    }
    best = max(shares, key=lambda language: shares[language])
    return best if shares[best] >= _LEAST_STOP_WORDS else None
