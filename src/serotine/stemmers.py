"""Snowball's stemmers by language, from PyStemmer."""

from __future__ import annotations

from collections.abc import Callable

import Stemmer

from serotine.languages import language_name

# Snowball's names by ISO 639-1 code; older releases of the library lack some.
_NAMES = {
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
# No word of a language is longer; some stemmers move all letters that follow one.
_MAX_LETTERS = 64
# Written without spaces between words, or with particles attached to them: pairs of characters are indexed.
_PAIRED = frozenset(("ja", "km", "ko", "lo", "my", "th", "zh"))


def stemmer_name(language: str | None) -> str | None:
    """Return Snowball's name of a language's stemmer; None where there is none.

    >>> from serotine.stemmers import stemmer_name
    >>> stemmer_name("de"), stemmer_name("sw")
    ('german', None)
    """
    name = _NAMES.get(language or "")
    return name if name in Stemmer.algorithms() else None


def stemmer(language: str | None) -> Callable[[str], str] | None:
    """Return a function that stems words of a language, for one thread; None where there is no stemmer.

    It returns a word of more than 64 letters as it is: some stemmers take quadratic time.

    >>> from serotine.stemmers import stemmer
    >>> stemmer("de")("fledermäuse")
    'fledermaus'
    """
    name = stemmer_name(language)
    if name is None:
        return None
    stem: Callable[[str], str] = Stemmer.Stemmer(name).stemWord
    return lambda word: word if len(word) > _MAX_LETTERS else stem(word)


def stemmer_version() -> str:
    """Return the version of the library: another one may stem words differently."""
    return str(Stemmer.version())


def without_stemmer(language: str) -> str | None:
    """Return what is done with the words of a language without a stemmer; None where it has one.

    >>> from serotine.stemmers import without_stemmer
    >>> without_stemmer("sw")
    'no stemmer for Swahili; words match as they are written, in any case'
    """
    if stemmer_name(language) is not None:
        return None
    name = language_name(language)
    if language in _PAIRED:
        return f"no stemmer for {name}; pairs of neighboring characters match instead of words"
    return f"no stemmer for {name}; words match as they are written, in any case"
