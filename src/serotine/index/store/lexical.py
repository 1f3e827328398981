"""Lexical search: BM25 by SQLite's FTS5, also for languages written without spaces.

FTS5 splits words at spaces. Chinese, Japanese, Thai, Lao, Khmer and Burmese have none, so their runs of characters
become overlapping pairs, the usual way to index them without a dictionary. Korean is treated likewise: it has spaces,
but particles attach to the noun ("seoul-eseo", in Seoul), so whole words would seldom match.

English words are stemmed by FTS5. A text in another language that Snowball has a stemmer for is indexed as it is
written, and once more as stems that are marked with their language, so that equal stems of two languages stay apart.
A query is searched as it is written, and as stems of the languages of at least 5% of the texts: in a language of few,
every word would be rare, and decide. The table `lexical_languages` records the languages, because FTS5 needs equal
words to remove a text. An index without the table is older, and its words stay as they are.
"""

from __future__ import annotations

import json
import re
import sqlite3
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np

from serotine.common_words import is_function_word
from serotine.index.store.word_statistics import WordStatistics, bm25_scores, collection_statistics, text_lengths
from serotine.languages import detect_language
from serotine.normalization import nfkc
from serotine.stemmers import stemmer, stemmer_name, stemmer_version

Stem = Callable[[str], str]

# Marks are token characters, unlike in FTS5's default, where vowel signs would split Hindi words and Thai pairs.
# detail stays full: with less, FTS5 does not store how often a word occurs in a text, which BM25 needs.
_TOKENIZER = "porter unicode61 remove_diacritics 2 categories 'L* M* N* Co'"

_COLUMNS = f"""text, content='', tokenize="{_TOKENIZER}\""""
SCHEMA = f"""
CREATE VIRTUAL TABLE passages_fts USING fts5 ({_COLUMNS});
"""
LANGUAGES_SCHEMA = """
CREATE TABLE lexical_languages (number INTEGER PRIMARY KEY, language TEXT NOT NULL);
CREATE TABLE lexical_language_counts (language TEXT PRIMARY KEY, texts INTEGER NOT NULL) WITHOUT ROWID;
"""
# The version of the stemmers in the table `meta`.
_STEMMER = "stemmer"
# The first of the private characters that mark stems; FTS5 takes them for letters.
_FIRST_MARK = 0xE000


def _characters(first: int, last: int, category: str) -> str:
    """Return the letters (category "L", with numerals like U+3007) or marks ("M") of a block, for a character class."""
    categories = ("L", "Nl") if category == "L" else ("M",)
    return "".join(
        chr(code) for code in range(first, last + 1) if unicodedata.category(chr(code)).startswith(categories)
    )


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
# Han, and Hangul syllables: too many to enumerate. Planes 2 and 3 are entirely Han.
_RANGES = "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003fffd"
_LETTERS = "".join(_characters(first, last, "L") for first, last in _BLOCKS) + _RANGES
_MARKS = "".join(_characters(first, last, "M") for first, last in _BLOCKS)
_RUN = re.compile(f"[{_LETTERS}{_MARKS}]+")
# A letter with its marks. After the signs that stack consonants in Khmer and Burmese the next letter belongs too.
_UNIT = re.compile(f"[{_LETTERS}](?:[{_MARKS}]|(?<=[\u17d2\u1039])[{_LETTERS}])*")
# Soft hyphens, joiners and variation selectors change how a word looks, not which word it is. The zero-width space
# and non-joiner separate words, and stay.
_INVISIBLE = re.compile("[\u00ad\u034f\u200d\u200e\u200f\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]")
# More words than this make a query slow without improving it; only the rarest are used.
_MAX_WORDS = 64
# Distinct words and stems of a query whose frequencies are looked up: about 25 microseconds each, one search at a time.
_MAX_PHRASES = 8192
# Single characters among them, each of which reads all pairs that it begins: 0.3 milliseconds over 4,000 Chinese texts.
_MAX_PREFIXES = 256


def analyze(text: str) -> str:
    """Return `text` as FTS5 indexes it: words unchanged, runs without spaces as overlapping pairs of characters.

    NFKC and case folding come first, so that halfwidth katakana and fullwidth letters match the usual ones. A run of
    one character stays that character; combining marks stay with their character.
    """
    return _analyzed(text, closing=False)


def add(connection: sqlite3.Connection, rows: Iterable[tuple[int, str]]) -> None:
    """Add texts: (document number, text)."""
    if not _records_languages(connection):
        _insert(connection, ((number, text, None) for number, text in rows))
        return
    _check_stemmer(connection)
    languages = [(number, text, _stemmed_language(text)) for number, text in rows]
    stemmed = [(number, language) for number, _, language in languages if language is not None]
    connection.executemany("INSERT INTO lexical_languages VALUES (?, ?)", stemmed)
    _count(connection, Counter(language for _, language in stemmed))
    _insert(connection, languages)


def remove(connection: sqlite3.Connection, rows: Sequence[tuple[int, str]]) -> None:
    """Remove texts that were added: FTS5 stores no copy, so it needs the same texts again."""
    records = _records_languages(connection)
    if records:
        _check_stemmer(connection)
    languages = [_recorded_language(connection, number) if records else None for number, _ in rows]
    analyzer = _Analyzer()
    connection.executemany(
        "INSERT INTO passages_fts (passages_fts, rowid, text) VALUES ('delete', ?, ?)",
        [(number, analyzer(text, language)) for (number, text), language in zip(rows, languages, strict=True)],
    )
    if records:
        connection.executemany("DELETE FROM lexical_languages WHERE number = ?", ((number,) for number, _ in rows))
        _count(connection, {language: -count for language, count in Counter(filter(None, languages)).items()})


def _count(connection: sqlite3.Connection, changes: Mapping[str, int]) -> None:
    """Change the numbers of texts by language."""
    connection.executemany(
        "INSERT INTO lexical_language_counts VALUES (?1, ?2) ON CONFLICT (language) DO UPDATE SET texts = texts + ?2",
        changes.items(),
    )


def _insert(
    connection: sqlite3.Connection, rows: Iterable[tuple[int, str, str | None]], table: str = "passages_fts"
) -> None:
    """Insert texts: (document number, text, language of its stemmer)."""
    analyzer = _Analyzer()
    connection.executemany(
        f"INSERT INTO {table} (rowid, text) VALUES (?, ?)",  # noqa: S608
        ((number, analyzer(text, language)) for number, text, language in rows),
    )


def _stemmed_language(text: str) -> str | None:
    """Return the language to stem a text in; None where FTS5 does, or nothing is known of it."""
    language = detect_language(text)
    return language if language != "en" and stemmer_name(language) is not None else None


def _records_languages(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'lexical_languages'").fetchone() is not None


def _recorded_language(connection: sqlite3.Connection, number: int) -> str | None:
    row = connection.execute("SELECT language FROM lexical_languages WHERE number = ?", (number,)).fetchone()
    return None if row is None else str(row[0])


def _check_stemmer(connection: sqlite3.Connection) -> None:
    """Index all texts again if another version of the stemmers wrote them: their words could not be removed."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_STEMMER,)).fetchone()
    version = json.dumps(stemmer_version())
    if row is not None and row[0] == version:
        return
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_STEMMER, version))
    if connection.execute("SELECT 1 FROM lexical_languages LIMIT 1").fetchone() is None:
        return
    indexed = "SELECT id FROM passages_fts_docsize"
    rows = connection.execute(
        "SELECT number, text, language FROM documents LEFT JOIN lexical_languages USING (number) "  # noqa: S608
        f"WHERE number IN ({indexed})"
    ).fetchall()
    connection.execute("INSERT INTO passages_fts (passages_fts) VALUES ('delete-all')")
    _insert(connection, rows)


def _collection(connection: sqlite3.Connection) -> WordStatistics:
    return collection_statistics(connection, with_languages=_records_languages(connection))


def _stems(languages: Iterable[str]) -> list[Stem]:
    """Return the stemmers of languages."""
    return [stem for language in languages if (stem := _marked_stemmer(language)) is not None]


def _marked_stemmer(language: str) -> Stem | None:
    """Return a function that stems a word and marks the stem with its language."""
    stem = stemmer(language)
    if stem is None:
        return None
    # Both letters of the code; the mark is at the end, where FTS5's stemmer for English looks for suffixes.
    first, second = (ord(letter) - ord("a") for letter in language)
    mark = chr(_FIRST_MARK + 26 * first + second)
    return lambda word: stem(word) + mark


def problems(connection: sqlite3.Connection) -> list[str]:
    """Compare what is stored for BM25 with what the texts give now.

    FTS5's own check compares nothing where it stores no copy of the texts. Needs disk space for a second word index,
    and a connection of its own, which may be read-only.
    """
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'passages_fts'").fetchone() is None:
        return ["the word index is missing"]
    records = _records_languages(connection)
    if records and connection.execute("SELECT 1 FROM lexical_languages LIMIT 1").fetchone() is not None:
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (_STEMMER,)).fetchone()
        if row is None or row[0] != json.dumps(stemmer_version()):
            # Written by another version of the stemmers; the next change indexes all texts again.
            return []
    connection.execute(f"CREATE VIRTUAL TABLE temp.expected USING fts5 ({_COLUMNS})")
    for name, table in (("stored", "main, passages_fts"), ("expected", "temp, expected")):
        connection.execute(f"CREATE VIRTUAL TABLE temp.{name}_words USING fts5vocab ({table}, instance)")
        connection.execute(f"CREATE VIRTUAL TABLE temp.{name}_counts USING fts5vocab ({table}, row)")
    language, join = ("language", "LEFT JOIN lexical_languages USING (number)") if records else ("NULL", "")
    # A text that is no text is damaged, and reported as such.
    condition = "live AND text <> '' AND typeof(text) = 'text'"
    texts = f"SELECT number, text, {language} FROM documents {join} WHERE {condition} ORDER BY number"  # noqa: S608
    _insert(connection, connection.execute(texts), "temp.expected")
    # Words first: reading them writes what FTS5 has buffered.
    for stored, expected in (
        ("SELECT term, doc, offset FROM temp.stored_words", "temp.expected_words"),
        # Without texts it is empty, or zeros where there were some.
        ("SELECT rtrim(hex(block), '0') FROM main.passages_fts_data WHERE id = 1", "temp.expected_data WHERE id = 1"),
        ("SELECT id, sz FROM main.passages_fts_docsize ORDER BY id", "temp.expected_docsize ORDER BY id"),
    ):
        columns = stored.partition(" FROM ")[0]
        pairs = zip_longest(connection.execute(stored), connection.execute(f"{columns} FROM {expected}"))
        try:
            if all(first == second for first, second in pairs):
                continue
        except sqlite3.DatabaseError as error:
            return [f"the word index cannot be read ({error})"]
        return ["the word index does not match the texts"]
    # A search looks words up by the tops of pages and the offsets in them, which reading all words in order does not.
    # As a join, of which the cursor stays open, in two thirds of the time of a statement within the other.
    lookups = (
        "SELECT count(*) FROM temp.expected_counts AS words "
        "CROSS JOIN temp.stored_counts AS stored ON stored.term = words.term WHERE stored.doc = words.doc"
    )
    # FTS5 stores a mark without a letter as an empty word, which cannot be found.
    words = "SELECT count(*) FROM temp.expected_counts WHERE term <> ''"
    try:
        is_whole = connection.execute(f"SELECT ({lookups}) = ({words})").fetchone()[0]
    except sqlite3.DatabaseError as error:
        return [f"the word index cannot be read ({error})"]
    return [] if is_whole else ["the word index does not find all words"]


def match_expression(query: str) -> str | None:
    """Return the FTS5 query for any of the words of `query`, in double quotes; None for a query without words."""
    return " OR ".join(_phrases(query, ())) or None


def search(
    connection: sqlite3.Connection, query: str, k: int, condition: tuple[str, list[Any]] | None = None
) -> list[tuple[int, float]]:
    """Return the `k` live documents that match a query best, by BM25 (k1 = 1.2, b = 0.75) as FTS5 computes it.

    A document needs one word of the query, in any inflection that the stemmer of its language removes: other than a
    function word ("of"), unless the query has no others. Of more than 64 words only the rarest 64 count, of the first
    8,192 distinct ones, and the first 256 single characters of scripts without spaces.

    Args:
        connection: to a database with the tables `documents` and `passages_fts`.
        query: any text; none of it is taken as query syntax.
        k: maximum number of documents.
        condition: the return value of `compile_where`, over the columns of `documents`.

    Returns:
        (document number, score), scores above 0, best first, ties to the lower number.
    """
    if k < 1:
        return []
    join, sql, values = _condition(condition)
    collection = _collection(connection)
    stems = _stems(collection.stemmed)
    rows: list[tuple[int, float]] = []
    phrases_of_query = _query_phrases(query, stems)
    # One phrase is searched whatever its frequency.
    counted = len(phrases_of_query) > 1
    frequencies = _frequencies(connection, phrases_of_query) if counted else dict.fromkeys(phrases_of_query, 1)
    for attempt in _attempts(query, stems, collection.texts, frequencies):
        statement = (
            f"SELECT passages_fts.rowid, bm25(passages_fts) AS score FROM passages_fts {join}"  # noqa: S608
            f"WHERE {attempt.condition} {sql}ORDER BY score, passages_fts.rowid LIMIT ?"
        )
        rows = connection.execute(statement, (*attempt.values, *values, k)).fetchall()
        if len(rows) == k:
            break
    return [(number, -score) for number, score in rows]


def statistics(connection: sqlite3.Connection, query: str, languages: Iterable[str]) -> WordStatistics:
    """Return the word statistics of an index for a query that is searched as stems of `languages` too."""
    phrases = _query_phrases(query, _stems(languages))
    return replace(_collection(connection), frequencies=_frequencies(connection, phrases))


def rankings(
    connection: sqlite3.Connection,
    query: str,
    k: int,
    condition: tuple[str, list[Any]] | None,
    collection: WordStatistics,
) -> list[list[tuple[int, float]]]:
    """Return what `search` needs of one shard to rank the documents of a whole collection.

    Args:
        connection: to a database with the tables `documents` and `passages_fts`.
        query: any text.
        k: maximum number of documents.
        condition: see `search`.
        collection: its statistics, with the frequencies of the query as stems of `WordStatistics.stemmed`.

    Returns:
        The rankings of the k best documents, as `search` returns them, that it makes one after the other until one has
        k hits: the first has all that count where the rankings of all shards together have k.
    """
    if k < 1:
        return []
    join, sql, values = _condition(condition)
    stems = _stems(collection.stemmed)
    frequencies = {phrase: collection.frequencies[phrase] for phrase in _query_phrases(query, stems)}
    results = []
    for attempt in _attempts(query, stems, collection.texts, frequencies):
        statement = (
            f"SELECT passages_fts.rowid, sizes.sz FROM passages_fts {join}"  # noqa: S608
            f"CROSS JOIN passages_fts_docsize AS sizes ON sizes.id = passages_fts.rowid WHERE {attempt.condition} {sql}"
            "ORDER BY passages_fts.rowid"
        )
        rows = connection.execute(statement, (*attempt.values, *values)).fetchall()
        numbers = np.array([number for number, _ in rows], dtype=np.int64)
        scores = bm25_scores(connection, attempt.phrases, numbers, text_lengths([size for _, size in rows]), collection)
        best = np.lexsort((numbers, -scores))[:k]
        results.append(list(zip(numbers[best].tolist(), scores[best].tolist(), strict=True)))
        if len(best) == k:
            break
    return results


def _condition(condition: tuple[str, list[Any]] | None) -> tuple[str, str, list[Any]]:
    """Return the join, the condition and the values of a filter."""
    if condition is None:
        return "", "", []
    # CROSS: SQLite must not look each document up in FTS5, which would parse the query every time.
    return "CROSS JOIN documents ON documents.number = passages_fts.rowid ", f"AND {condition[0]} ", condition[1]


def _query_phrases(query: str, stems: Iterable[Stem]) -> list[str]:
    phrases = _phrases(query, stems)[:_MAX_PHRASES]
    left_out = set([phrase for phrase in phrases if phrase.endswith("*")][_MAX_PREFIXES:])
    return [phrase for phrase in phrases if phrase not in left_out]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One of the searches that a query makes until it has enough documents.

    Attributes:
        phrases: searched, in FTS5's syntax.
        condition: that a live document has one of the phrases, and one of a word that is no function word if any is.
        values: those that the condition binds.
    """

    phrases: list[str]
    condition: str
    values: list[str]


def _attempts(query: str, stems: Iterable[Stem], texts: int, frequencies: Mapping[str, int]) -> Iterator[_Attempt]:
    """Yield the searches of a query in a collection of so many texts, by the frequencies of its phrases."""
    telling = frozenset(_phrases_of([word for word in _words(query) if not is_function_word(word)], stems))
    # Tombstones are few, and the catalog has an index of them; checking every document takes a third longer.
    live = "AND passages_fts.rowid NOT IN (SELECT number FROM documents WHERE NOT live)"
    for phrases in _choices(texts, frequencies):
        required = [phrase for phrase in phrases if phrase in telling]
        if telling and not required:
            continue
        # Function words add to scores, and so stay in the query.
        is_restricted = 0 < len(required) < len(phrases)
        # With the plus, the list is no index: SQLite would run the query again for each of its numbers.
        restriction = "AND +passages_fts.rowid IN (SELECT rowid FROM passages_fts WHERE passages_fts MATCH ?) "
        values = [" OR ".join(phrases), *([" OR ".join(required)] if is_restricted else [])]
        yield _Attempt(phrases, f"passages_fts MATCH ? {restriction if is_restricted else ''}{live}", values)


def count(connection: sqlite3.Connection, word: str) -> tuple[int, int]:
    """Return the number of texts, tombstones included, and of those that have a word in any inflection."""
    collection = _collection(connection)
    statement = "SELECT count(*) FROM passages_fts WHERE passages_fts MATCH ?"
    stems = _stems(collection.stemmed)
    # Every word of a compound, each in one of its forms.
    forms = [f"({' OR '.join(_phrases(single, stems))})" for single in _words(word)]
    matching = connection.execute(statement, (" AND ".join(forms),)).fetchone()[0] if forms else 0
    return collection.texts, matching


def _frequencies(connection: sqlite3.Connection, phrases: Iterable[str]) -> dict[str, int]:
    """Return the number of texts, tombstones included, that have each phrase."""
    statement = "SELECT count(*) FROM passages_fts WHERE passages_fts MATCH ?"
    return {phrase: int(connection.execute(statement, (phrase,)).fetchone()[0]) for phrase in phrases}


def _choices(texts: int, frequencies: Mapping[str, int]) -> list[list[str]]:
    """Return the phrases to search, then those to search instead where they match too few documents.

    A word in half the texts or more has no weight in BM25 (FTS5 gives it a millionth), and takes most of the time.
    Without such words the first hits are the same; with them come the texts that contain no others.
    """
    occurring = sorted(
        (phrase for phrase in frequencies if frequencies[phrase]), key=lambda phrase: frequencies[phrase]
    )
    occurring = occurring[:_MAX_WORDS]
    distinctive = [phrase for phrase in occurring if 2 * frequencies[phrase] < texts]
    if distinctive and distinctive != occurring:
        return [distinctive, occurring]
    return [occurring] if occurring else []


def _words(query: str) -> list[str]:
    """Return the words of a query, analyzed."""
    return "".join(character if _is_token(character) else " " for character in analyze(query)).split()


def _phrases(query: str, stems: Iterable[Stem]) -> list[str]:
    """Return the distinct words of a query as FTS5 phrases."""
    return _phrases_of(_words(query), stems)


def _phrases_of(words: Sequence[str], stems: Iterable[Stem]) -> list[str]:
    """Return distinct words as FTS5 phrases: as they are written, and stemmed."""
    forms = [*words, *(stem(word) for stem in stems for word in words)]
    # A single character must match the pairs that it begins: a prefix does. A run's last character is stored alone too.
    return list(dict.fromkeys(f'"{word}"*' if _UNIT.fullmatch(word) else f'"{word}"' for word in forms if word))


def _is_token(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LMN" or category == "Co"


class _Analyzer:
    """Texts as FTS5 stores them, each stemmed in its language; for one thread."""

    def __init__(self) -> None:
        self._stems: dict[str, Stem | None] = {}

    def __call__(self, text: str, language: str | None) -> str:
        analyzed = _analyzed(text, closing=True)
        if language is None:
            return analyzed
        if language not in self._stems:
            self._stems[language] = _marked_stemmer(language)
        stem = self._stems[language]
        return analyzed if stem is None else " ".join((analyzed, *map(stem, _word().findall(analyzed))))


@cache
def _word() -> re.Pattern[str]:
    """Return the pattern of what FTS5 takes for a word: letters and digits with their marks."""
    marks = "".join(chr(code) for code in range(0x300, 0xFFFF) if unicodedata.category(chr(code)).startswith("M"))
    return re.compile(f"(?:[^\\W_]|[{marks}])+")


def _analyzed(text: str, *, closing: bool) -> str:
    """Analyze `text`; with `closing`, also add the last character of every longer run alone."""
    text = nfkc(text).casefold()
    if text.isascii():
        return text

    def pairs(run: re.Match[str]) -> str:
        units = _UNIT.findall(run[0])
        tokens = [first + second for first, second in pairwise(units)]
        if units and (closing or not tokens):
            tokens.append(units[-1])
        return f" {' '.join(tokens)} "

    return _RUN.sub(pairs, _INVISIBLE.sub("", text))
