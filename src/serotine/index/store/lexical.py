"""Lexical search: BM25 by SQLite's FTS5, also for languages written without spaces.

FTS5 knows words by the spaces between them. Chinese, Japanese, Thai, Lao, Khmer and Burmese have none, so here their
runs of characters become overlapping pairs, the usual way to index them without a dictionary. Korean is treated
likewise: it has spaces, but particles cling to the noun ("seoul-eseo", in Seoul), so whole words would seldom meet.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

# Marks are token characters here, which by FTS5's default they are not: vowel signs would cut Hindi words, and Thai
# pairs, to pieces. detail stays full, because with less FTS5 forgets how often a word occurs in a text, and BM25
# wants that.
_TOKENISER = "porter unicode61 remove_diacritics 2 categories 'L* M* N* Co'"

SCHEMA = f"""
CREATE VIRTUAL TABLE passages_fts USING fts5 (text, content='', tokenize="{_TOKENISER}");
"""


def _characters(first: int, last: int, category: str) -> str:
    """The letters (category "L") or marks ("M") of a block, for a character class; numerals like U+3007 are letters."""
    wanted = ("L", "Nl") if category == "L" else ("M",)
    return "".join(chr(code) for code in range(first, last + 1) if unicodedata.category(chr(code)).startswith(wanted))


# Thai and Lao, Myanmar, Hangul letters, Khmer; ideographic signs, kana, bopomofo; Hangul, Myanmar and kana extensions.
_BLOCKS = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x11FF),
    (0x1780, 0x17FF),
    (0x3005, 0x312F),
    (0x3130, 0x318F),
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0xA960, 0xA97F),
    (0xA9E0, 0xA9FF),
    (0xAA60, 0xAA7F),
    (0xD7B0, 0xD7FF),
    (0x1AFF0, 0x1B16F),
)
# Han, and Hangul syllables: too many to go through. Planes 2 and 3 are Han altogether.
_WHOLE = "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003fffd"
_LETTERS = "".join(_characters(first, last, "L") for first, last in _BLOCKS) + _WHOLE
_MARKS = "".join(_characters(first, last, "M") for first, last in _BLOCKS)
_RUN = re.compile(f"[{_LETTERS}{_MARKS}]+")
# A letter with its marks. After the signs that stack consonants in Khmer and Burmese the next letter belongs too.
_UNIT = re.compile(f"[{_LETTERS}](?:[{_MARKS}]|(?<=[\u17d2\u1039])[{_LETTERS}])*")
# Soft hyphens, joiners, variation selectors: they change how a word looks, not which word it is. The zero-width space
# and non-joiner do part words, and stay.
_INVISIBLE = re.compile("[\u00ad\u034f\u200d\u200e\u200f\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]")
# More words than this make a question slow and no clearer; the rarest are kept.
_MOST_WORDS = 64


def analyze(text: str) -> str:
    """`text` as FTS5 is to see it: words as they are, runs without spaces as overlapping pairs of characters.

    NFKC and case folding first, so that halfwidth katakana or fullwidth letters are found as the usual ones. A run of
    one character stays that character; a character takes its combining marks along.
    """
    return _analyzed(text, closing=False)


def add(connection: sqlite3.Connection, rows: Iterable[tuple[int, str]]) -> None:
    """Adds texts: (document number, text)."""
    connection.executemany(
        "INSERT INTO passages_fts (rowid, text) VALUES (?, ?)",
        ((number, _analyzed(text, closing=True)) for number, text in rows),
    )


def remove(connection: sqlite3.Connection, rows: Iterable[tuple[int, str]]) -> None:
    """Removes texts that were added: FTS5 keeps no copy, so it must be given the very same texts again."""
    connection.executemany(
        "INSERT INTO passages_fts (passages_fts, rowid, text) VALUES ('delete', ?, ?)",
        ((number, _analyzed(text, closing=True)) for number, text in rows),
    )


def match_expression(query: str) -> str | None:
    """The FTS5 query for any of the words of `query`, each in double quotes; None where it holds no word."""
    return " OR ".join(_phrases(query)) or None


def search(
    connection: sqlite3.Connection, query: str, k: int, condition: tuple[str, list[Any]] | None = None
) -> list[tuple[int, float]]:
    """The `k` live documents whose texts match a question best, by BM25 (k1 = 1.2, b = 0.75) as FTS5 computes it.

    A document needs one word of the question, in any inflection that Porter's stemmer takes away. Of more than 64
    words the rarest 64 count.

    Args:
        connection: to a database with the tables `documents` and `passages_fts`.
        query: any text; none of it is taken as query syntax.
        k: how many documents at most.
        condition: what `compile_where` returned, over the columns of `documents`.

    Returns:
        (document number, score), score above 0 and more is better, best first, ties to the lower number.
    """
    if k < 1:
        return []
    join, sql, values = "", "", []
    if condition is not None:
        # CROSS: SQLite must not look each document up in FTS5, which reads the question anew every time.
        join = "CROSS JOIN documents ON documents.number = passages_fts.rowid "
        sql, values = f"AND {condition[0]} ", condition[1]
    statement = (
        f"SELECT passages_fts.rowid, bm25(passages_fts) AS score FROM passages_fts {join}"  # noqa: S608
        # Deleted documents are few, and the catalog has an index of them; to ask every document takes a third longer.
        "WHERE passages_fts MATCH ? AND passages_fts.rowid NOT IN (SELECT number FROM documents WHERE NOT live) "
        f"{sql}ORDER BY score, passages_fts.rowid LIMIT ?"
    )
    found: list[tuple[int, float]] = []
    for phrases in _choices(connection, _phrases(query)):
        found = connection.execute(statement, (" OR ".join(phrases), *values, k)).fetchall()
        if len(found) == k:
            break
    return [(number, -score) for number, score in found]


def _choices(connection: sqlite3.Connection, phrases: list[str]) -> list[list[str]]:
    """What to ask for, and what to ask for instead where that finds too little.

    A word in half the texts or more has no weight in BM25 (FTS5 gives it a millionth), and costs most of the time.
    Without such words the first hits are the same; with them come the texts that hold no others.
    """
    if len(phrases) < 2:
        return [phrases] if phrases else []
    (texts,) = connection.execute("SELECT count(*) FROM passages_fts_docsize").fetchone()
    holding = {}
    for phrase in phrases:
        statement = "SELECT count(*) FROM passages_fts WHERE passages_fts MATCH ?"
        (holding[phrase],) = connection.execute(statement, (phrase,)).fetchone()
    occurring = sorted((phrase for phrase in phrases if holding[phrase]), key=lambda phrase: holding[phrase])
    occurring = occurring[:_MOST_WORDS]
    telling = [phrase for phrase in occurring if 2 * holding[phrase] < texts]
    if telling and telling != occurring:
        return [telling, occurring]
    return [occurring] if occurring else []


def _phrases(query: str) -> list[str]:
    """The distinct words of a question as FTS5 takes them."""
    text = "".join(character if _is_token(character) else " " for character in analyze(query))
    # A lone character has to find the pairs that it begins; a prefix does. What ends a run is stored alone as well.
    return list(dict.fromkeys(f'"{word}"*' if _UNIT.fullmatch(word) else f'"{word}"' for word in text.split()))


def _is_token(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LMN" or category == "Co"


def _analyzed(text: str, *, closing: bool) -> str:
    """`analyze`; with `closing` the last character of every longer run is added alone."""
    text = unicodedata.normalize("NFKC", text).casefold()
    if text.isascii():
        return text

    def pairs(run: re.Match[str]) -> str:
        units = _UNIT.findall(run[0])
        tokens = [first + second for first, second in pairwise(units)]
        if units and (closing or not tokens):
            tokens.append(units[-1])
        return f" {' '.join(tokens)} "

    return _RUN.sub(pairs, _INVISIBLE.sub("", text))
