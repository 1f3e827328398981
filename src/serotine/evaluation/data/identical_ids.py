"""Documents that have the query's own id: in some collections the questions are documents themselves.

BEIR's evaluation drops such a document everywhere, MTEB's only where questions come from the collection. They differ
on every collection whose ids merely happen to meet, so a number must say which rule it used.
"""

from __future__ import annotations

from typing import Literal, get_args

from serotine.evaluation.data.benchmarks import mteb_drops_identical
from serotine.evaluation.metrics import Run

IdenticalIds = Literal["beir", "mteb", "keep"]
"""`beir`: drop everywhere. `mteb`: drop in ArguAna, FiQA, FEVER, MS MARCO, Quora and TREC-DL. `keep`: drop nowhere."""
RULES: tuple[IdenticalIds, ...] = get_args(IdenticalIds)


def default_rule(benchmark: str | None) -> IdenticalIds:
    """BEIR's for BEIR's collections; elsewhere an id that is met twice says nothing."""
    return "beir" if benchmark == "beir" else "keep"


def drops_identical(rule: IdenticalIds, name: str) -> bool:
    """Whether a rule drops the query's own document in the collection `name`."""
    return rule == "beir" or (rule == "mteb" and mteb_drops_identical(name))


def drop_identical(run: Run, depth: int, *, drop: bool) -> tuple[Run, int]:
    """A run without the queries' own documents, cut to `depth`.

    Args:
        run: at least `depth` + 1 documents a query where `drop`, so that `depth` are left; best first.
        depth: how many to keep.
        drop: whether to drop them.

    Returns:
        The run, and how many documents were dropped.
    """
    count = 0
    kept: Run = {}
    for query, found in run.items():
        own = drop and query in found
        count += own
        others = [(document, score) for document, score in found.items() if not (own and document == query)]
        kept[query] = dict(others[:depth])
    return kept, count
