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


def evaluate(qrels: Qrels, run: Run, metrics: Sequence[str] = ("nDCG@10",)) -> dict[str, float]:
    """Means over every judged query.

    A judged query that the run lacks counts 0, as if it had found nothing. Ties are ordered as trec_eval does: by
    document id, descending.

    Args:
        qrels: the judgements.
        run: what was found.
        metrics: names ir-measures knows, for example "nDCG@10", "R@100", "RR@10".

    Returns:
        The mean of each metric, between 0 and 1.

    Raises:
        SerotineError: the eval extra is not installed.
        ValueError: a metric is unknown.
    """
    per_query = evaluate_queries(qrels, run, metrics)
    return {metric: sum(values[metric] for values in per_query.values()) / max(len(per_query), 1) for metric in metrics}


def evaluate_queries(
    qrels: Qrels, run: Mapping[str, Mapping[str, float]], metrics: Sequence[str] = ("nDCG@10",)
) -> dict[str, dict[str, float]]:
    """`evaluate` without the mean: every metric of every judged query."""
    ir_measures = _library()
    parsed = _parsed(metrics)
    results = {query: dict.fromkeys(metrics, 0.0) for query in qrels}
    # One metric may go by two names.
    names: dict[Any, list[str]] = {}
    for name, metric in parsed.items():
        names.setdefault(metric, []).append(name)
    # Some of what computes metrics divides by how many were found.
    ranked = {query: _ranked(found) for query, found in run.items() if found}
    for metric in ir_measures.iter_calc(list(names), qrels, ranked):
        if metric.query_id in results:
            for name in names[metric.measure]:
                results[metric.query_id][name] = float(metric.value)
    return results


def _ranked(found: Mapping[str, float]) -> dict[str, float]:
    """Scores without ties, in trec_eval's order: not all of what computes metrics orders equals as it does."""
    order = sorted(found, key=lambda id_: (np.float32(found[id_]), id_))
    return {id_: float(place) for place, id_ in enumerate(order)}


def validate_metrics(metrics: Sequence[str]) -> dict[str, int | None]:
    """How deep each metric looks; None: as deep as the run goes.

    Raises:
        SerotineError: the eval extra is not installed.
        ValueError: a metric is unknown, or cannot be computed by what is installed.
    """
    ir_measures = _library()
    parsed = _parsed(metrics)
    for name, metric in parsed.items():
        if not ir_measures.DefaultPipeline.supports(metric):
            raise ValueError(f"metrics: nothing that is installed computes {name!r}")
    return {name: metric.params.get("cutoff") for name, metric in parsed.items()}


def _library() -> Any:
    try:
        import ir_measures
    except ImportError:
        raise SerotineError("judging needs ir-measures; run: pip install 'serotine[eval]'") from None
    return ir_measures


def _parsed(metrics: Sequence[str]) -> dict[str, Any]:
    ir_measures = _library()
    try:
        found = {name: ir_measures.parse_measure(name) for name in metrics}
    except (NameError, ValueError) as error:
        raise ValueError(f"metrics: {error}") from None
    for name, metric in found.items():
        try:
            metric.validate_params()
        except AssertionError as error:  # the library's way to say it
            raise ValueError(f"metrics: {name!r} cannot be computed ({error})") from None
    return found
