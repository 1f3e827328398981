"""From a query to hits: the modes, the filter, and the rows that belong to what was found."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexDamagedError, SerotineError
from serotine.index import fusion, searching
from serotine.index.catalog import Catalog
from serotine.index.hits import Hit, Hits, SearchStats
from serotine.index.searching import Ranking
from serotine.index.snapshot import Snapshot

Mode = Literal["late", "bm25", "hybrid"]
Fusion = Literal["rrf", "sum"]
# What each side of a hybrid search brings: deep enough that a document good in both is seen in both.
_FUSED_LEAST, _FUSED_EACH = 100, 2
# How often a search begins again because a writer removed what it had found.
_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a search, checked.

    Attributes:
        k: how many hits.
        where: the filter.
        mode: which rankings.
        exact: whether to prove it.
        fusion: how a hybrid search joins its two rankings.
        weights: of the late and the lexical ranking.
        candidates: documents scored over their codes, or None for what `k` takes.
    """

    k: int
    where: Mapping[str, Any] | None = None
    mode: Mode = "late"
    exact: bool = False
    fusion: Fusion = "rrf"
    weights: tuple[float, float] = (1.0, 1.0)
    candidates: int | None = None


def check_request(request: Request) -> Request:
    """Refuses what cannot be meant; the numbers of what is returned are Python's own.

    Raises:
        TypeError, ValueError: naming the argument.
    """
    for name, value in (("k", request.k), ("candidates", request.candidates)):
        if value is None and name != "k":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name}: want an int of at least 1, got {type(value).__name__}")
        if value < 1:
            raise ValueError(f"{name}: want at least 1, got {value}")
    if request.mode not in get_args(Mode):
        raise ValueError(f"mode: want one of {', '.join(get_args(Mode))}, got {request.mode!r}")
    if request.fusion not in get_args(Fusion):
        raise ValueError(f"fusion: want one of {', '.join(get_args(Fusion))}, got {request.fusion!r}")
    if request.exact and request.mode != "late":
        raise ValueError('exact: only mode="late" can be proved; leave one of the two out')
    if request.where is not None and not isinstance(request.where, Mapping):
        raise TypeError(f"where: want a dict such as {{'lang': 'en'}}, got {type(request.where).__name__}")
    weights = request.weights
    if len(weights) != 2 or any(not np.isfinite(w) or w < 0 for w in weights) or not any(weights):
        raise ValueError(f"weights: want two numbers of at least 0, not both 0, got {weights}")
    candidates = None if request.candidates is None else int(request.candidates)
    # NumPy's integers are none that SQLite takes.
    return replace(request, k=int(request.k), candidates=candidates)


class Retriever:
    """Answers requests from the newest snapshot that `current` gives."""

    def __init__(self, catalog: Catalog, current: Callable[[], Snapshot]) -> None:
        self._catalog = catalog
        self._current = current

    def answer(
        self,
        request: Request,
        vectors: Sequence[NDArray[np.float32]],
        questions: Sequence[str | None],
        encoding: float,
    ) -> list[Hits]:
        """Hits for every query: by token vectors on the late side, if the mode has one, and questions on the lexical.

        `encoding` is the time the encoder took for each, in milliseconds.
        """
        if not questions:
            return []
        before = self._current()
        for left in reversed(range(_ATTEMPTS)):
            # A writer that commits without pause must not keep searches from ending; only a proof admits no doubt.
            found = self._attempt(request, vectors, questions, encoding, lenient=not left and not request.exact)
            if found is not None:
                return found
        if self._current() is before:
            raise IndexDamagedError(
                "a document that a segment holds is not in the catalog; restore the index from a backup"
            )
        raise SerotineError("the index is being rewritten faster than it can be read; try again")

    def _attempt(
        self,
        request: Request,
        vectors: Sequence[NDArray[np.float32]],
        questions: Sequence[str | None],
        encoding: float,
        *,
        lenient: bool,
    ) -> list[Hits] | None:
        """One attempt; None where a writer has changed meanwhile what it reads.

        `lenient`: only where a document found has been removed.
        """
        snapshot = self._current()
        started = time.perf_counter()
        matching = None if request.where is None else self._catalog.matching(request.where)
        filtering = _since(started)
        started = time.perf_counter()
        depth = request.k if request.mode != "hybrid" else max(request.k * _FUSED_EACH, _FUSED_LEAST)
        words: list[Ranking] = []
        if request.mode != "late":
            allowed = snapshot.documents if matching is None else matching.size
            words = [self._lexical(request, depth, question, allowed) for question in questions]
        # What the catalog said must be of the documents that the snapshot has: one replaced in between would be
        # missed, or found under both its numbers.
        reads_both = request.mode == "hybrid" or (request.mode == "late" and matching is not None)
        if reads_both and not lenient and self._current() is not snapshot:
            return None
        rankings = words if request.mode == "bm25" else self._late(snapshot, request, depth, vectors, matching)
        if request.mode == "hybrid":
            rankings = [_fused(one, other, request) for one, other in zip(rankings, words, strict=True)]
        searched = _since(started) / len(questions)
        out = []
        for ranking in rankings:
            started = time.perf_counter()
            rows = self._catalog.rows(ranking.numbers)
            if len(rows) < len(ranking.numbers):
                return None
            hits = tuple(
                Hit(rows[number].id, score, rows[number].text, rows[number].metadata)
                for number, score in zip(ranking.numbers, ranking.scores, strict=True)
            )
            times = {"encode": encoding, **ranking.milliseconds, "search": searched, "fetch": _since(started)}
            if request.where is not None:
                times["filter"] = filtering
            stats = SearchStats(ranking.plan, ranking.counts.get("allowed", 0), ranking.tokens, ranking.counts, times)
            out.append(Hits(hits, stats, ranking.certificate))
        return out

    def _late(
        self,
        snapshot: Snapshot,
        request: Request,
        k: int,
        vectors: Sequence[NDArray[np.float32]],
        matching: NDArray[np.int64] | None,
    ) -> list[Ranking]:
        effort = searching.effort_for(k, request.candidates)
        return searching.rank(snapshot, vectors, k, effort=effort, matching=matching, exact=request.exact)

    def _lexical(self, request: Request, k: int, question: str | None, allowed: int) -> Ranking:
        found = self._catalog.lexical(question or "", k, request.where)
        numbers, scores = [number for number, _ in found], [score for _, score in found]
        return Ranking(scores, numbers, "bm25", {"allowed": allowed, "bm25": len(found)}, 0, {}, None)


def _fused(late: Ranking, lexical: Ranking, request: Request) -> Ranking:
    if request.fusion == "rrf":
        fused = fusion.reciprocal_rank([late.numbers, lexical.numbers], weights=request.weights)
    else:
        pairs = [list(zip(each.numbers, each.scores, strict=True)) for each in (late, lexical)]
        # A document without tokens scores -inf: found, and worth nothing.
        finite = [[pair for pair in each if pair[1] != -math.inf] for each in pairs]
        fused = fusion.weighted_sum(finite, request.weights)
        counted = {number for number, _ in fused}
        worthless = {number: 0.0 for each in pairs for number, _ in each if number not in counted}
        fused = sorted([*fused, *worthless.items()], key=lambda pair: (-pair[1], pair[0]))
    fused = fused[: request.k]
    return Ranking(
        [score for _, score in fused],
        [number for number, _ in fused],
        f"{late.plan} + bm25",
        {**late.counts, "bm25": len(lexical.numbers)},
        late.tokens,
        late.milliseconds,
        None,
    )


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
