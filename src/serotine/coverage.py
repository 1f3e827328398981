"""How much of a text an encoder reads: what is beyond its length, and what is outside its vocabulary."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from serotine.errors import TruncatedTextWarning, UnknownTextWarning
from serotine.issued_warnings import issue_warning, warnings_wanted
from serotine.model_packages import create_multilingual, multilingual_advice
from serotine.wording import worded

# Above this share of its characters, a text's vectors say little about it.
UNKNOWN_SHARE = 0.2
_MAIN_SCRIPTS = 3
_EMOJI = ((0x1F000, 0x1FAFF), (0x2600, 0x27BF))
# No words, and no mode of search has them.
_WORDLESS = ("emoji", "symbols")
_SCRIPT_NAMES = {"Cjk": "Han"}


@dataclass(frozen=True, slots=True)
class TextCoverage:
    """What an encoder reads of one text.

    Attributes:
        tokens: number of the text's tokens, without special tokens and prompt.
        limit: how many of them are encoded.
        unknown: (start, end) of the characters outside the vocabulary: of tokens that it lacks, and, in other scripts
            than Latin and Han, of words that are spelled letter by letter. Codes such as base64 are no words.

    >>> TextCoverage(tokens=600, limit=510).truncated
    True
    """

    tokens: int
    limit: int
    unknown: tuple[tuple[int, int], ...] = ()

    @property
    def truncated(self) -> bool:
        """Whether the encoder reads only a part of the text."""
        return self.tokens > self.limit

    def unknown_share(self, text: str) -> float:
        """Return the share of the text's characters, without white space, that are outside the vocabulary."""
        if not self.unknown:
            return 0.0
        characters = sum(map(len, text.split()))
        unknown = sum(len(word) for start, end in self.unknown for word in text[start:end].split())
        return unknown / characters if characters else 0.0

    def unknown_scripts(self, text: str) -> list[str]:
        """Return the scripts of the characters outside the vocabulary, the most frequent first."""
        counts: Counter[str] = Counter()
        for start, end in self.unknown:
            counts.update(map(_script, text[start:end]))
        del counts[""]
        return [script for script, _ in counts.most_common()]


def unknown_fix(encoder: str) -> str:
    """Return what to do about documents outside the vocabulary of an index's encoder, which has this name."""
    words = by_words_advice()
    return multilingual_advice(f"{words}, or {create_multilingual()}", encoder, words)


def by_words_advice() -> str:
    """Return what to do where vectors say little: search by words."""
    return worded('search with mode="bm25"', http="search by words", command="search with --mode bm25")


def is_wordless(script: str) -> bool:
    """Return whether a "script" has no words, so that searches by words do not find it either: emoji, symbols."""
    return script in _WORDLESS


def main_scripts(scripts: Iterable[str]) -> str:
    """Return the first few scripts as words of a message."""
    return ", ".join(islice(scripts, _MAIN_SCRIPTS))


def with_wordless_advice(fix: str, scripts: Iterable[str]) -> str:
    """Return what to do about texts of these scripts, where `fix`, if any, is right for those that have words.

    >>> from serotine.coverage import with_wordless_advice
    >>> with_wordless_advice('search with mode="bm25"', ["emoji"])
    'no mode finds emoji: describe them in words'
    """
    named = list(scripts)
    wordless = sorted(filter(is_wordless, named))
    if not wordless:
        return fix
    advice = f"no mode finds {' and '.join(wordless)}: describe them in words"
    return f"{fix}; {advice}" if fix and len(wordless) < len(named) else advice


class _Encoder(Protocol):
    @property
    def name(self) -> str: ...


def text_coverage(encoder: _Encoder, texts: Sequence[str], *, query: bool) -> list[TextCoverage] | None:
    """Return what an encoder reads of every text; None for an encoder without the method `coverage`."""
    measure: Any = getattr(encoder, "coverage", None)
    return None if measure is None else list(measure(texts, query=query))


@dataclass(slots=True)
class CoverageReport:
    """Counts of the texts that are longer than an encoder reads, or outside its vocabulary.

    Attributes:
        texts: number of texts.
        truncated: how many are longer than the encoder reads.
        first_truncated: the name of the first of these; "" where there is none.
        first_tokens: its number of tokens.
        limit: number of tokens that the encoder reads.
        unknown: how many are more than 20% outside the encoder's vocabulary.
        first_unknown: the name of the first of these.
        scripts: number of such texts by their main script.
    """

    texts: int = 0
    truncated: int = 0
    first_truncated: str = ""
    first_tokens: int = 0
    limit: int = 0
    unknown: int = 0
    first_unknown: str = ""
    scripts: Counter[str] = field(default_factory=Counter)

    def count(self, name: str, text: str, coverage: TextCoverage) -> None:
        """Count one text."""
        self.texts += 1
        if coverage.truncated:
            self.truncated += 1
            if self.truncated == 1:
                self.first_truncated, self.first_tokens, self.limit = name, coverage.tokens, coverage.limit
        if coverage.unknown_share(text) > UNKNOWN_SHARE:
            self.unknown += 1
            self.first_unknown = self.first_unknown or name
            self.scripts.update(coverage.unknown_scripts(text)[:1])

    def merge(self, other: CoverageReport) -> None:
        """Add the counts of later texts."""
        if not self.truncated:
            self.first_truncated, self.first_tokens, self.limit = other.first_truncated, other.first_tokens, other.limit
        self.first_unknown = self.first_unknown or other.first_unknown
        self.texts += other.texts
        self.truncated += other.truncated
        self.unknown += other.unknown
        self.scripts.update(other.scripts)

    def truncated_message(self, name: str, encoder: str, outcome: str) -> str:
        """Return the message about texts that are too long; `outcome` is what happens to the rest, and the fix."""
        return (
            f"{name}: {self.truncated:,} of {self.texts:,} longer than the {self.limit:,} tokens that {encoder!r} "
            f"reads, the first is {self.first_truncated} with {self.first_tokens:,}; {outcome}"
        )

    def unknown_message(self, name: str, encoder: str, fix: str) -> str:
        """Return the message about texts outside the encoder's vocabulary."""
        scripts = main_scripts(script for script, _ in self.scripts.most_common())
        return (
            f"{name}: {self.unknown:,} of {self.texts:,} more than {UNKNOWN_SHARE:.0%} outside the vocabulary of "
            f"{encoder!r} ({scripts}), the first is {self.first_unknown}; {with_wordless_advice(fix, self.scripts)}"
        )

    def warn_truncated(self, name: str, encoder: str, fix: str) -> None:
        """Warn once about texts that are too long, if there are any."""
        if self.truncated:
            message = self.truncated_message(name, encoder, f"the rest is ignored: {fix}")
            issue_warning(TruncatedTextWarning(message))

    def warn_unknown(self, name: str, encoder: str, fix: str) -> None:
        """Warn once about texts outside the encoder's vocabulary, if there are any."""
        if self.unknown:
            issue_warning(UnknownTextWarning(self.unknown_message(name, encoder, fix)))


def warn_about_texts(encoder: _Encoder, texts: Sequence[str], *, query: bool, is_read_whole: bool = False) -> None:
    """Warn about texts that are longer than an encoder reads, unless it reads them in windows, or outside its words."""
    if not warnings_wanted():
        return
    coverages = text_coverage(encoder, texts, query=query)
    if coverages is None:
        return
    report = CoverageReport()
    count_texts(report, texts, coverages, query=query)
    if is_read_whole:
        report.truncated = 0
    warn_about_report(report, encoder.name, query=query)


def count_texts(
    report: CoverageReport, texts: Sequence[str], coverages: Sequence[TextCoverage], *, query: bool
) -> None:
    """Count the next texts of a call, which are named by their place in it."""
    name = _argument(query=query)
    for i, (text, coverage) in enumerate(zip(texts, coverages, strict=True), report.texts):
        report.count(f"{name}[{i}]", text, coverage)


def warn_about_report(report: CoverageReport, encoder: str, *, query: bool) -> None:
    """Warn about the texts of a call that are too long, or outside the vocabulary of `encoder`."""
    name = _argument(query=query)
    report.warn_truncated(name, encoder, "shorten them" if query else "cut them into passages")
    # The advice looks for an installed package, a fifth of the time of a short query.
    if report.unknown:
        use = worded('use Encoder("multilingual")', http="use a multilingual encoder")
        report.warn_unknown(name, encoder, multilingual_advice(use, encoder, by_words_advice()))


def _argument(*, query: bool) -> str:
    return "queries" if query else "texts"


def _script(character: str) -> str:
    """Return the script of a character: "Thai", "Han", "emoji", "symbols"; "" for marks that belong to any script."""
    if any(first <= ord(character) <= last for first, last in _EMOJI):
        return "emoji"
    category = unicodedata.category(character)
    name = unicodedata.name(character, "").split(" ")[0].capitalize()
    if category[0] == "L":
        return _SCRIPT_NAMES.get(name, name)
    if category[0] == "M":
        return "" if name in ("Combining", "Variation") else name
    return "symbols" if category[0] == "S" else ""
