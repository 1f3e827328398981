"""EvaluationOptions systems on collections: one result after another, each kept as soon as it is there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError, SerotineError
from serotine.evaluation.data import identical_ids
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.data.identical_ids import IdenticalIds
from serotine.evaluation.data.sources import Source
from serotine.evaluation.metrics import evaluate_queries, validate_metrics
from serotine.evaluation.result import Result
from serotine.evaluation.systems.base import Answer, System
from serotine.versions import versions

METRICS = ("nDCG@10", "R@100")
DEPTH = 100
CACHE_FOLDER = "encodings"
_PACKAGES = (
    "bm25s",
    "ir-measures",
    "numpy",
    "onnxruntime",
    "pytrec-eval-terrier",
    "tokenizers",
    "torch",
    "transformers",
)


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How systems are judged.

    Attributes:
        metrics: by ir-measures' names.
        depth: documents retrieved for every query, after any that an identical id drops.
        identical_ids: what is done with a document that has the query's id; "beir" for BEIR's collections and "keep"
            for others where it is None.
        output: the folder where results are stored and looked up; None stores nothing.

    >>> from serotine.evaluation import EvaluationOptions
    >>> EvaluationOptions(["RR@10"], depth=10).depth
    10
    """

    metrics: Sequence[str] = METRICS
    depth: int = DEPTH
    identical_ids: IdenticalIds | None = None
    output: Path | None = None

    def __post_init__(self) -> None:
        """Check what was given.

        Raises:
            ValueError: an unknown metric, or one that looks deeper than is retrieved.
        """
        if self.depth < 1:
            raise ValueError(f"depth: want at least 1, got {self.depth}")
        for name, cutoff in validate_metrics(self.metrics).items():
            if cutoff is not None and cutoff > self.depth:
                raise ValueError(f"metrics: {name} looks at {cutoff:,} documents; --depth is {self.depth:,}")


def evaluate_systems(
    systems: Sequence[System],
    sources: Sequence[Source],
    judging: EvaluationOptions,
    *,
    show_progress: bool = False,
    tell: Callable[[str], None] = lambda note: None,
) -> Iterator[Result]:
    """Evaluate every system on every collection, yielding each result as soon as it is there.

    A result that `judging.output` holds already, of the same system on the same data in the same way, is taken from
    there. Without any left to do a collection is not even read.

    Args:
        systems: what to judge.
        sources: on what.
        judging: how.
        show_progress: draw bars on standard error.
        tell: gets each thing that a reader of the numbers should know.

    Raises:
        InputFileError: a collection cannot be read.
        SerotineError: the output folder contains results of another system under the same name.

    >>> from serotine.evaluation import BM25Baseline, Collection, EvaluationOptions, Source, evaluate_systems
    >>> toy = Collection("toy", {"a": "owls", "b": "bees"}, {"q": "owls"}, {"q": {"a": 1}}, language="en")
    >>> results = evaluate_systems([BM25Baseline()], [Source("toy", lambda: toy, lambda: "1")], EvaluationOptions())
    >>> [(result.collection, result.metrics["nDCG@10"]) for result in results]
    [('toy', 1.0)]
    """
    folders = system_folders(systems, judging.output)
    for source in sources:
        loaded: Collection | None = None
        for system, folder in zip(systems, folders, strict=True):
            key = _key(system, source, judging)
            kept = _kept(folder, source.name, system.name, key)
            if kept is not None:
                yield kept
                continue
            if loaded is None:
                loaded = source.load()
                _check(loaded, judging)
                if loaded.missing_relevant:
                    tell(f"{loaded.name}: relevant documents that the collection lacks: {loaded.missing_relevant:,}")
            judged, notes = evaluate_system(system, loaded, judging, show_progress=show_progress)
            for note in notes:
                tell(f"{judged.system} on {judged.collection}: {note}")
            judged.record["key"] = key
            if folder is not None:
                judged.save(folder)
            yield judged


def evaluate_system(
    system: System, collection: Collection, judging: EvaluationOptions, *, show_progress: bool = False
) -> tuple[Result, list[str]]:
    """Evaluate one system on one collection.

    Returns:
        The result, and notes that a reader of the figures should see.

    >>> from serotine.evaluation import BM25Baseline, Collection, EvaluationOptions, evaluate_system
    >>> toy = Collection("toy", {"a": "owls", "b": "bees"}, {"q": "owls"}, {"q": {"a": 1}}, language="en")
    >>> result, notes = evaluate_system(BM25Baseline(), toy, EvaluationOptions())
    >>> result.metrics["nDCG@10"], notes
    (1.0, [])
    """
    rule = judging.identical_ids or identical_ids.default_rule(collection.benchmark)
    drop = identical_ids.drops_identical(rule, collection.name)
    started = time.perf_counter()
    # One more than is wanted, so that as many are left when one is dropped.
    answer: Answer = system.answer(collection, judging.depth + drop, show_progress=show_progress)
    seconds = time.perf_counter() - started
    run, count = identical_ids.drop_identical(answer.run, judging.depth, drop=drop)
    per_query = evaluate_queries(collection.qrels, run, judging.metrics)
    means = {
        metric: sum(values[metric] for values in per_query.values()) / len(per_query) for metric in judging.metrics
    }
    matching = sum(query in collection.documents for query in collection.queries)
    record: dict[str, Any] = {
        **answer.record,
        "depth": judging.depth,
        "identical_ids": {"rule": rule, "dropped": count, "matching": matching},
        "documents": len(collection.documents),
        "queries": len(collection.queries),
        "missing_relevant": collection.missing_relevant,
        "benchmark": collection.benchmark,
        "total_seconds": seconds,
        "versions": versions(_PACKAGES),
        "notes": answer.notes,
    }
    record.setdefault("language", collection.language)
    return Result(system.name, collection.name, collection.split, means, per_query, run, record), answer.notes


def system_folders(systems: Sequence[System], output: Path | None) -> list[Path | None]:
    """Where each system's results go: a folder of its own, called after it.

    Raises:
        SerotineError: two systems would get the same.
    """
    if output is None:
        return [None] * len(systems)
    folders: list[Path | None] = []
    for system in systems:
        folder = output / folder_name(system.name)
        if folder in folders:
            raise SerotineError(
                f"{folder}: two systems are called {folder.name!r}, and their results would mix; "
                "judge them with an --output each"
            )
        folders.append(folder)
    return folders


def folder_name(system: str) -> str:
    """A system's name as that of a folder: of a path its last part, of a hub id "owner--model", without the commit."""
    name, space, rest = system.partition(" (")
    path = Path(name)
    short = path.name if path.is_absolute() else name.partition("@")[0].replace("/", "--")
    suffix = f"-{rest.removesuffix(')')}" if space else ""
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in short + suffix)


def _key(system: System, source: Source, judging: EvaluationOptions) -> str:
    told = [system.name, system.key, source.name, source.fingerprint(), list(judging.metrics), judging.depth]
    text = json.dumps([*told, judging.identical_ids])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _kept(folder: Path | None, collection: str, system: str, key: str) -> Result | None:
    if folder is None or not (folder / f"{collection}.json").is_file():
        return None
    judged = Result.load(folder / f"{collection}.json")
    if judged.system != system:
        raise SerotineError(f"{folder}: holds results of {judged.system}, not of {system}; choose another --output")
    return judged if judged.record.get("key") == key else None


def _check(collection: Collection, judging: EvaluationOptions) -> None:
    """Reject before the work what could not be written after it: ids with spaces, in files parted by spaces."""
    if judging.output is None:
        return
    for kind, ids in (("query", collection.queries), ("document", collection.documents)):
        for id_ in ids:
            if any(map(str.isspace, id_)):
                raise InputFileError(
                    f"{collection.name}: {kind} id {id_!r} holds a space, which a TREC run file cannot tell apart; "
                    "rename it, or leave --output out"
                )
