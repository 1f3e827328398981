"""Searches and explanations of one index."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from serotine.errors import EncoderError, UnknownIdError
from serotine.index import Explanation, Hits
from serotine.serving.answers import as_json, explanation, search_answer
from serotine.serving.arrays import vectors_of
from serotine.serving.auth import MayRead
from serotine.serving.indexes import ServedIndex
from serotine.serving.schemas.search import (
    BatchAnswer,
    BatchRequest,
    ExplainRequest,
    ExplanationBody,
    Options,
    Query,
    SearchAnswer,
    SearchRequest,
)
from serotine.serving.services import Services
from serotine.serving.settings import Limits

router = APIRouter(prefix="/v1/indexes/{name}", tags=["search"], dependencies=[MayRead])
_CANDIDATES_EACH = 100
_Query = str | NDArray[np.floating[Any]]


@router.post("/search", response_model=SearchAnswer)
async def search(request: Request, name: str, body: SearchRequest) -> Response:
    """The best documents for a question, in words or as token vectors."""
    services, started = Services.of(request), time.perf_counter()
    _note(request, services, [body.query])

    def work() -> dict[str, Any]:
        served = services.index(name)
        query = _query(body.query, body.vectors, served, services.settings.limits, "vectors")
        return _answers(services, served, [query], body, started)[0]

    return as_json(await services.searches.run(work))


@router.post("/search/batch", response_model=BatchAnswer)
async def search_batch(request: Request, name: str, body: BatchRequest) -> Response:
    """The best documents for each of many questions."""
    services, started = Services.of(request), time.perf_counter()
    queries = [each if isinstance(each, Query) else Query(query=each) for each in body.queries]
    _note(request, services, [each.query for each in queries])

    def work() -> dict[str, Any]:
        limits = services.settings.limits
        limits.check("queries", len(queries), limits.batch)
        served = services.index(name)
        asked = [
            _query(each.query, each.vectors, served, limits, f"queries[{i}].vectors") for i, each in enumerate(queries)
        ]
        return {"results": _answers(services, served, asked, body, started)}

    return as_json(await services.searches.run(work))


@router.post("/explain", response_model=ExplanationBody)
async def explain(request: Request, name: str, body: ExplainRequest) -> Response:
    """Which token of a document each token of a question chose, with character offsets into both texts."""
    services = Services.of(request)
    _note(request, services, [body.query])
    found = await services.searches.run(lambda: services.index(name).reader.explain(body.query, body.id))
    return as_json(explanation(found))


def _note(request: Request, services: Services, questions: list[str | None]) -> None:
    if services.settings.log_queries:
        request.scope["state"]["logged"]["queries"] = questions


def _query(
    query: str | None, vectors: list[list[float]] | str | None, served: ServedIndex, limits: Limits, name: str
) -> _Query:
    if vectors is None:
        return query or ""
    array = vectors_of(vectors, served.reader.dim, name)
    limits.check(name, len(array), limits.tokens)
    return array


def _answers(
    services: Services, served: ServedIndex, queries: list[_Query], options: Options, started: float
) -> list[dict[str, Any]]:
    limits = services.settings.limits
    limits.check("k", options.k, limits.k)
    limits.check("candidates", options.candidates or 0, _CANDIDATES_EACH * limits.k)
    if options.explain and not all(isinstance(query, str) for query in queries):
        raise ValueError("explain: vectors have no words to explain; ask in words, or leave 'explain' out")
    found = served.reader.search_batch(
        queries,
        options.k,
        where=options.where,
        mode=options.mode,
        exact=options.exact,
        fusion=options.fusion,
        weights=options.weights,
        candidates=options.candidates,
    )
    explained: list[list[Explanation | None]] = [
        _explanations(served, query, hits) if options.explain and isinstance(query, str) else [None] * len(hits)
        for query, hits in zip(queries, found, strict=True)
    ]
    for hits in found:
        seconds = hits.stats.milliseconds.get("search", 0.0) / 1e3
        services.metrics.search_seconds.labels(served.name, hits.stats.plan).observe(seconds)
    total = (time.perf_counter() - started) * 1e3
    return [search_answer(hits, each, total) for hits, each in zip(found, explained, strict=True)]


def _explanations(served: ServedIndex, query: str, hits: Hits) -> list[Explanation | None]:
    return [_explained(served, query, hit.id) if hit.text is not None else None for hit in hits]


def _explained(served: ServedIndex, query: str, id_: str) -> Explanation | None:
    try:
        return served.reader.explain(query, id_)
    except (UnknownIdError, EncoderError):
        # Deleted since it was found, or added with vectors whose tokens are not known: the hit stands, unexplained.
        return None
