"""The search plan: which stages a query goes through, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serotine import _core
from serotine.index.results import Certificate
from serotine.index.store.snapshot import Snapshot

# Documents that are scored over their codes: this many, and this many more for each that is asked for. Measured for
# recall@10 above 0.98 and recall@100 above 0.97 of exact (benchmarks/index.py).
_CANDIDATES, _CANDIDATES_EACH = 76, 2
# Documents whose best tokens' residuals are scored, for each that is scored over all its codes.
_REFINED = 10
# Documents that are scored over their kept vectors: a quarter more than are asked for, and at least this many more.
_RESCORED = 10
# Postings that are read in segments that have lists: this many, and this many more for each document that is scored
# over its codes. Measured on a million passages for recall@10 above 0.95 (benchmarks/million.py).
_POSTINGS, _POSTINGS_EACH = 1_200_000, 5_000


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work a search does; more of it finds more of the exact answer.

    Attributes:
        refined: documents scored over the residuals of their best tokens.
        candidates: documents scored over their residual codes.
        rescored: documents scored over their kept float16 vectors.
        postings: about how many postings are read, in segments that have them.
    """

    refined: int
    candidates: int
    rescored: int
    postings: int


def effort_for(k: int, candidates: int | None) -> Effort:
    """What k hits take, unless `candidates` says otherwise."""
    wanted = _CANDIDATES + _CANDIDATES_EACH * k if candidates is None else max(candidates, k)
    return Effort(_REFINED * wanted, wanted, k + max(k // 4, _RESCORED), _POSTINGS + _POSTINGS_EACH * wanted)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best documents of one query, and what was done to find them.

    Attributes:
        scores: MaxSim, best first.
        numbers: document numbers.
        plan: the stages in words.
        counts: documents that each stage scored.
        tokens: document tokens that were scored over codes or vectors.
        milliseconds: of each stage.
        certificate: what an exact search proved.
    """

    scores: list[float]
    numbers: list[int]
    plan: str
    counts: dict[str, int]
    tokens: int
    milliseconds: dict[str, float]
    certificate: Certificate | None


def rank(
    snapshot: Snapshot,
    queries: Sequence[NDArray[np.float32]],
    k: int,
    *,
    effort: Effort,
    matching: NDArray[np.int64] | None = None,
    exact: bool = False,
) -> list[Ranking]:
    """The k best live documents of every query, float32 (tokens, dim), among the numbers `matching` where given."""
    parts = list(snapshot.parts.values())
    allowed = [part.allowed(matching) for part in parts]
    chosen = [
        (part.segment.core, mask)
        for part, mask in zip(parts, allowed, strict=True)
        if part.documents and (mask is None or mask.any())
    ]
    documents = sum(
        part.documents if matching is None or mask is None else int(np.unpackbits(mask.view(np.uint8)).sum())
        for part, mask in zip(parts, allowed, strict=True)
    )
    offsets = np.zeros(len(queries) + 1, dtype=np.int64)
    np.cumsum([len(query) for query in queries], out=offsets[1:])
    options = _core.SearchOptions(
        k=k,
        refined=effort.refined,
        candidates=effort.candidates,
        rescored=effort.rescored,
        postings=effort.postings,
        exact=exact,
    )
    results = _core.search(
        np.concatenate(queries), offsets, [core for core, _ in chosen], [mask for _, mask in chosen], options
    )
    kept = all(part.segment.vectors is not None for part in parts)
    return [_ranking(result, documents, exact=exact, kept=kept) for result in results]


def _ranking(result: _core.SearchResult, documents: int, *, exact: bool, kept: bool) -> Ranking:
    scores, report = result.scores, result.report
    counts = {"allowed": documents}
    times = {}
    for stage in ("centroids", "residuals", "codes", "vectors"):
        if count := getattr(report, f"by_{stage}"):
            counts[stage] = count
            times[stage] = getattr(report, f"{stage}_ms")
    return Ranking(
        scores,
        result.numbers,
        _plan(report, exact=exact),
        counts,
        report.tokens,
        times,
        _certificate(scores, report, documents, kept=kept) if exact else None,
    )


def _plan(report: _core.SearchReport, *, exact: bool) -> str:
    """Names the ways that were taken, for example "scan" or "probe + flat"."""
    stages = {"probed": "probe", "scanned": "scan", "direct": "direct"}
    ways = ["bounds"] if exact and report.by_codes else [name for way, name in stages.items() if getattr(report, way)]
    if report.flat or not ways:
        ways.append("flat")
    return " + ".join(ways)


def _certificate(scores: list[float], report: _core.SearchReport, documents: int, *, kept: bool) -> Certificate:
    kth = scores[-1] if scores else float("-inf")
    bound, undecided, rescored = report.bound, report.undecided, report.by_vectors
    rest = max(documents - rescored, 0)
    if kept:
        statement = f"Exact: {rescored:,} of {documents:,} documents were scored over their float16 vectors" + (
            f"; no bound of the other {rest:,} reaches the last hit's score." if rest else "."
        )
        return Certificate(True, kth, bound, rescored, 0, statement)
    if not undecided:
        statement = (
            "Exact: vectors are not kept, but the error bounds of the codes prove that no document outside the hits "
            "scores higher than one of them; their own order is by estimate."
        )
        return Certificate(True, kth, bound, rescored, 0, statement)
    statement = (
        f"Not proved: vectors are not kept, and the error bounds of the codes leave {undecided:,} of {documents:,} "
        "documents that could belong among the hits. Create the index with keep_vectors=True to be certain."
    )
    return Certificate(False, kth, bound, rescored, undecided, statement)
