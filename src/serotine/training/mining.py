"""Hard negatives: passages that an index finds for a question and that are not its answer.

Questions and positives without negatives become n-tuples, or, with a teacher, scored lists to distil from.
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
from serotine.training.teachers import LateTeacher, Teacher

# Questions looked up, and scored, at once: bounds the vectors held.
_CHUNK = 256
# BM25 is looked up so many times as deep as negatives are.
_FURTHER = 8


@dataclass(frozen=True, slots=True)
class Mining:
    """How negatives are chosen.

    Attributes:
        negatives: how many an example gets.
        depth: passages looked at for each question.
        ratio: a passage that scores this share of the positive's score, or more, may well be an answer, and goes.
        mode: what finds them: "late", "bm25" or "hybrid", as `Index.search` knows them.
        scored: write scores without a teacher too: the encoder's own.
        lexical: share of BM25 in the scores that are written; the teacher has the rest. Both are first scaled to 0..1
            among an example's documents. What goes is decided by the teacher alone.
    """

    negatives: int = 7
    depth: int = 50
    ratio: float = 0.95
    mode: Literal["late", "bm25", "hybrid"] = "late"
    scored: bool = False
    lexical: float = 0.0


@dataclass(frozen=True, slots=True)
class MiningReport:
    """What mining came to.

    Attributes:
        examples: read.
        written: with all their negatives.
        passages: different ones, from which negatives were taken.
        dropped: passages found and not taken, by reason; and examples, by reason.
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
    rules: Mining | None = None,
    scratch: Path | None = None,
    show_progress: bool = False,
) -> MiningReport:
    """Writes every example with hard negatives from among all examples' documents.

    Args:
        examples: what to find negatives for; negatives they have already count as passages only.
        file: where to: .jsonl; whole or not at all.
        encoder: finds the passages, and scores them where there is no teacher; any that `Index` takes.
        teacher: its scores decide the ratio, and are written.
        rules: how they are chosen.
        scratch: a folder to build the index in, kept; one built there before with the same passages is used again.
            A temporary one unless given.
        show_progress: draw bars on standard error.

    Raises:
        TrainingError: no example gets enough negatives.
    """
    chosen = rules or Mining()
    passages = list(dict.fromkeys(text for example in examples for text in example.documents))
    scored = chosen.scored or teacher is not None
    dropped: Counter[str] = Counter()
    made: list[Example] = []
    judge = teacher or (_Found(encoder) if chosen.mode == "late" else LateTeacher(encoder))
    answers: dict[str, set[str]] = {}
    for example in examples:
        answers.setdefault(_same(example.query), set()).add(_same(example.documents[0]))
    with tempfile.TemporaryDirectory() as place:
        folder = scratch or Path(place) / "index"
        with (
            _index(folder, passages, encoder, show_progress=show_progress) as index,
            progress_bar(len(examples), "Mining", enabled=show_progress) as advance,
        ):
            for start in range(0, len(examples), _CHUNK):
                chunk = examples[start : start + _CHUNK]
                made += _mine(chunk, index, judge, answers, chosen, dropped, scored=scored)
                advance(len(chunk))
    if not made:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.most_common())
        raise TrainingError(
            f"no example has {chosen.negatives} negatives ({reasons}); "
            "give more passages, a greater depth or fewer negatives"
        )
    write_examples(made, file)
    return MiningReport(len(examples), len(made), len(passages), dict(dropped))


def _index(folder: Path, passages: list[str], encoder: Any, *, show_progress: bool) -> Index:
    index = Index.open(folder, encoder=encoder) if folder.exists() else Index.create(folder, encoder=encoder)
    # Named by what they say: an index of other passages is told from this one.
    ids = [_id(text) for text in passages]
    # Stopped and started again, it goes on with the passages it lacks.
    index.add_batches(
        (
            {"ids": ids[start:stop], "texts": passages[start:stop]}
            for start in range(0, len(passages), 2000)
            for stop in [min(start + 2000, len(passages))]
        ),
        expected_documents=len(passages),
        show_progress=show_progress,
    )
    if len(index) != len(passages):
        index.close()
        raise TrainingError(f"{folder}: holds an index of other passages; delete it or give another folder")
    return index


def _mine(
    examples: Sequence[Example],
    index: Index,
    judge: Teacher,
    answers: dict[str, set[str]],
    rules: Mining,
    dropped: Counter[str],
    *,
    scored: bool,
) -> list[Example]:
    found = index.search_batch([one.query for one in examples], k=rules.depth, mode=rules.mode)
    if isinstance(judge, _Found):
        judge.known = {
            (example.query, hit.text or ""): hit.score
            for example, hits in zip(examples, found, strict=True)
            for hit in hits
        }
    lists: list[list[str]] = []
    for example, hits in zip(examples, found, strict=True):
        known = answers[_same(example.query)]
        texts = []
        for hit in hits:
            if _same(hit.text or "") in known:
                dropped["passage: an answer to the same question"] += 1
            else:
                texts.append(hit.text or "")
        lists.append([example.documents[0], *texts])
    scores = judge.score([one.query for one in examples], lists)
    words_shared = _lexical(examples, lists, index, rules) if scored and rules.lexical else None
    made = []
    for number, (example, texts, values) in enumerate(zip(examples, lists, scores, strict=True)):
        # Of a score below 0 a share is no bound: the distance is what counts.
        bound = values[0] - (1 - rules.ratio) * abs(values[0])
        kept = [i for i in range(1, len(texts)) if values[i] < bound]
        dropped[f"passage: scores {rules.ratio:g} of the positive or more"] += len(texts) - 1 - len(kept)
        if len(kept) < rules.negatives:
            dropped["example: too few negatives"] += 1
            continue
        places = [0, *kept[: rules.negatives]]
        taken = tuple(texts[i] for i in places)
        told = [values[i] for i in places]
        if words_shared is not None:
            both = zip(_scaled(told), _scaled([words_shared[number][i] for i in places]), strict=True)
            told = [(1 - rules.lexical) * late + rules.lexical * lexical for late, lexical in both]
        made.append(Example(example.query, taken, tuple(told) if scored else None))
    return made


class _Found:
    """The scores that the search found; what it did not find is encoded and scored."""

    def __init__(self, encoder: Any) -> None:
        self._late = LateTeacher(encoder)
        self.known: dict[tuple[str, str], float] = {}

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[list[float]]:
        pairs = zip(queries, documents, strict=True)
        missing = [[text for text in texts if (query, text) not in self.known] for query, texts in pairs]
        asked = [number for number, texts in enumerate(missing) if texts]
        scores = self._late.score([queries[number] for number in asked], [missing[number] for number in asked])
        for number, values in zip(asked, scores, strict=True):
            self.known |= {(queries[number], text): value for text, value in zip(missing[number], values, strict=True)}
        return [[self.known[query, text] for text in texts] for query, texts in zip(queries, documents, strict=True)]


def _lexical(
    examples: Sequence[Example], lists: Sequence[Sequence[str]], index: Index, rules: Mining
) -> list[list[float]]:
    """BM25 of every document of every list; 0 for one that is far down the ranking."""
    found = index.search_batch([one.query for one in examples], k=_FURTHER * rules.depth, mode="bm25")
    known = [{hit.id: hit.score for hit in hits} for hits in found]
    return [[scores.get(_id(text), 0.0) for text in texts] for scores, texts in zip(known, lists, strict=True)]


def _scaled(values: list[float]) -> list[float]:
    least, most = min(values), max(values)
    return [(value - least) / (most - least) if most > least else 0.0 for value in values]


def _id(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _same(text: str) -> str:
    return " ".join(words(text))
