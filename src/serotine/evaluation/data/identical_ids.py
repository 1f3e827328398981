"""Documents that have the id of the query: in some collections the queries are documents themselves.

BEIR's evaluation drops such a document everywhere, MTEB's only in collections whose queries are documents. The rules
differ on every collection whose ids coincide by chance, so a figure must name its rule.
"""

from __future__ import annotations

from typing import Literal, get_args

from serotine.evaluation.data.benchmarks import mteb_drops_identical
from serotine.evaluation.metrics import Run

IdenticalIds = Literal["beir", "mteb", "keep"]
"""`beir`: drop everywhere. `mteb`: drop in ArguAna, FiQA, FEVER, MS MARCO, Quora and TREC-DL. `keep`: drop nowhere."""
RULES: tuple[IdenticalIds, ...] = get_args(IdenticalIds)


def default_rule(benchmark: str | None) -> IdenticalIds:
    """Return BEIR's rule for its own collections; in others, identical ids mean nothing."""
    return "beir" if benchmark == "beir" else "keep"


def drops_identical(rule: IdenticalIds, name: str) -> bool:
    """Return whether a rule drops the query's own document in the collection `name`."""
    return rule == "beir" or (rule == "mteb" and mteb_drops_identical(name))


def drop_identical(run: Run, depth: int, *, drop: bool) -> tuple[Run, int]:
    """Return a run cut to `depth`, without the queries' own documents, and the number of documents dropped.

    Args:
        run: best documents first; to drop, at least `depth` + 1 documents per query, so that `depth` remain.
        depth: the number of documents per query.
        drop: whether to drop documents with the query's id.
    """
    dropped = 0
    shortened: Run = {}
    for query, scores in run.items():
        identical = drop and query in scores
        dropped += identical
        ranking = [(document, score) for document, score in scores.items() if not (identical and document == query)]
        shortened[query] = dict(ranking[:depth])
    return shortened, dropped
