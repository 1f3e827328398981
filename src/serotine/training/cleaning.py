"""Decontamination and deduplication: removes texts of evaluation collections, near-duplicates and empty examples.

Texts are compared as lower-case words without punctuation. What was removed, and why, is counted per source.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from serotine.errors import TrainingError, missing_extra
from serotine.evaluation import beir_texts
from serotine.normalization import nfkc
from serotine.progress import Advance
from serotine.training.examples import Example
from serotine.training.recipe import Cleaning

_WORD = re.compile(r"\w+")
# Word n-grams by which texts overlap; a shorter evaluation text is compared whole, from this many words on.
_NGRAM = 8
_MIN_WHOLE = 4
_SHINGLE = 3
_PERMUTATIONS = 64
_MISS_RATE = 0.01
_MULTIPLIER = 0x9E3779B97F4A7C15
_SAMPLES_PER_REASON = 3


@dataclass(slots=True)
class SourceReport:
    """What cleaning removed from one source.

    Attributes:
        total: number of examples before.
        remaining: number of examples after.
        dropped: number of examples, and of single negatives, by reason.
        samples: a few of the examples dropped, (reason, query).
    """

    total: int = 0
    remaining: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    samples: list[tuple[str, str]] = field(default_factory=list)

    def drop(self, reason: str, example: Example) -> None:
        """Count a dropped example."""
        self.count(reason)
        if self.dropped[reason] <= _SAMPLES_PER_REASON:
            self.samples.append((reason, example.query[:200]))

    def count(self, reason: str) -> None:
        """Count a dropped negative."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


def words(text: str) -> list[str]:
    """Return a text's words, case folded; of scripts without spaces, its characters."""
    matches = _WORD.findall(nfkc(text).casefold())
    return [piece for word in matches for piece in (word if ord(word[0]) >= 0x2E80 else (word,))]


class EvaluationTexts:
    """The texts of evaluation collections, to be detected in other texts.

    Args:
        folders: BEIR folders; all their documents and queries count, whether judged or not.
        overlap_threshold: share of 8-grams from which two texts overlap.

    Raises:
        InputFileError: a folder is not a valid BEIR folder.
    """

    def __init__(self, folders: Iterable[Path], overlap_threshold: float) -> None:
        self._overlap_threshold = overlap_threshold
        self._whole: set[int] = set()
        self._short: dict[int, set[int]] = {}
        self._sizes: list[int] = []
        grams: list[NDArray[np.uint64]] = []
        owners: list[NDArray[np.int32]] = []
        for folder in folders:
            for text in beir_texts(folder):
                text_words = words(text)
                self._whole.add(_hash(text_words))
                if _MIN_WHOLE <= len(text_words) < _NGRAM:
                    gram = int(_grams(text_words, len(text_words))[0])
                    self._short.setdefault(len(text_words), set()).add(gram)
                hashes = np.unique(_grams(text_words, _NGRAM))
                grams.append(hashes)
                owners.append(np.full(len(hashes), len(self._sizes), dtype=np.int32))
                self._sizes.append(len(hashes))
        all_grams = np.concatenate(grams) if grams else np.empty(0, dtype=np.uint64)
        order = np.argsort(all_grams, kind="stable")
        self._grams = all_grams[order]
        self._owners = (np.concatenate(owners) if owners else np.empty(0, dtype=np.int32))[order]

    def overlaps(self, text: str) -> bool:
        """Return whether a text equals, contains, or shares too many n-grams with an evaluation text."""
        text_words = words(text)
        if _hash(text_words) in self._whole:
            return True
        if any(not short.isdisjoint(map(int, _grams(text_words, size))) for size, short in self._short.items()):
            return True
        grams = np.unique(_grams(text_words, _NGRAM))
        first = np.searchsorted(self._grams, grams, side="left")
        last = np.searchsorted(self._grams, grams, side="right")
        shared = int((last > first).sum())
        if shared == 0:
            return False
        if shared >= self._overlap_threshold * len(grams):
            return True
        by_owner = Counter(int(owner) for a, b in zip(first, last, strict=True) if b > a for owner in self._owners[a:b])
        return any(count >= self._overlap_threshold * self._sizes[owner] for owner, count in by_owner.items())


def _bands(threshold: float) -> tuple[int, int]:
    """Return the number of MinHash bands and of rows per band.

    Candidates are pairs that agree in a whole band: the most rows that miss at most 1% of pairs at the threshold.
    """
    rows = max(
        (
            rows
            for rows in range(1, _PERMUTATIONS // 2 + 1)
            if (1 - threshold**rows) ** (_PERMUTATIONS // rows) <= _MISS_RATE
        ),
        default=1,
    )
    return _PERMUTATIONS // rows, rows


class NearDuplicates:
    """Detection of near-duplicates by MinHash (Broder 1997).

    Args:
        threshold: Jaccard similarity of word 3-grams from which two texts are duplicates; 1: equal words only.

    Raises:
        TrainingError: datasketch is not installed.
    """

    def __init__(self, threshold: float) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError:
            raise TrainingError(missing_extra("cleaning", "train")) from None
        self._minhash = MinHash
        self._hashes: set[int] = set()
        self._lsh = MinHashLSH(num_perm=_PERMUTATIONS, params=_bands(threshold)) if threshold < 1 else None
        self._threshold = threshold
        self._signatures: dict[int, object] = {}

    def check_and_add(self, text: str) -> bool:
        """Return whether this text or a similar one was added before, and add it if not."""
        text_words = words(text)
        key = _hash(text_words)
        if key in self._hashes:
            return True
        if self._lsh is not None and len(text_words) >= _SHINGLE:
            signature = self._minhash(num_perm=_PERMUTATIONS, hashfunc=int)
            signature.update_batch(np.unique(_grams(text_words, _SHINGLE) >> np.uint64(32)).tolist())
            # The index returns candidates; the signatures decide.
            if any(self._is_similar(signature, candidate) for candidate in self._lsh.query(signature)):
                return True
            self._lsh.insert(key, signature)
            self._signatures[key] = signature
        self._hashes.add(key)
        return False

    def _is_similar(self, signature: object, candidate: int) -> bool:
        similarity: float = signature.jaccard(self._signatures[candidate])  # type: ignore[attr-defined]
        return similarity >= self._threshold


def clean(
    sources: dict[str, list[Example]], rules: Cleaning, advance: Advance
) -> tuple[dict[str, list[Example]], dict[str, SourceReport]]:
    """Remove examples that the rules exclude, source by source, in order.

    Of two duplicates the first remains, if both are pairs, both have negatives, or both have scores. A negative that is
    an evaluation text, or equals its positive, is dropped alone; its example remains.

    Args:
        sources: examples by source.
        rules: what to remove.
        advance: called with 1 for every example.

    Returns:
        The remaining examples, and a report, by source.

    Raises:
        InputFileError: an evaluation folder is not a valid BEIR folder.
        TrainingError: a source has no examples left.
    """
    overlaps = cache(EvaluationTexts(rules.evaluation_folders, rules.overlap_threshold).overlaps)
    # Examples mined from pairs repeat their texts: duplicates are detected among examples of one shape.
    duplicates = {
        shape: NearDuplicates(rules.duplicate_threshold) for shape in itertools.product((False, True), repeat=2)
    }
    remaining: dict[str, list[Example]] = {}
    reports: dict[str, SourceReport] = {}
    for name, examples in sources.items():
        report = reports[name] = SourceReport(total=len(examples))
        remaining[name] = []
        for example in examples:
            advance(1)
            positive = example.documents[0]
            shape = len(example.documents) > 1, example.scores is not None
            if not words(example.query):
                report.drop("no words in the query", example)
            elif len(words(positive)) < rules.min_words:
                report.drop(f"fewer than {rules.min_words} words in the positive", example)
            elif overlaps(example.query) or overlaps(example.read_by_teacher.query):
                report.drop("query overlaps an evaluation collection", example)
            elif overlaps(positive) or overlaps(example.read_by_teacher.documents[0]):
                report.drop("positive overlaps an evaluation collection", example)
            elif duplicates[shape].check_and_add(f"{example.query}\n{positive}"):
                report.drop("near-duplicate", example)
            else:
                remaining[name].append(_clean_negatives(example, overlaps, report))
        report.remaining = len(remaining[name])
        if not remaining[name]:
            reasons = ", ".join(f"{reason}: {count:,}" for reason, count in report.dropped.items())
            raise TrainingError(f"source {name!r}: cleaning removed all {report.total:,} examples ({reasons})")
    return remaining, reports


def _clean_negatives(example: Example, overlaps: Callable[[str], bool], report: SourceReport) -> Example:
    positive = words(example.documents[0])
    positions = [0]
    for position, text in enumerate(example.documents[1:], start=1):
        if overlaps(text) or overlaps(example.read_by_teacher.documents[position]):
            report.count("negative only: overlaps an evaluation collection")
        elif words(text) == positive:
            report.count("negative only: equals the positive")
        else:
            positions.append(position)
    return example if len(positions) == len(example.documents) else example.with_documents(positions)


@cache
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def _hash(text_words: list[str]) -> int:
    return int.from_bytes(hashlib.blake2b(" ".join(text_words).encode(), digest_size=8).digest(), "little")


def _grams(text_words: list[str], size: int) -> NDArray[np.uint64]:
    """Return one hash per `size` consecutive words."""
    if len(text_words) < size:
        return np.empty(0, dtype=np.uint64)
    hashes = np.fromiter(map(_word_hash, text_words), dtype=np.uint64, count=len(text_words))
    # A polynomial modulo 2^64 with an odd multiplier: the hash depends on the order of the words.
    powers = np.array([pow(_MULTIPLIER, i, 2**64) for i in range(size)], dtype=np.uint64)
    grams: NDArray[np.uint64] = (sliding_window_view(hashes, size) * powers).sum(axis=1, dtype=np.uint64)
    return grams
