"""Languages of texts: by script where one language has it, English by its function words, others by py3langid."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import islice
from typing import Any

from serotine.common_words import ENGLISH

# More of a text does not change the answer. Identification takes a millisecond for this many characters.
_MAX_CHARACTERS = 400
_MAX_TEXTS = 200
# Function words of English that are words of other languages too.
_AMBIGUOUS = """
a am an as at be by can do for had has he her him i in is it me my no on or our over so some then to under up was we
were will
"""
_ENGLISH = ENGLISH - frozenset(_AMBIGUOUS.split())
# English prose has a fifth of the others; other languages written in Latin letters hardly any.
_ENGLISH_SHARE = 0.1
# Below, py3langid guesses: single words, names, program code.
_MIN_CONFIDENCE = 0.5
# Below, only a script says what language a text is in.
_MIN_WORDS = 3
# Of the texts whose language is known, for a language to be that of a collection.
_MAIN_SHARE = 0.5
_KANA_SHARE = 0.1
_WORD = re.compile(r"[^\W\d_]+")
# Scripts of one language, or of one in nearly all texts, by the first word of a letter's Unicode name.
_LANGUAGES = {
    "Armenian": "hy",
    "Bopomofo": "zh",
    "Georgian": "ka",
    "Greek": "el",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Han": "zh",
    "Hangul": "ko",
    "Kannada": "kn",
    "Khmer": "km",
    "Lao": "lo",
    "Malayalam": "ml",
    "Myanmar": "my",
    "Oriya": "or",
    "Sinhala": "si",
    "Tamil": "ta",
    "Telugu": "te",
    "Thai": "th",
    "Tibetan": "bo",
}
WITHOUT_SPACES = frozenset(
    [
        "Bopomofo",
        "Han",
        "Hiragana",
        "Ideographic",
        "Katakana",
        "Katakana-hiragana",
        "Khmer",
        "Lao",
        "Myanmar",
        "Thai",
        "Tibetan",
    ]
)
"""Scripts written without spaces between words."""
# The most likely language of the other scripts, for short texts.
_LIKELY = {"Arabic": "ar", "Bengali": "bn", "Cyrillic": "ru", "Devanagari": "hi", "Hebrew": "he"}
_SCRIPT_NAMES = {"Cjk": "Han", "Fullwidth": "Latin", "Halfwidth": "Katakana"}
# Codes of py3langid that name what another code names here, and those that name no language of a text.
_SAME = {"nb": "no", "nn": "no", "wuu": "zh", "yue": "zh", "ary": "ar", "arz": "ar", "pcm": None, "zxx": None}
# English names of the languages most often met; others are named by their codes.
_NAMES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ka": "Georgian",
    "km": "Khmer",
    "ko": "Korean",
    "lo": "Lao",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "my": "Burmese",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sr": "Serbian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "yo": "Yoruba",
    "zh": "Chinese",
}


def language_name(code: str) -> str:
    """Return the English name of a language, or its code.

    >>> from serotine.languages import language_name
    >>> language_name("de")
    'German'
    """
    return _NAMES.get(code, code)


def is_named(code: str) -> bool:
    """Return whether `language_name` has a name for a code."""
    return code in _NAMES


@cache
def letter_script(letter: str) -> str:
    """Return the script of a letter: "Latin", "Han", "Thai".

    >>> from serotine.languages import letter_script
    >>> letter_script("蝠")
    'Han'
    """
    name = unicodedata.name(letter, "Unnamed").split(" ")[0].capitalize()
    return _SCRIPT_NAMES.get(name, name)


def script_counts(text: str) -> Counter[str]:
    """Return the number of letters of each script in a text.

    >>> from serotine.languages import script_counts
    >>> dict(script_counts("bat 蝙蝠"))
    {'Latin': 3, 'Han': 2}
    """
    scripts: Counter[str] = Counter()
    for letter, count in Counter(text).items():
        if letter.isalpha():
            scripts[letter_script(letter)] += count
    return scripts


def detect_language(text: str) -> str | None:
    """Return the ISO 639-1 code of a text's language; None where it is uncertain: a name, code, numbers.

    Only the first 400 characters are read.

    >>> from serotine.languages import detect_language
    >>> detect_language("The bats are hunting at dusk."), detect_language("コウモリ"), detect_language("x = 1")
    ('en', 'ja', None)
    """
    text = text[:_MAX_CHARACTERS]
    if text.isascii():
        return _latin_language(text)
    scripts = script_counts(text)
    total = scripts.total()
    if not total:
        return None
    if scripts["Hiragana"] + scripts["Katakana"] > _KANA_SHARE * total:
        return "ja"
    script, letters = scripts.most_common(1)[0]
    if 2 * letters < total:
        return None
    if script in _LANGUAGES:
        return _LANGUAGES[script]
    if script == "Latin":
        return _latin_language(text)
    if len(_WORD.findall(text.casefold())) < _MIN_WORDS:
        return None
    return _identify(text) or _LIKELY.get(script)


def _latin_language(text: str) -> str | None:
    words = _WORD.findall(text.casefold())
    if len(words) < _MIN_WORDS:
        return None
    if sum(map(_ENGLISH.__contains__, words)) >= _ENGLISH_SHARE * len(words):
        return "en"
    return _identify(" ".join(words))


def load_model_for(texts: Iterable[str]) -> None:
    """Load py3langid's model now if `detect_language` needs it for any of these texts."""
    for text in texts:
        if _identifier.cache_info().currsize:
            return
        detect_language(text)


def main_language(texts: Iterable[str]) -> str | None:
    """Return the language of most texts whose language is certain, of the first 200; None where there is none.

    >>> from serotine.languages import main_language
    >>> main_language(["Die Fledermaus jagt in der Nacht.", "1234"])
    'de'
    """
    languages = Counter(map(detect_language, islice(texts, _MAX_TEXTS)))
    del languages[None]
    language, count = languages.most_common(1)[0] if languages else (None, 0)
    return language if count >= _MAIN_SHARE * languages.total() else None


def _identify(text: str) -> str | None:
    language, confidence = _identifier().classify(text)
    return _SAME.get(language, language) if confidence >= _MIN_CONFIDENCE else None


@cache
def _identifier() -> Any:
    # The model takes a second to load; most collections are English, and never need it.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
