"""Examples that must not be trained on, taken out: texts of evaluation collections, near-duplicates, empty ones.

Texts are compared as lower-case words, without punctuation. What was dropped, and why, is counted for every source.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from serotine.errors import TrainingError
from serotine.evaluation.beir import all_texts
from serotine.progress import Advance
from serotine.training.examples import Example
from serotine.training.recipe import Cleaning

_WORD = re.compile(r"\w+")
# Word n-grams that two texts share are an overlap; a shorter text counts whole, from so many words on.
_NGRAM = 8
_LEAST_WHOLE = 4
_SHINGLE = 3
_PERMUTATIONS = 64
_MISSED = 0.01
_MULTIPLIER = 0x9E3779B97F4A7C15
_KEPT_EXAMPLES = 3


@dataclass(slots=True)
class Dropped:
    """What became of one source.

    Attributes:
        read: examples before.
        kept: examples after.
        reasons: how many went for which reason.
        examples: a few of those that went, (reason, query).
    """

    read: int = 0
    kept: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    examples: list[tuple[str, str]] = field(default_factory=list)

    def drop(self, reason: str, example: Example) -> None:
        """Counts one that went."""
        self.count(reason)
        if self.reasons[reason] <= _KEPT_EXAMPLES:
            self.examples.append((reason, example.query[:200]))

    def count(self, reason: str) -> None:
        """Counts a text that went alone."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


def words(text: str) -> list[str]:
    """A text's words, as texts are compared here; of scripts without spaces, its characters."""
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return [piece for word in found for piece in (word if ord(word[0]) >= 0x2E80 else (word,))]


class EvaluationTexts:
    """The texts of evaluation collections, to be recognised in others.

    Args:
        folders: BEIR folders; all documents and all questions, whether judged or not.
        overlap: the share of 8-grams that makes a text known.

    Raises:
        InputFileError: a folder is not what it should be.
    """

    def __init__(self, folders: Iterable[Path], overlap: float) -> None:
        self._overlap = overlap
        self._whole: set[int] = set()
        self._short: dict[int, set[int]] = {}
        self._sizes: list[int] = []
        grams: list[NDArray[np.uint64]] = []
        owners: list[NDArray[np.int32]] = []
        for folder in folders:
            for text in all_texts(folder):
                found = words(text)
                self._whole.add(_hash(found))
                if _LEAST_WHOLE <= len(found) < _NGRAM:
                    self._short.setdefault(len(found), set()).add(int(_grams(found, len(found))[0]))
                hashes = np.unique(_grams(found, _NGRAM))
                grams.append(hashes)
                owners.append(np.full(len(hashes), len(self._sizes), dtype=np.int32))
                self._sizes.append(len(hashes))
        every = np.concatenate(grams) if grams else np.empty(0, dtype=np.uint64)
        order = np.argsort(every, kind="stable")
        self._grams = every[order]
        self._owners = (np.concatenate(owners) if owners else np.empty(0, dtype=np.int32))[order]

    def found_in(self, text: str) -> bool:
        """Whether a text is one of the collections', holds one, or shares too much with one."""
        found = words(text)
        if _hash(found) in self._whole:
            return True
        if any(not known.isdisjoint(map(int, _grams(found, size))) for size, known in self._short.items()):
            return True
        grams = np.unique(_grams(found, _NGRAM))
        first = np.searchsorted(self._grams, grams, side="left")
        last = np.searchsorted(self._grams, grams, side="right")
        hits = int((last > first).sum())
        if hits == 0:
            return False
        if hits >= self._overlap * len(grams):
            return True
        held = Counter(int(owner) for a, b in zip(first, last, strict=True) if b > a for owner in self._owners[a:b])
        return any(count >= self._overlap * self._sizes[owner] for owner, count in held.items())


def _bands(threshold: float) -> tuple[int, int]:
    """Bands, and signature numbers in each: the longest that miss at most one pair in a hundred at the threshold.

    Candidates are texts that are equal in a whole band.
    """
    rows = [
        rows for rows in range(1, _PERMUTATIONS // 2 + 1) if (1 - threshold**rows) ** (_PERMUTATIONS // rows) <= _MISSED
    ]
    longest = max(rows, default=1)
    return _PERMUTATIONS // longest, longest


class NearDuplicates:
    """Texts seen before, by MinHash (Broder 1997).

    Args:
        threshold: the Jaccard similarity of word 3-grams from which two texts are the same; 1: equal words only.
    """

    def __init__(self, threshold: float) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError:
            raise TrainingError("cleaning needs datasketch; run: pip install 'serotine[train]'") from None
        self._minhash = MinHash
        self._seen: set[int] = set()
        self._lsh = MinHashLSH(num_perm=_PERMUTATIONS, params=_bands(threshold)) if threshold < 1 else None
        self._threshold = threshold
        self._signatures: dict[int, object] = {}

    def seen(self, text: str) -> bool:
        """Whether this text, or one like it, came before; remembers it where not."""
        found = words(text)
        key = _hash(found)
        if key in self._seen:
            return True
        if self._lsh is not None and len(found) >= _SHINGLE:
            signature = self._minhash(num_perm=_PERMUTATIONS, hashfunc=int)
            signature.update_batch(np.unique(_grams(found, _SHINGLE) >> np.uint64(32)).tolist())
            # The index offers candidates; the signatures decide.
            if any(self._similar(signature, other) for other in self._lsh.query(signature)):
                return True
            self._lsh.insert(key, signature)
            self._signatures[key] = signature
        self._seen.add(key)
        return False

    def _similar(self, signature: object, other: int) -> bool:
        similarity: float = signature.jaccard(self._signatures[other])  # type: ignore[attr-defined]
        return similarity >= self._threshold


def clean(
    sources: dict[str, list[Example]], rules: Cleaning, advance: Advance
) -> tuple[dict[str, list[Example]], dict[str, Dropped]]:
    """Takes out what the rules say, source by source, in their order.

    The first of two duplicates stays, if both are pairs, both have negatives, or both have scores.
    A negative that is an evaluation text, or its own positive, goes alone; the example stays.

    Args:
        sources: examples by source.
        rules: what goes.
        advance: is told of every example looked at.

    Returns:
        The examples left, and what became of each source.

    Raises:
        InputFileError: an evaluation folder is not what it should be.
        TrainingError: a source has nothing left.
    """
    evaluation = EvaluationTexts(rules.evaluation, rules.overlap)
    # What was mined from pairs has their texts again, and is another example: like is compared with like.
    near = {shape: NearDuplicates(rules.near_duplicates) for shape in itertools.product((False, True), repeat=2)}
    judged = cache(evaluation.found_in)

    kept: dict[str, list[Example]] = {}
    report: dict[str, Dropped] = {}
    for name, examples in sources.items():
        told = report[name] = Dropped(read=len(examples))
        kept[name] = []
        for example in examples:
            advance(1)
            positive = example.documents[0]
            if not words(example.query):
                told.drop("no words in the query", example)
            elif len(words(positive)) < rules.least_words:
                told.drop(f"fewer than {rules.least_words} words in the positive", example)
            elif judged(example.query):
                told.drop("query overlaps an evaluation collection", example)
            elif judged(positive):
                told.drop("positive overlaps an evaluation collection", example)
            elif near[len(example.documents) > 1, example.scores is not None].seen(f"{example.query}\n{positive}"):
                told.drop("near-duplicate", example)
            else:
                kept[name].append(_without_known(example, judged, told))
        told.kept = len(kept[name])
        if not kept[name]:
            raise TrainingError(f"source {name!r}: nothing is left of its {told.read:,} examples ({_first(told)})")
    return kept, report


def _without_known(example: Example, judged: Callable[[str], bool], told: Dropped) -> Example:
    same = words(example.documents[0])
    wanted = [0]
    for place, text in enumerate(example.documents[1:], start=1):
        if judged(text):
            told.count("negative alone: overlaps an evaluation collection")
        elif words(text) == same:
            told.count("negative alone: is the positive")
        else:
            wanted.append(place)
    if len(wanted) == len(example.documents):
        return example
    scores = None if example.scores is None else tuple(example.scores[i] for i in wanted)
    return Example(example.query, tuple(example.documents[i] for i in wanted), scores)


def _first(told: Dropped) -> str:
    return ", ".join(f"{reason}: {count:,}" for reason, count in told.reasons.items())


@cache
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def _hash(found: list[str]) -> int:
    return int.from_bytes(hashlib.blake2b(" ".join(found).encode(), digest_size=8).digest(), "little")


def _grams(found: list[str], size: int) -> NDArray[np.uint64]:
    """One hash for every `size` words in a row."""
    if len(found) < size:
        return np.empty(0, dtype=np.uint64)
    hashes = np.fromiter(map(_word_hash, found), dtype=np.uint64, count=len(found))
    # A polynomial modulo 2^64, whose multiplier is odd: no word's place is lost.
    powers = np.array([pow(_MULTIPLIER, i, 2**64) for i in range(size)], dtype=np.uint64)
    grams: NDArray[np.uint64] = (sliding_window_view(hashes, size) * powers).sum(axis=1, dtype=np.uint64)
    return grams
