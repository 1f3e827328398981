"""Comparison of systems: which is better, on which queries, and whether the difference may be chance."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serotine.encoders import as_text_encoder
from serotine.errors import InputFileError, invalid
from serotine.evaluation.comparison.changes import Change, most_changed
from serotine.evaluation.comparison.significance import holm, randomization_test
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.result import Result

if TYPE_CHECKING:
    from serotine.text_encoder import AnyEncoder

# Values closer than this are a tie: equal up to rounding.
_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class QueryPair:
    """The metric of one query, of the baseline and of the system."""

    query: str
    baseline: float
    system: float


@dataclass(frozen=True, slots=True)
class Pair:
    """One system against the baseline on one collection.

    Attributes:
        system: the name of the system.
        baseline: the name of the baseline.
        collection: the name of the collection.
        difference: the mean of the system minus the mean of the baseline.
        wins: the number of queries on which the system is better.
        ties: the number of queries on which both are equal.
        losses: the number of queries on which the system is worse.
        p: the p value of the two-sided paired randomization test.
        exact: whether p comes from all choices of signs, not from a sample of them.
        p_corrected: p after Holm's correction over all pairs of the comparison.
        queries: both values of every query.
    """

    system: str
    baseline: str
    collection: str
    difference: float
    wins: int
    ties: int
    losses: int
    p: float
    exact: bool
    p_corrected: float
    queries: tuple[QueryPair, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of `compare`.

    Attributes:
        metric: the metric compared, by its name in ir-measures.
        systems: the names of the systems, the baseline first.
        collections: the names of the collections that every system was evaluated on.
        excluded: the names of the other collections, which no figure includes.
        means: the metric by system and collection.
        averages: by system, the unweighted mean over `collections`.
        pairs: every other system against the baseline, on every collection.
        changes: the queries that changed most, largest first.
        explained_by: the name of the encoder that matched the tokens, or None.
        records: the settings behind each figure, by system and collection.

    >>> from serotine.evaluation import Result, compare
    >>> results = [
    ...     Result(name, "toy", "test", {"RR": x}, {"q": {"RR": x}}, {}, {}) for name, x in (("a", 0.5), ("b", 1.0))
    ... ]
    >>> compare(results, metric="RR").averages
    {'a': 0.5, 'b': 1.0}
    """

    metric: str
    systems: tuple[str, ...]
    collections: tuple[str, ...]
    excluded: tuple[str, ...]
    means: dict[str, dict[str, float]]
    averages: dict[str, float]
    pairs: tuple[Pair, ...]
    changes: tuple[Change, ...]
    explained_by: str | None
    records: dict[str, dict[str, dict[str, Any]]]


def compare(
    systems: Sequence[str | Path | Result],
    *,
    metric: str = "nDCG@10",
    collections: Sequence[Collection] = (),
    encoder: AnyEncoder | None = None,
    changed: int = 20,
    rounds: int = 100_000,
    seed: int = 0,
    show_progress: bool = False,
) -> Comparison:
    """Compare two or more systems query by query; the first is the baseline.

    Args:
        systems: folders of results of `serotine eval`, one per system, or `Result` objects.
        metric: a metric that all results have.
        collections: the texts and judgements, to show the passages behind a change.
        encoder: a late-interaction encoder, or its name, to show which tokens matched; needs `collections`.
        changed: number of queries with the largest changes to include.
        rounds: rounds of the randomization test, if there are too many queries to try every choice of signs.
        seed: seed of the test.
        show_progress: draw a bar on standard error while passages are aligned.

    Raises:
        InputFileError: a folder contains no results, or a file is damaged.
        ValueError: fewer than two systems, two with the same name, no collection or metric in common, different
            queries, or an invalid argument.

    >>> from serotine.evaluation import Result, compare
    >>> results = [
    ...     Result(name, "toy", "test", {"RR": x}, {"q": {"RR": x}}, {}, {}) for name, x in (("a", 0.5), ("b", 1.0))
    ... ]
    >>> pair, = compare(results, metric="RR").pairs
    >>> pair.difference, pair.wins, pair.p
    (0.5, 1, 1.0)
    """
    if encoder is not None and not collections:
        raise ValueError("encoder: requires collections, whose texts it encodes")
    if changed < 0:
        raise invalid("changed", "at least 0", changed)
    text_encoder = None if encoder is None else as_text_encoder(encoder)
    results = _by_system(systems)
    names = tuple(results)
    if len(names) < 2:
        raise ValueError(f"systems: must be at least two, got {', '.join(map(repr, names)) or 'none'}")
    common = [name for name in results[names[0]] if all(name in results[system] for system in names)]
    if not common:
        evaluated = "; ".join(f"{system}: {', '.join(by_collection)}" for system, by_collection in results.items())
        raise ValueError(f"systems: no collection in common ({evaluated})")
    _validate(results, common, metric)
    pairs = _pairs(results, names, common, metric, rounds, seed)
    by_name = {collection.name: collection for collection in collections}
    for name in by_name:
        if name not in common:
            raise ValueError(f"collections: {name!r} was not evaluated; the results are of {', '.join(common)}")
    means = {system: {name: results[system][name].metrics[metric] for name in common} for system in names}
    return Comparison(
        metric=metric,
        systems=names,
        collections=tuple(common),
        excluded=tuple(sorted({name for by_collection in results.values() for name in by_collection} - set(common))),
        means=means,
        averages={system: statistics.fmean(by_collection.values()) for system, by_collection in means.items()},
        pairs=pairs,
        changes=most_changed(pairs, results, by_name, text_encoder, changed, show_progress=show_progress),
        explained_by=None if text_encoder is None else text_encoder.name,
        records={system: {name: results[system][name].record for name in common} for system in names},
    )


def load_results(folder: str | Path) -> list[Result]:
    """Load every result in a folder, by collection.

    Raises:
        InputFileError: there is no result, or one is damaged.

    >>> from serotine.evaluation import Result, load_results
    >>> Result("bm25", "toy", "test", {"RR": 1.0}, {"q": {"RR": 1.0}}, {}, {}).save("bm25")
    >>> [result.system for result in load_results("bm25")]
    ['bm25']
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputFileError(f"{folder}: no such folder; pass a folder written by `serotine eval`")
    # A result is a pair of files; the folder may contain other JSON files.
    files = [file for file in sorted(folder.glob("*.json")) if file.with_suffix(".trec").is_file()]
    if not files:
        raise InputFileError(f"{folder}: no results; a result is <collection>.json and <collection>.trec")
    return [Result.load(file) for file in files]


def _by_system(systems: Sequence[str | Path | Result]) -> dict[str, dict[str, Result]]:
    """Return results by system and collection."""
    named_results: list[tuple[str, Result]] = []
    folders = [load_results(entry) if isinstance(entry, (str, Path)) else [] for entry in systems]
    folder_names = [{result.system for result in folder} for folder in folders if folder]
    for entry, folder in zip(systems, folders, strict=True):
        if isinstance(entry, Result):
            named_results.append((entry.system, entry))
            continue
        names = {result.system for result in folder}
        # Two folders of one system, with other settings, are named by their paths.
        unique = len(names) == 1 and folder_names.count(names) == 1
        name = names.pop() if unique else str(Path(entry))
        named_results += [(name, result) for result in folder]
    results: dict[str, dict[str, Result]] = {}
    for name, result in named_results:
        if result.collection in results.setdefault(name, {}):
            raise ValueError(
                f"systems: {name!r} has two results on {result.collection!r}; give one of them another name"
            )
        results[name][result.collection] = result
    return results


def _validate(results: Mapping[str, Mapping[str, Result]], collections: Sequence[str], metric: str) -> None:
    """Raise ValueError if the figures are not comparable."""
    first, *others = results
    for name in collections:
        for system in results:
            result = results[system][name]
            if metric not in result.metrics or any(metric not in values for values in result.per_query.values()):
                available = ", ".join(result.metrics)
                raise ValueError(f"metric: {system!r} has no {metric} on {name}; it has {available}")
        reference = results[first][name]
        for system in others:
            result = results[system][name]
            if result.split != reference.split:
                raise ValueError(
                    f"systems: on {name}, {first!r} was evaluated on split {reference.split!r}, "
                    f"{system!r} on {result.split!r}"
                )
            unshared = result.per_query.keys() ^ reference.per_query.keys()
            if unshared:
                raise ValueError(
                    f"systems: on {name}, {first!r} and {system!r} were evaluated on different queries "
                    f"({len(unshared):,} of them, such as {min(unshared)!r})"
                )


def _pairs(
    results: Mapping[str, Mapping[str, Result]],
    names: Sequence[str],
    collections: Sequence[str],
    metric: str,
    rounds: int,
    seed: int,
) -> tuple[Pair, ...]:
    baseline, *others = names
    tested: list[tuple[str, str, list[QueryPair], list[float], float, bool]] = []
    for system in others:
        for name in collections:
            before, after = results[baseline][name].per_query, results[system][name].per_query
            queries = [QueryPair(query, before[query][metric], after[query][metric]) for query in before]
            differences = [pair.system - pair.baseline for pair in queries]
            differences = [0.0 if abs(value) <= _TIE else value for value in differences]
            tested.append(
                (system, name, queries, differences, *randomization_test(differences, rounds=rounds, seed=seed))
            )
    corrected = holm([p for *_, p, _ in tested])
    return tuple(
        Pair(
            system=system,
            baseline=baseline,
            collection=name,
            difference=results[system][name].metrics[metric] - results[baseline][name].metrics[metric],
            wins=sum(value > 0 for value in differences),
            ties=sum(value == 0 for value in differences),
            losses=sum(value < 0 for value in differences),
            p=p,
            exact=exact,
            p_corrected=p_corrected,
            queries=tuple(queries),
        )
        for (system, name, queries, differences, p, exact), p_corrected in zip(tested, corrected, strict=True)
    )
