"""Results side by side: a figure for every system and collection, and the unweighted mean over collections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serotine.evaluation.data.sources import Source
from serotine.evaluation.result import Result


@dataclass(frozen=True, slots=True)
class Row:
    """A collection, or the mean of several.

    Attributes:
        name: what it is called.
        values: figure by system and metric; of systems that were judged on all of it.
        parts: how many collections it is the mean of; 1 for a collection.
    """

    name: str
    values: dict[tuple[str, str], float]
    parts: int = 1


def summarize(judged: Sequence[Result], sources: Sequence[Source]) -> list[Row]:
    """One row a collection, a group (CQADupStack) as one, and, where there are several, a last one of their mean.

    Every collection counts alike, however many queries it has: the macro-average that BEIR and MIRACL report.

    Args:
        judged: results, of any systems.
        sources: the collections in order, with what they are part of.
    """
    found: dict[str, list[Result]] = defaultdict(list)
    for one in judged:
        found[one.collection].append(one)
    groups: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        groups[source.group or source.name].append(source.name)
    table = []
    for name, members in groups.items():
        each = [_values(found[member]) for member in members]
        table.append(Row(name, _mean(each), len(members)))
    if len(table) > 1:
        table.append(Row("mean", _mean([row.values for row in table]), len(table)))
    return table


def _values(judged: Sequence[Result]) -> dict[tuple[str, str], float]:
    return {(one.system, metric): value for one in judged for metric, value in one.metrics.items()}


def _mean(each: Sequence[Mapping[tuple[str, str], float]]) -> dict[tuple[str, str], float]:
    """Of what all of them have: a mean over some of the collections would be no figure of the whole."""
    common = [key for key in each[0] if all(key in values for values in each)]
    return {key: sum(values[key] for values in each) / len(each) for key in common}
