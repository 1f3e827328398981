"""Metrics as trec_eval computes them, through ir-measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from serotine.errors import SerotineError, missing_extra, reason

Qrels: TypeAlias = dict[str, dict[str, int]]
"""Relevance by query id and document id."""
Run: TypeAlias = dict[str, dict[str, float]]
"""Score by query id and document id."""


def evaluate(qrels: Qrels, run: Run, metrics: Sequence[str] = ("nDCG@10",)) -> dict[str, float]:
    """Return the mean of each metric over all judged queries.

    A judged query that is not in the run counts 0. Ties are ordered as in trec_eval: by document id, descending.

    Args:
        qrels: the judgements.
        run: the retrieved documents.
        metrics: names of ir-measures, for example "nDCG@10", "R@100", "RR@10".

    Returns:
        The mean of each metric, between 0 and 1.

    Raises:
        SerotineError: the eval extra is not installed.
        ValueError: a metric is unknown.

    >>> from serotine.evaluation import evaluate
    >>> evaluate({"q": {"a": 1, "b": 0}}, {"q": {"a": 0.5, "b": 0.9}}, ["RR", "P@1"])
    {'RR': 0.5, 'P@1': 0.0}
    """
    per_query = evaluate_queries(qrels, run, metrics)
    return {metric: sum(values[metric] for values in per_query.values()) / max(len(per_query), 1) for metric in metrics}


def evaluate_queries(
    qrels: Qrels, run: Mapping[str, Mapping[str, float]], metrics: Sequence[str] = ("nDCG@10",)
) -> dict[str, dict[str, float]]:
    """Return every metric of every judged query."""
    ir_measures = _import_ir_measures()
    parsed = _parse(metrics)
    results = {query: dict.fromkeys(metrics, 0.0) for query in qrels}
    # A metric may have two names.
    names: dict[Any, list[str]] = {}
    for name, metric in parsed.items():
        names.setdefault(metric, []).append(name)
    # Some libraries behind ir-measures divide by the number of hits.
    ranked = {query: _ranked(scores) for query, scores in run.items() if scores}
    for value in ir_measures.iter_calc(list(names), qrels, ranked):
        if value.query_id in results:
            for name in names[value.measure]:
                results[value.query_id][name] = float(value.value)
    return results


def _ranked(scores: Mapping[str, float]) -> dict[str, float]:
    """Return scores without ties, in trec_eval's order, which some libraries behind ir-measures do not follow."""
    order = sorted(scores, key=lambda id_: (np.float32(scores[id_]), id_))
    return {id_: float(rank) for rank, id_ in enumerate(order)}


def validate_metrics(metrics: Sequence[str]) -> dict[str, int | None]:
    """Return the cutoff of each metric; None for the whole run.

    Raises:
        SerotineError: the eval extra is not installed.
        ValueError: a metric is unknown, or no installed library computes it.
    """
    ir_measures = _import_ir_measures()
    parsed = _parse(metrics)
    for name, metric in parsed.items():
        if not ir_measures.DefaultPipeline.supports(metric):
            raise ValueError(f"metrics: no installed library computes {name!r}")
    return {name: metric.params.get("cutoff") for name, metric in parsed.items()}


def _import_ir_measures() -> Any:
    try:
        import ir_measures
    except ImportError:
        raise SerotineError(missing_extra("evaluation", "eval")) from None
    return ir_measures


def _parse(metrics: Sequence[str]) -> dict[str, Any]:
    ir_measures = _import_ir_measures()
    try:
        parsed = {name: ir_measures.parse_measure(name) for name in metrics}
    except (NameError, ValueError) as error:
        raise ValueError(f"metrics: {reason(error)}") from None
    for name, metric in parsed.items():
        try:
            metric.validate_params()
        except AssertionError as error:  # raised by ir-measures
            raise ValueError(f"metrics: {name!r} cannot be computed ({reason(error)})") from None
    return parsed
