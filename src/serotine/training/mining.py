"""Hard negatives: passages that an index returns for a query and that are not its answer.

Pairs become n-tuples or, with a teacher, scored lists for distillation.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from serotine.errors import TrainingError
from serotine.index import Index
from serotine.progress import progress_bar
from serotine.training.cleaning import words
from serotine.training.examples import Example, write_examples
from serotine.training.lexical import LexicalScorer
from serotine.training.teachers import LateInteractionTeacher, Teacher

# Queries searched and scored at once: bounds the vectors in memory.
_CHUNK = 256
_ADD_SIZE = 2000


@dataclass(frozen=True, slots=True)
class MiningOptions:
    """How negatives are chosen.

    Attributes:
        negatives: number per example.
        depth: passages considered per query.
        ratio: a passage with this share of the positive's score, or more, may be an answer and is dropped.
        mode: how the index is searched: "late", "bm25" or "hybrid", as in `Index.search`.
        scored: write the encoder's own scores if there is no teacher.
        bm25_weight: share of BM25 in the scores written, the teacher's being the rest; both are first scaled to 0..1
            per example. The teacher's alone decide which passages are dropped.
    """

    negatives: int = 7
    depth: int = 50
    ratio: float = 0.95
    mode: Literal["late", "bm25", "hybrid"] = "late"
    scored: bool = False
    bm25_weight: float = 0.0


@dataclass(frozen=True, slots=True)
class MiningReport:
    """The outcome of mining.

    Attributes:
        examples: number of examples read.
        written: number of examples written, each with all its negatives.
        passages: number of distinct passages that negatives were chosen from.
        dropped: number of passages and of examples dropped, by reason.
    """

    examples: int
    written: int
    passages: int
    dropped: dict[str, int]


def mine(
    examples: Sequence[Example],
    file: Path,
    *,
    encoder: Any,
    teacher: Teacher | None = None,
    options: MiningOptions | None = None,
    index_folder: Path | None = None,
    show_progress: bool = False,
) -> MiningReport:
    """Write examples with hard negatives from among the documents of all examples.

    Args:
        examples: queries with positives; negatives they have serve as passages only.
        file: the .jsonl file to write, atomically.
        encoder: searches the passages, and scores them if there is no teacher; any that `Index` takes.
        teacher: its scores decide the ratio, and are written.
        options: how negatives are chosen.
        index_folder: where to build the index; one of the same passages is reused. None: a temporary folder.
        show_progress: draw bars on standard error.

    Raises:
        TrainingError: no example gets enough negatives, or the index holds other passages.
    """
    options = options or MiningOptions()
    passages = list(dict.fromkeys(text for example in examples for text in example.documents))
    scored = options.scored or teacher is not None
    # Before the index: it raises if BM25's libraries are not installed.
    lexical = LexicalScorer(passages) if scored and options.bm25_weight else None
    mined: list[Example] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = index_folder or Path(temporary) / "index"
        with (
            _build_index(folder, passages, encoder, show_progress=show_progress) as index,
            progress_bar(len(examples), "Mining", enabled=show_progress) as advance,
        ):
            miner = _Miner(index, examples, encoder, teacher, lexical, options)
            for start in range(0, len(examples), _CHUNK):
                chunk = examples[start : start + _CHUNK]
                mined += miner.mine(chunk)
                advance(len(chunk))
    if not mined:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in miner.dropped.most_common())
        raise TrainingError(
            f"no example has {options.negatives} negatives ({reasons}); "
            "add passages, raise the depth or lower the number of negatives"
        )
    write_examples(mined, file)
    return MiningReport(len(examples), len(mined), len(passages), dict(miner.dropped))


def _answers(examples: Sequence[Example]) -> dict[str, set[str]]:
    """Return the normalized positives of every normalized query."""
    answers: dict[str, set[str]] = {}
    for example in examples:
        answers.setdefault(_normalized(example.query), set()).add(_normalized(example.documents[0]))
    return answers


def _build_index(folder: Path, passages: list[str], encoder: Any, *, show_progress: bool) -> Index:
    index = Index.open_or_create(folder, encoder=encoder)
    # Ids are hashes of the texts, so an index of other passages is detected, and an interrupted one completed.
    ids = [_id(text) for text in passages]
    index.add_batches(
        (
            {"ids": ids[start : start + _ADD_SIZE], "texts": passages[start : start + _ADD_SIZE]}
            for start in range(0, len(passages), _ADD_SIZE)
        ),
        expected_documents=len(passages),
        show_progress=show_progress,
        long_texts="truncate",
    )
    if len(index) != len(passages):
        index.close()
        raise TrainingError(f"{folder}: holds an index of other passages; delete it or choose another folder")
    return index


class _Miner:
    """Chooses the negatives of examples, and counts in `dropped` what it drops, by reason."""

    def __init__(
        self,
        index: Index,
        examples: Sequence[Example],
        encoder: Any,
        teacher: Teacher | None,
        lexical: LexicalScorer | None,
        options: MiningOptions,
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self._index = index
        self._options = options
        self._answers = _answers(examples)
        self._search_scores = _SearchScores(encoder) if teacher is None and options.mode == "late" else None
        self._teacher = teacher or self._search_scores or LateInteractionTeacher(encoder)
        self._scored = options.scored or teacher is not None
        self._lexical = lexical

    def mine(self, examples: Sequence[Example]) -> list[Example]:
        """Return the examples that get all their negatives."""
        queries = [example.query for example in examples]
        candidates = self._candidates(examples)
        scores = self._teacher.score(queries, candidates)
        mined = [
            self._choose(example, texts, values)
            for example, texts, values in zip(examples, candidates, scores, strict=True)
        ]
        return [example for example in mined if example is not None]

    def _candidates(self, examples: Sequence[Example]) -> list[list[str]]:
        """Return, per example, the positive and the passages found, without other answers to the same query."""
        queries = [example.query for example in examples]
        results = self._index.search_batch(queries, k=self._options.depth, mode=self._options.mode)
        if self._search_scores is not None:
            self._search_scores.scores = {
                (query, hit.text or ""): hit.score for query, hits in zip(queries, results, strict=True) for hit in hits
            }
        candidates: list[list[str]] = []
        for example, hits in zip(examples, results, strict=True):
            answers = self._answers[_normalized(example.query)]
            texts = [hit.text or "" for hit in hits]
            negatives = [text for text in texts if _normalized(text) not in answers]
            self._count("passage: an answer to the same query", len(texts) - len(negatives))
            candidates.append([example.documents[0], *negatives])
        return candidates

    def _choose(self, example: Example, texts: list[str], scores: list[float]) -> Example | None:
        options = self._options
        # Below 0, a share of the score would be no upper bound: the distance counts.
        bound = scores[0] - (1 - options.ratio) * abs(scores[0])
        negatives = [i for i in range(1, len(texts)) if scores[i] < bound]
        reason = f"passage: scores at least {options.ratio:g} of the positive"
        self._count(reason, len(texts) - 1 - len(negatives))
        if len(negatives) < options.negatives:
            self._count("example: too few negatives", 1)
            return None
        positions = [0, *negatives[: options.negatives]]
        documents = tuple(texts[i] for i in positions)
        if not self._scored:
            return Example(example.query, documents)
        targets = [scores[i] for i in positions]
        if self._lexical is not None:
            bm25 = _min_max_scaled(self._lexical.scores(example.query, documents).tolist())
            weight = options.bm25_weight
            targets = [
                (1 - weight) * score + weight * lexical
                for score, lexical in zip(_min_max_scaled(targets), bm25, strict=True)
            ]
        return Example(example.query, documents, tuple(targets))

    def _count(self, reason: str, count: int) -> None:
        if count:
            self.dropped[reason] += count


class _SearchScores:
    """A teacher with the scores of the last search; other pairs are encoded and scored."""

    def __init__(self, encoder: Any) -> None:
        self._teacher = LateInteractionTeacher(encoder)
        self.scores: dict[tuple[str, str], float] = {}

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[list[float]]:
        pairs = list(zip(queries, documents, strict=True))
        missing = [(query, [text for text in texts if (query, text) not in self.scores]) for query, texts in pairs]
        missing = [(query, texts) for query, texts in missing if texts]
        computed = self._teacher.score([query for query, _ in missing], [texts for _, texts in missing])
        for (query, texts), scores in zip(missing, computed, strict=True):
            self.scores |= {(query, text): score for text, score in zip(texts, scores, strict=True)}
        return [[self.scores[query, text] for text in texts] for query, texts in pairs]


def _min_max_scaled(values: list[float]) -> list[float]:
    least, most = min(values), max(values)
    return [(value - least) / (most - least) if most > least else 0.0 for value in values]


def _id(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _normalized(text: str) -> str:
    return " ".join(words(text))
