"""The search plan: the stages a query goes through in the compiled core, and their outcome."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from serotine import _core, maxsim
from serotine.index.hits import Certificate
from serotine.index.search.effort import Effort
from serotine.index.store import Snapshot
from serotine.wording import worded

# Documents scored over the residuals of their best tokens: a base, plus some per document scored over all its codes,
# plus up to one more per such document where hits are few: ten need more of them than a hundred.
_REFINED, _REFINED_PER_CANDIDATE, _FEW_HITS = 300, 3, 10
# Documents scored over their stored vectors: by bits a share more than the hits, at least so many more, or one of so
# many candidates. Codes of 2 bits order them so roughly that a quarter more loses 2% of a hundred hits, with
# serotine-mini on 20,000 package descriptions.
_RESCORED_SHARE = {2: 0.75, 4: 0.25, 8: 0.25}
_MIN_RESCORED_EXTRA = {2: 20, 4: 5, 8: 5}
_CANDIDATES_PER_RESCORED = 40
# Allowed documents of one codebook, in segments with posting lists, from which lists are read: of fewer, a scan takes
# no longer. Measured on package descriptions, for ten hits.
PROBED_FROM = 20_000
# And so many per document scored over its residuals: a probe scores three scattered documents for each over their
# centroids, which takes two to three times as long as in a scan, and reads lists before.
_PROBED_FROM_PER_REFINED = 18
# Postings read: a base, plus some per document of the collection, plus some per document and candidate. Half as many
# again find up to 0.001 more of ten hits among 20,000 or 61,402 package descriptions, and 0.007 more of a million
# passages (benchmarks/million.py), where more candidates find as much in less time.
_POSTINGS, _POSTINGS_PER_DOCUMENT, _POSTINGS_PER_DOCUMENT_AND_CANDIDATE = 30_000, 1.0, 0.002


def _stages(effort: Effort, depth: int, bits: int, documents: int) -> _core.SearchOptions:
    """Return the number of documents that each stage of a late search scores.

    Args:
        effort: how thoroughly to search.
        depth: number of documents to rank.
        bits: of the codes per dimension.
        documents: number of documents of the collection.
    """
    candidates = depth if effort.candidates is None else effort.candidates
    refined_per_candidate = _REFINED_PER_CANDIDATE + min(_FEW_HITS / max(depth, 1), 1.0)
    postings_per_document = _POSTINGS_PER_DOCUMENT + _POSTINGS_PER_DOCUMENT_AND_CANDIDATE * candidates
    extra = max(
        math.floor(depth * _RESCORED_SHARE[bits]), candidates // _CANDIDATES_PER_RESCORED, _MIN_RESCORED_EXTRA[bits]
    )
    refined = _REFINED + math.ceil(refined_per_candidate * candidates)
    return _core.SearchOptions(
        k=depth,
        refined=refined,
        candidates=candidates,
        rescored=depth + extra,
        postings=_POSTINGS + math.ceil(documents * postings_per_document),
        exact=effort.candidates is None,
        probed_from=max(PROBED_FROM, _PROBED_FROM_PER_REFINED * refined),
    )


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best documents of one query, with the work done.

    Attributes:
        scores: best first, finite: documents without tokens are not ranked.
        numbers: document numbers.
        plan: the stages in words.
        counts: number of documents scored by each stage.
        tokens: number of document tokens scored over codes or vectors.
        milliseconds: wall time of each stage.
        certificate: the proof of an exact search.
        late: MaxSim by document number, of the documents whose vectors were scored; in mode "xtr" the score.
        effort: of the late search.
    """

    scores: list[float]
    numbers: list[int]
    plan: str
    counts: dict[str, int]
    tokens: int
    milliseconds: dict[str, float]
    certificate: Certificate | None
    late: dict[int, float] = field(default_factory=dict)
    effort: Effort = field(default_factory=Effort)


def rank(
    snapshot: Snapshot,
    queries: Sequence[NDArray[np.float32]],
    effort: Effort,
    depth: int,
    matching: NDArray[np.int64] | None,
) -> list[Ranking]:
    """Rank the `depth` best live documents for every query by MaxSim.

    Args:
        snapshot: the state to search.
        queries: float32 (tokens, dim) each.
        effort: how thoroughly to search.
        depth: number of documents to rank.
        matching: document numbers that pass the filter, ascending, or None without a filter.
    """
    views = list(snapshot.segments.values())
    bits = min((view.segment.bits for view in views if view.segment.codes is not None), default=4)
    results, documents = _search(snapshot, queries, _stages(effort, depth, bits, snapshot.documents), matching)
    has_vectors = all(view.segment.vectors is not None for view in views)
    return [_ranking(result, documents, effort, has_vectors=has_vectors) for result in results]


def rank_xtr(
    snapshot: Snapshot,
    queries: Sequence[NDArray[np.float32]],
    k_token: int,
    depth: int,
    matching: NDArray[np.int64] | None,
) -> list[Ranking]:
    """Rank the `depth` best documents that have a retrieved token by XTR (Lee et al. 2023, arXiv 2304.01982).

    Args:
        snapshot: the state to search.
        queries: float32 (tokens, dim) each.
        k_token: tokens that every query token retrieves.
        depth: number of documents to rank.
        matching: document numbers that pass the filter, ascending, or None without a filter.
    """
    options = _core.SearchOptions(
        k=depth, refined=0, candidates=0, rescored=0, postings=0, exact=False, k_token=k_token
    )
    rankings = []
    results, documents = _search(snapshot, queries, options, matching)
    for result in results:
        counts, times = _work(result.report)
        late = dict(zip(result.numbers, result.scores, strict=True))
        rankings.append(
            Ranking(
                result.scores,
                result.numbers,
                "xtr",
                {"allowed": documents, **counts},
                result.report.tokens,
                times,
                None,
                late,
            )
        )
    return rankings


def document_scores(
    snapshot: Snapshot, query: NDArray[np.float32], numbers: Sequence[int]
) -> tuple[dict[int, float], int]:
    """Return the MaxSim of documents by number, of those that are there, and the number of their tokens."""
    located = {number: snapshot.locate(number) for number in numbers}
    present = {number: location for number, location in located.items() if location is not None}
    documents = [segment.document(position) for segment, position in present.values()]
    if not documents:
        return {}, 0
    return dict(zip(present, maxsim.score(query, documents).tolist(), strict=True)), sum(map(len, documents))


def _search(
    snapshot: Snapshot,
    queries: Sequence[NDArray[np.float32]],
    options: _core.SearchOptions,
    matching: NDArray[np.int64] | None,
) -> tuple[list[_core.SearchResult], int]:
    """Return the core's results, and the number of documents that were allowed."""
    views = list(snapshot.segments.values())
    masks = [view.allowed(matching) for view in views]
    searched = [
        (view.segment.core, mask)
        for view, mask in zip(views, masks, strict=True)
        if view.documents and (mask is None or mask.any())
    ]
    documents = sum(
        view.documents if matching is None or mask is None else int(np.unpackbits(mask.view(np.uint8)).sum())
        for view, mask in zip(views, masks, strict=True)
    )
    offsets = np.zeros(len(queries) + 1, dtype=np.int64)
    np.cumsum([len(query) for query in queries], out=offsets[1:])
    results = _core.search(
        np.concatenate(queries), offsets, [core for core, _ in searched], [mask for _, mask in searched], options
    )
    return results, documents


def _work(report: _core.SearchReport) -> tuple[dict[str, int], dict[str, float]]:
    """Return the number of documents that each stage scored, and its milliseconds."""
    counts = {}
    times = {}
    for stage in ("centroids", "residuals", "codes", "vectors"):
        if count := getattr(report, f"by_{stage}"):
            counts[stage] = count
            times[stage] = getattr(report, f"{stage}_ms")
    return counts, times


def _ranking(result: _core.SearchResult, documents: int, effort: Effort, *, has_vectors: bool) -> Ranking:
    # Documents without tokens score -inf, after all others: they match nothing.
    count = sum(score != -math.inf for score in result.scores)
    scores, numbers, report = result.scores[:count], result.numbers[:count], result.report
    exact = effort.candidates is None
    certificate = _certificate(scores, report, documents, has_vectors=has_vectors) if exact else None
    counts, times = _work(report)
    scored_exactly = not report.by_codes or (has_vectors and report.by_vectors >= documents)
    return Ranking(
        scores,
        numbers,
        _plan(report, exact=exact),
        {"allowed": documents, **counts},
        report.tokens,
        times,
        certificate,
        dict(zip(numbers, scores, strict=True)),
        _proved(effort) if scored_exactly or (certificate and certificate.exact) else effort,
    )


def _proved(effort: Effort) -> Effort:
    """Return the effort of a search that scored every document exactly, or has a proof."""
    return replace(effort, expected_recall=1.0, recall_lower_bound=1.0)


def _plan(report: _core.SearchReport, *, exact: bool) -> str:
    """Name the stages used, for example "scan" or "probe + flat"."""
    names = {"probed": "probe", "scanned": "scan", "direct": "direct"}
    if exact and report.by_codes:
        stages = ["bounds"]
    else:
        stages = [name for field, name in names.items() if getattr(report, field)]
    if report.flat or not stages:
        stages.append("flat")
    return " + ".join(stages)


def proof_advice() -> str:
    """Return how to get a proof where vectors are not stored."""
    return worded(
        "Create the index with keep_vectors=True for a proof.",
        http="An index that stores vectors gives a proof.",
        command="Index with --keep-vectors for a proof.",
    )


def _certificate(scores: list[float], report: _core.SearchReport, documents: int, *, has_vectors: bool) -> Certificate:
    kth = scores[-1] if scores else float("-inf")
    bound, undecided, rescored = report.bound, report.undecided, report.by_vectors
    rest = max(documents - rescored, 0)
    if has_vectors:
        statement = f"Exact: {rescored:,} of {documents:,} documents were scored over their float16 vectors" + (
            f"; no bound of the other {rest:,} reaches the last hit's score." if rest else "."
        )
        return Certificate(True, kth, bound, rescored, 0, statement)
    if not undecided:
        statement = (
            "Exact: vectors are not stored, but the error bounds of the codes prove that no document outside the hits "
            "scores higher than one of them; the order of the hits is estimated."
        )
        return Certificate(True, kth, bound, rescored, 0, statement)
    statement = (
        f"Not proved: vectors are not stored, and the error bounds of the codes leave {undecided:,} of {documents:,} "
        f"documents that could belong among the hits. {proof_advice()}"
    )
    return Certificate(False, kth, bound, rescored, undecided, statement)
