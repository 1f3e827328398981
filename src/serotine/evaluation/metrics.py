"""Metrics as trec_eval computes them, through ir-measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from serotine.errors import SerotineError

Qrels: TypeAlias = dict[str, dict[str, int]]
"""Relevance by query id and document id."""
Run: TypeAlias = dict[str, dict[str, float]]
"""Score by query id and document id."""


def evaluate(qrels: Qrels, run: Run, measures: Sequence[str] = ("nDCG@10",)) -> dict[str, float]:
    """Means over every judged query.

    A judged query that the run lacks counts 0, as if it had found nothing. Ties are ordered as trec_eval does: by
    document id, descending.

    Args:
        qrels: the judgements.
        run: what was found.
        measures: names ir-measures knows, for example "nDCG@10", "R@100", "RR@10".

    Returns:
        The mean of each measure, between 0 and 1.

    Raises:
        SerotineError: the eval extra is not installed.
        ValueError: a measure is unknown.
    """
    per_query = evaluate_queries(qrels, run, measures)
    return {
        measure: sum(values[measure] for values in per_query.values()) / max(len(per_query), 1) for measure in measures
    }


def evaluate_queries(
    qrels: Qrels, run: Mapping[str, Mapping[str, float]], measures: Sequence[str] = ("nDCG@10",)
) -> dict[str, dict[str, float]]:
    """`evaluate` without the mean: every measure of every judged query."""
    ir_measures = _library()
    parsed = _parsed(measures)
    results = {query: dict.fromkeys(measures, 0.0) for query in qrels}
    # One measure may go by two names.
    names: dict[Any, list[str]] = {}
    for name, measure in parsed.items():
        names.setdefault(measure, []).append(name)
    # Some of what computes measures divides by how many were found.
    ranked = {query: _ranked(found) for query, found in run.items() if found}
    for metric in ir_measures.iter_calc(list(names), qrels, ranked):
        if metric.query_id in results:
            for name in names[metric.measure]:
                results[metric.query_id][name] = float(metric.value)
    return results


def _ranked(found: Mapping[str, float]) -> dict[str, float]:
    """Scores without ties, in trec_eval's order: not all of what computes measures orders equals as it does."""
    order = sorted(found, key=lambda id_: (np.float32(found[id_]), id_))
    return {id_: float(place) for place, id_ in enumerate(order)}


def check_measures(measures: Sequence[str]) -> dict[str, int | None]:
    """How deep each measure looks; None: as deep as the run goes.

    Raises:
        SerotineError: the eval extra is not installed.
        ValueError: a measure is unknown, or cannot be computed by what is installed.
    """
    ir_measures = _library()
    parsed = _parsed(measures)
    for name, measure in parsed.items():
        if not ir_measures.DefaultPipeline.supports(measure):
            raise ValueError(f"measures: nothing that is installed computes {name!r}")
    return {name: measure.params.get("cutoff") for name, measure in parsed.items()}


def _library() -> Any:
    try:
        import ir_measures
    except ImportError:
        raise SerotineError("judging needs ir-measures; run: pip install 'serotine[eval]'") from None
    return ir_measures


def _parsed(measures: Sequence[str]) -> dict[str, Any]:
    ir_measures = _library()
    try:
        found = {name: ir_measures.parse_measure(name) for name in measures}
    except (NameError, ValueError) as error:
        raise ValueError(f"measures: {error}") from None
    for name, measure in found.items():
        try:
            measure.validate_params()
        except AssertionError as error:  # the library's way to say it
            raise ValueError(f"measures: {name!r} cannot be computed ({error})") from None
    return found
