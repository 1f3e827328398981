"""Evaluation of systems on collections; each result is stored as soon as it is complete."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError, SerotineError, invalid
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
    """Settings of an evaluation.

    Attributes:
        metrics: names of ir-measures.
        depth: the number of documents per query, not counting documents dropped for their identical id.
        identical_ids: the rule for documents with the query's id; None means "beir" for BEIR collections and "keep"
            for others.
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
        """Validate the settings.

        Raises:
            ValueError: the depth is below 1, or a metric is unknown or needs more documents than the depth.
        """
        if self.depth < 1:
            raise invalid("depth", "at least 1", self.depth)
        for name, cutoff in validate_metrics(self.metrics).items():
            if cutoff is not None and cutoff > self.depth:
                raise ValueError(f"metrics: {name} needs {cutoff:,} documents, got depth {self.depth:,}")


def evaluate_systems(
    systems: Sequence[System],
    sources: Sequence[Source],
    options: EvaluationOptions,
    *,
    show_progress: bool = False,
    on_note: Callable[[str], None] = lambda note: None,
) -> Iterator[Result]:
    """Evaluate every system on every collection, yielding each result as soon as it is complete.

    A result already stored in `options.output`, for the same system, data and options, is loaded from there. A
    collection whose results are all stored is not loaded.

    Args:
        systems: the systems.
        sources: the collections.
        options: the settings.
        show_progress: draw bars on standard error.
        on_note: called with each remark that a reader of the figures should see.

    Raises:
        InputFileError: a collection cannot be read.
        SerotineError: the output folder contains results of another system under the same name.

    >>> from serotine.evaluation import BM25Baseline, Collection, EvaluationOptions, Source, evaluate_systems
    >>> toy = Collection("toy", {"a": "owls", "b": "bees"}, {"q": "owls"}, {"q": {"a": 1}}, language="en")
    >>> results = evaluate_systems([BM25Baseline()], [Source("toy", lambda: toy, lambda: "1")], EvaluationOptions())
    >>> [(result.collection, result.metrics["nDCG@10"]) for result in results]
    [('toy', 1.0)]
    """
    folders = system_folders(systems, options.output)
    for source in sources:
        collection: Collection | None = None
        for system, folder in zip(systems, folders, strict=True):
            key = _key(system, source, options)
            stored = _load_stored(folder, source.name, system.name, key)
            if stored is not None:
                yield stored
                continue
            if collection is None:
                collection = source.load()
                _validate_ids(collection, options)
                if missing := collection.missing_relevant:
                    on_note(f"{collection.name}: the collection lacks {missing:,} of its relevant documents")
            result, notes = evaluate_system(system, collection, options, show_progress=show_progress)
            for note in notes:
                on_note(f"{result.system} on {result.collection}: {note}")
            result.record["key"] = key
            if folder is not None:
                result.save(folder)
            yield result


def evaluate_system(
    system: System, collection: Collection, options: EvaluationOptions, *, show_progress: bool = False
) -> tuple[Result, list[str]]:
    """Evaluate one system on one collection.

    Returns:
        The result, and remarks that a reader of the figures should see.

    >>> from serotine.evaluation import BM25Baseline, Collection, EvaluationOptions, evaluate_system
    >>> toy = Collection("toy", {"a": "owls", "b": "bees"}, {"q": "owls"}, {"q": {"a": 1}}, language="en")
    >>> result, notes = evaluate_system(BM25Baseline(), toy, EvaluationOptions())
    >>> result.metrics["nDCG@10"], notes
    (1.0, [])
    """
    rule = options.identical_ids or identical_ids.default_rule(collection.benchmark)
    drop = identical_ids.drops_identical(rule, collection.name)
    started = time.perf_counter()
    # One more than the depth, since one may be dropped.
    answer: Answer = system.answer(collection, options.depth + drop, show_progress=show_progress)
    seconds = time.perf_counter() - started
    run, dropped = identical_ids.drop_identical(answer.run, options.depth, drop=drop)
    per_query = evaluate_queries(collection.qrels, run, options.metrics)
    means = {
        metric: sum(values[metric] for values in per_query.values()) / len(per_query) for metric in options.metrics
    }
    matching = sum(query in collection.documents for query in collection.queries)
    record: dict[str, Any] = {
        **answer.record,
        "depth": options.depth,
        "identical_ids": {"rule": rule, "dropped": dropped, "matching": matching},
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
    """Return the folder of each system's results; None without an output folder.

    Raises:
        SerotineError: two systems would get the same folder.
    """
    if output is None:
        return [None] * len(systems)
    folders: list[Path | None] = []
    for system in systems:
        folder = output / folder_name(system.name)
        if folder in folders:
            raise SerotineError(
                f"{folder}: two systems have the name {folder.name!r}; evaluate them with separate --output folders"
            )
        folders.append(folder)
    return folders


def folder_name(system: str) -> str:
    """Return a system's name as a folder name: the last component of a path, "owner--model" of a hub id."""
    name, space, variant = system.partition(" (")
    path = Path(name)
    short = path.name if path.is_absolute() else name.partition("@")[0].replace("/", "--")
    suffix = f"-{variant.removesuffix(')')}" if space else ""
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in short + suffix)


def _key(system: System, source: Source, options: EvaluationOptions) -> str:
    values = [system.name, system.key, source.name, source.fingerprint(), list(options.metrics), options.depth]
    text = json.dumps([*values, options.identical_ids])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _load_stored(folder: Path | None, collection: str, system: str, key: str) -> Result | None:
    if folder is None or not (folder / f"{collection}.json").is_file():
        return None
    result = Result.load(folder / f"{collection}.json")
    if result.system != system:
        raise SerotineError(f"{folder}: contains results of {result.system}, not of {system}; choose another --output")
    return result if result.record.get("key") == key else None


def _validate_ids(collection: Collection, options: EvaluationOptions) -> None:
    """Reject ids with spaces, which separate the fields of a TREC run file, before the run is computed."""
    if options.output is None:
        return
    for kind, ids in (("query", collection.queries), ("document", collection.documents)):
        for id_ in ids:
            if any(map(str.isspace, id_)):
                raise InputFileError(
                    f"{collection.name}: {kind} id {id_!r} contains a space, which separates the fields of a TREC run "
                    "file; rename it, or leave out --output"
                )
