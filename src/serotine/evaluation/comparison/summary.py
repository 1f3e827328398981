"""Results side by side: a figure for every system and collection, and the unweighted mean over collections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serotine.evaluation.data.sources import Source
from serotine.evaluation.result import Result


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of a collection, or the mean of several.

    Attributes:
        name: the name of the collection or group, or "mean".
        values: the figure by system and metric; a mean only for systems evaluated on all of its collections.
        mean_of: the number of collections averaged; 1 for a collection.
    """

    name: str
    values: dict[tuple[str, str], float]
    mean_of: int = 1


def summarize(results: Sequence[Result], sources: Sequence[Source]) -> list[Row]:
    """Return one row per collection or group (CQADupStack), and a last row with their mean if there are several.

    Every collection has the same weight, however many queries it has: the macro-average that BEIR and MIRACL report.

    Args:
        results: results of any systems.
        sources: the collections in order, with their groups.
    """
    by_collection: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_collection[result.collection].append(result)
    groups: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        groups[source.group or source.name].append(source.name)
    rows = [
        Row(name, _mean([_values(by_collection[member]) for member in members]), len(members))
        for name, members in groups.items()
    ]
    if len(rows) > 1:
        rows.append(Row("mean", _mean([row.values for row in rows]), len(rows)))
    return rows


def _values(results: Sequence[Result]) -> dict[tuple[str, str], float]:
    return {(result.system, metric): value for result in results for metric, value in result.metrics.items()}


def _mean(figures: Sequence[Mapping[tuple[str, str], float]]) -> dict[tuple[str, str], float]:
    """Return the means of the keys that all have: a mean over some of the collections would mislead."""
    common = [key for key in figures[0] if all(key in values for values in figures)]
    return {key: sum(values[key] for values in figures) / len(figures) for key in common}
