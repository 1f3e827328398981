"""Word statistics of a collection: what BM25 needs to know of it, for one index or for shards that are one collection.

FTS5 computes BM25 from the statistics of its own table. Where a table holds one shard of a collection, a word would
weigh more in a shard that has it in few texts; `bm25_scores` scores the texts of a table by given statistics instead,
to the bit as FTS5 would in one table of the whole collection.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# FTS5's constants.
_K1, _B = 1.2, 0.75
_LEAST_IDF = 1e-6
# Of the texts, for a language's stems to be searched.
_MIN_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class WordStatistics:
    """Word statistics of a collection, for one query.

    Attributes:
        texts: number of texts, those of tombstones included.
        tokens: number of their words, stems of other languages than English included.
        languages: number of texts by the language they were stemmed in, other than English.
        frequencies: number of texts by FTS5 phrase of the query.
    """

    texts: int = 0
    tokens: int = 0
    languages: Mapping[str, int] = field(default_factory=dict)
    frequencies: Mapping[str, int] = field(default_factory=dict)

    @property
    def stemmed(self) -> list[str]:
        """The languages that enough texts are stemmed in for queries to be searched as stems of theirs."""
        return sorted(name for name, texts in self.languages.items() if texts > 0 and texts >= _MIN_SHARE * self.texts)


def merged_statistics(shards: Sequence[WordStatistics]) -> WordStatistics:
    """Return the statistics of the collection that shards make up.

    >>> merged_statistics([WordStatistics(2, 9, {}, {'"bat"': 1}), WordStatistics(1, 4, {"de": 1}, {'"bat"': 1})])
    WordStatistics(texts=3, tokens=13, languages={'de': 1}, frequencies={'"bat"': 2})
    """
    languages: Counter[str] = Counter()
    frequencies: Counter[str] = Counter()
    for shard in shards:
        languages.update(shard.languages)
        frequencies.update(shard.frequencies)
    texts, tokens = sum(shard.texts for shard in shards), sum(shard.tokens for shard in shards)
    return WordStatistics(texts, tokens, dict(languages), dict(frequencies))


def collection_statistics(connection: sqlite3.Connection, *, with_languages: bool) -> WordStatistics:
    """Return the statistics of an index without frequencies, from what FTS5 and the catalog count."""
    row = connection.execute("SELECT block FROM passages_fts_data WHERE id = 1").fetchone()
    # Empty before the first text.
    texts, tokens = [*_varints(row[0] if row else b""), 0, 0][:2]
    languages: dict[str, int] = {}
    if with_languages:
        languages = dict(connection.execute("SELECT language, texts FROM lexical_language_counts WHERE texts > 0"))
    return WordStatistics(texts, tokens, languages)


def bm25_scores(
    connection: sqlite3.Connection,
    phrases: Sequence[str],
    numbers: NDArray[np.int64],
    lengths: NDArray[np.int64],
    statistics: WordStatistics,
) -> NDArray[np.float64]:
    """Return the BM25 scores of texts by the statistics of a collection, higher is better.

    Args:
        connection: to the table `passages_fts`.
        phrases: of the query.
        numbers: document numbers, ascending.
        lengths: number of words of each.
        statistics: of the collection.
    """
    own = collection_statistics(connection, with_languages=False)
    scores = np.zeros(numbers.size)
    average = statistics.tokens / statistics.texts
    for phrase in phrases:
        frequencies = _frequencies(connection, phrase, numbers, lengths, own)
        idf = _idf(statistics.texts, statistics.frequencies[phrase])
        # In FTS5's order of operations, so that rounding is the same.
        scores += idf * ((frequencies * (_K1 + 1.0)) / (frequencies + _K1 * (1 - _B + _B * lengths / average)))
    return scores


def text_lengths(sizes: Sequence[bytes]) -> NDArray[np.int64]:
    """Return the numbers of words that FTS5 stores in its table of sizes."""
    return np.fromiter((size[0] if len(size) == 1 else next(_varints(size)) for size in sizes), np.int64, len(sizes))


def _frequencies(
    connection: sqlite3.Connection,
    phrase: str,
    numbers: NDArray[np.int64],
    lengths: NDArray[np.int64],
    own: WordStatistics,
) -> NDArray[np.float64]:
    """Return how often a phrase occurs in each text.

    SQL cannot ask FTS5 for it, but for the score by this phrase alone: idf * f (k1 + 1) / (f + c) with a known c, which
    gives f back. Rounded to an integer it is exact: double precision suffices up to ten million occurrences.
    """
    statement = "SELECT passages_fts.rowid, bm25(passages_fts) FROM passages_fts WHERE passages_fts MATCH ?"
    rows = connection.execute(statement, (phrase,)).fetchall()
    frequencies = np.zeros(numbers.size)
    if not rows or not numbers.size:
        return frequencies
    matching = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    positions = np.minimum(np.searchsorted(numbers, matching), numbers.size - 1)
    is_listed = numbers[positions] == matching
    positions = positions[is_listed]
    saturated = -np.fromiter((row[1] for row in rows), np.float64, len(rows))[is_listed] / _idf(own.texts, len(rows))
    c = _K1 * (1 - _B + _B * lengths[positions] / (own.tokens / own.texts))
    frequencies[positions] = np.rint(saturated * c / (_K1 + 1.0 - saturated))
    return frequencies


def _idf(texts: int, frequency: int) -> float:
    idf = math.log((texts - frequency + 0.5) / (frequency + 0.5))
    return idf if idf > 0 else _LEAST_IDF


def _varints(data: bytes) -> Iterator[int]:
    """Yield SQLite's integers of variable length: seven bits a byte, the highest first; the ninth byte has eight."""
    value = length = 0
    for byte in data:
        length += 1
        if length == 9:
            yield (value << 8) | byte
        elif byte < 0x80:
            yield (value << 7) | byte
        else:
            value = (value << 7) | (byte & 0x7F)
            continue
        value = length = 0
