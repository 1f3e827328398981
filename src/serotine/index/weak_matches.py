"""Weak matches: searches whose best hit scores like those for queries that a collection does not answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from serotine.encoders import source_fingerprint
from serotine.errors import SerotineWarning, UnknownTextWarning, WeakMatchWarning
from serotine.index.hits import Hits
from serotine.index.query_checks import CheckedQuery

# By the encoder's fingerprint: that is 1% or less of the queries that a collection answers, by the distributions in
# `benchmarks/results/`. serotine-mini, `min_score.json`: below it are 78% of queries of other collections and 94% of
# random letters. serotine-multi, `min_score_multi.json`, whose scores are close together: 37% and 47%.
_THRESHOLDS = {"8f90f635e69e709d": 0.55, "7f1c381e07228061": 0.86}


def weak_match(
    text: str | None, hits: Hits, query: CheckedQuery, fingerprint: str | None
) -> tuple[WeakMatchWarning, ...]:
    """Return the warning about hits of which even the best is weak, where that was measured for the encoder.

    In mode "hybrid" the best by MaxSim counts, as in mode "late", whether or not it is a hit; so no score is named.

    Args:
        text: of the query; None where it was given as vectors, which no distribution was measured for.
        hits: of the query.
        query: its options, of which a lowest score replaces the warning, and its warnings, as does one that MaxSim says
            little.
        fingerprint: of the encoder of the index.
    """
    # Arithmetic changes scores less than the threshold's digits.
    threshold = _THRESHOLDS.get(source_fingerprint(fingerprint or ""))
    best = hits.stats.best_score_per_token
    if text is None or not hits or query.options.mode == "bm25" or query.options.min_score is not None:
        return ()
    if any(isinstance(warning, UnknownTextWarning) for warning in query.warnings):
        return ()
    if threshold is None or best is None or best >= threshold:
        return ()
    return (
        WeakMatchWarning(
            f"hits: weak matches, even the best below {threshold:.2f} per query token; the documents seldom answer "
            "such a query"
        ),
    )


def merged_warnings(results: Sequence[Hits]) -> list[SerotineWarning]:
    """Return the warnings of the hits of several indexes for one query, each once.

    Matches of one index are weak only where those of the others are too.
    """
    all_weak = all(_is_weak(hits.warnings) for hits in results if hits)
    warnings = {
        (type(warning), str(warning)): warning
        for hits in results
        for warning in hits.warnings
        if all_weak or not isinstance(warning, WeakMatchWarning)
    }
    return list(warnings.values())


def _is_weak(warnings: Iterable[SerotineWarning]) -> bool:
    return any(isinstance(warning, WeakMatchWarning) for warning in warnings)
