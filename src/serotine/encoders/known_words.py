"""What a tokenizer's vocabulary knows: tokens that it lacks, and words that it only spells letter by letter."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cached_property

from tokenizers import Encoding, Tokenizer

from serotine.languages import letter_script

# Shorter runs occur in names and rare words of every script.
_MIN_TOKENS = 4
# WordPiece tokenizers take no longer word apart: one of Latin letters and digits is base64 or a hash, no language.
_LONG_WORD = 100
# Vocabularies that know a script have hundreds of tokens of two letters and more; others have about ten.
_MIN_WORDS = 100
# Greek to the phonetic extensions; kana; Hangul. Latin letters are left out: codes and numbers are spelled in any
# vocabulary. So are Han characters, most of which are words.
_OTHER_LETTERS = re.compile("[\u0370-\u1cff\u3041-\u30ff\uac00-\ud7a3]")


class KnownWords:
    """The words that a tokenizer knows.

    Args:
        tokenizer: without truncation and padding.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._unknown = _unknown_token(tokenizer)

    @cached_property
    def scripts(self) -> frozenset[str]:
        """Scripts, other than Latin and Han, of which the vocabulary has words."""
        counts: Counter[str] = Counter()
        for token in self._tokenizer.get_vocab(with_added_tokens=False):
            # Without the marks of a continued word and of a word's beginning.
            letters = token.removeprefix("##").removeprefix("\u2581")
            if len(letters) > 1 and _OTHER_LETTERS.match(letters):
                counts[letter_script(letters[0])] += 1
        return frozenset(script for script, count in counts.items() if count >= _MIN_WORDS)

    def may_lack(self, text: str, encoding: Encoding) -> bool:
        """Return whether characters of a text may be outside the vocabulary."""
        if self._unknown is not None and self._unknown in encoding.ids:
            return True
        if text.isascii():
            return False
        # Letters of scripts that the vocabulary knows are never reported.
        return any(letter_script(letter) not in self.scripts for letter in set(text) if _OTHER_LETTERS.match(letter))

    def unknown_spans(self, text: str, encoding: Encoding) -> list[tuple[int, int]]:
        """Return (start, end) of the characters outside the vocabulary, in rising order."""
        lacking = (span for id_, span in zip(encoding.ids, encoding.offsets, strict=True) if id_ == self._unknown)
        pairs = [
            (start, end) for start, end in lacking if not _is_code(text[start:end]) and _says_something(text[start:end])
        ]
        spelled = spelled_words(text, encoding.offsets)
        return _merged(pairs + [span for span in spelled if letter_script(text[span[0]]) not in self.scripts])


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


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans in rising order, overlapping ones as one: a word that is spelled may contain a token that lacks."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            start, end = merged[-1][0], max(end, merged.pop()[1])
        merged.append((start, end))
    return merged


def _is_code(word: str) -> bool:
    return len(word) > _LONG_WORD and all(letter_script(letter) == "Latin" for letter in word if letter.isalpha())


def _says_something(word: str) -> bool:
    """Return whether a word has more than punctuation, which says as little where it is known."""
    return any(unicodedata.category(character)[0] not in "PZC" for character in word)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _unknown_token(tokenizer: Tokenizer) -> int | None:
    """Return the id that a tokenizer gives what is not in its vocabulary, or None where everything is."""
    # Also for the "unk_id" of Unigram models, which the library does not expose. The vocabulary is left unparsed.
    unknown = getattr(tokenizer.model, "unk_token", None)
    if unknown is not None:
        return tokenizer.token_to_id(unknown)
    id_ = json.loads(tokenizer.to_str())["model"].get("unk_id")
    return None if id_ is None else int(id_)
