"""A comparison by language: means over each language's collections, and the macro average over languages."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serotine.evaluation.data.published_miracl import METRIC, PUBLISHED
from serotine.languages import language_name

if TYPE_CHECKING:
    from serotine.evaluation.comparison.compare import Comparison


@dataclass(frozen=True, slots=True)
class LanguageTable:
    """The figures of systems by language.

    Attributes:
        metric: the metric, by its name in ir-measures.
        languages: English names of the languages by their codes, in the order of the names.
        means: the metric by system and language: the unweighted mean over its collections.
        averages: by system, the unweighted mean over languages.
        references: published figures of MIRACL by system and language, where its collections were evaluated.
        others: collections whose language is not known.
    """

    metric: str
    languages: dict[str, str]
    means: dict[str, dict[str, float]]
    averages: dict[str, float]
    references: dict[str, dict[str, float]] = field(default_factory=dict)
    others: tuple[str, ...] = ()


def by_language(comparison: Comparison) -> LanguageTable | None:
    """Return a comparison by language; None unless its collections are in at least two."""
    collections: dict[str, list[str]] = {}
    others = []
    for name in comparison.collections:
        languages = (records[name].get("language") for records in comparison.records.values())
        language = next((language for language in languages if language), None)
        if language is None:
            others.append(name)
        else:
            collections.setdefault(language, []).append(name)
    if len(collections) < 2:
        return None
    names = dict(sorted(((code, language_name(code)) for code in collections), key=lambda item: item[1]))
    means = {
        system: {code: statistics.fmean(values[name] for name in collections[code]) for code in names}
        for system, values in comparison.means.items()
    }
    averages = {system: statistics.fmean(values.values()) for system, values in means.items()}
    references = {}
    if comparison.metric == METRIC:
        comparable = [code for code in names if collections[code] == [f"miracl-{code}"]]
        for system, figures in PUBLISHED.items():
            references[system] = {code: figures[code] for code in names if code in comparable and code in figures}
    references = {system: figures for system, figures in references.items() if figures}
    return LanguageTable(comparison.metric, names, means, averages, references, tuple(others))
