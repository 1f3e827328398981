"""Searches of one index or several, explanations, and the recall of searches."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from serotine.errors import EncoderError, UnknownIdError
from serotine.index import Explanation, Hit, Hits, Index, SearchOptions, search_several
from serotine.issued_warnings import muted_warnings
from serotine.serving.errors import not_for_shards
from serotine.serving.http.answer import Answer, join_list, join_object, json_response
from serotine.serving.http.auth import MayRead, MayWrite
from serotine.serving.http.dependencies import services_of
from serotine.serving.http.responses import explanation, search_result, several_result, with_total
from serotine.serving.http.schemas.search import (
    BatchRequest,
    BatchResponse,
    ExplainRequest,
    ExplanationResponse,
    Query,
    SearchBody,
    SearchRequest,
    SearchResponse,
    SeveralRequest,
    SeveralResponse,
    TuneRequest,
    TuneResponse,
)
from serotine.serving.http.vectors import parse_vectors
from serotine.serving.indexes import ServedIndex
from serotine.serving.served_shards import ServedShards
from serotine.serving.services import Services
from serotine.serving.settings import Limits
from serotine.wording import worded

router = APIRouter(prefix="/v1", tags=["search"], dependencies=[MayRead])
_CANDIDATES_PER_HIT = 100
_Served = ServedIndex | ServedShards
_QueryValue = str | NDArray[np.floating[Any]]


@router.post("/indexes/{name}/search", response_model=SearchResponse)
async def search(request: Request, name: str, body: SearchRequest) -> Response:
    """Return the best documents for a query, given as text or as token vectors."""
    services, started = services_of(request), time.perf_counter()
    _log_queries(request, services, [body.query])

    def work() -> bytes:
        served = services.index(name)
        query = _query_value(body.query, body.vectors, served, services.settings.limits, "vectors")
        return join_object(_results(services, served, [query], body, started)[0])

    return json_response(await services.searches.run(work))


@router.post("/indexes/{name}/search/batch", response_model=BatchResponse)
async def search_batch(request: Request, name: str, body: BatchRequest) -> Response:
    """Return the best documents for each of many queries."""
    services, started = services_of(request), time.perf_counter()
    queries = [_as_query(query) for query in body.queries]
    _log_queries(request, services, [query.query for query in queries])

    def work() -> bytes:
        limits = services.settings.limits
        limits.check("queries", len(queries), limits.batch)
        served = services.index(name)
        values = _query_values(queries, served, limits)
        results = _results(services, served, values, body, started)
        return join_object({"results": join_list(map(join_object, results))})

    return json_response(await services.searches.run(work))


@router.post("/search", response_model=SeveralResponse)
async def search_indexes(request: Request, body: SeveralRequest) -> Response:
    """Search several indexes as one: return the best documents of all, each with the name of its index."""
    services, started = services_of(request), time.perf_counter()
    _log_queries(request, services, [body.query])

    def work() -> bytes:
        limits = services.settings.limits
        limits.check("indexes", len(body.indexes), limits.batch)
        _check_effort(body, limits)
        served = [services.index(name) for name in body.indexes]
        options = SearchOptions(body.k, **body.keywords())
        found = search_several([one.reader for one in served], body.query, options)
        hits = ((served[hit.result], found.results[hit.result][hit.position]) for hit in found.merged)
        explained = (_explanation_of(one, body.query, hit) if body.explain else None for one, hit in hits)
        _observe(services, zip(served, found.results, strict=True))
        result = several_result(body.indexes, found, explained, services.paths, _answer(limits, body.k))
        return join_object(with_total(result, _milliseconds_since(started)))

    return json_response(await services.searches.run(work))


@router.post("/indexes/{name}/explain", response_model=ExplanationResponse)
async def explain(request: Request, name: str, body: ExplainRequest) -> Response:
    """Return which document token each query token chose, with character offsets into both texts."""
    services = services_of(request)
    _log_queries(request, services, [body.query])
    explained = await services.searches.run(lambda: services.index(name).reader.explain(body.query, body.id))
    return json_response(explanation(explained))


@router.post("/indexes/{name}/tune", dependencies=[MayWrite], response_model=TuneResponse)
async def tune(request: Request, name: str, body: TuneRequest) -> Response:
    """Measure which effort keeps which recall, so that searches do no more than their `recall` needs."""
    services = services_of(request)
    served = await services.searches.run(lambda: services.index(name))
    if isinstance(served, ServedShards):
        raise not_for_shards("tune", name, "each shard measures itself when it is built or compacted")
    queries = None if body.queries is None else [_as_query(query) for query in body.queries]
    _log_queries(request, services, [query.query for query in queries or []])

    limits = services.settings.limits
    limits.check("queries", len(queries or ()), limits.batch)

    def work(index: Index) -> dict[str, Any]:
        return asdict(index.tune(None if queries is None else _query_values(queries, served, limits)))

    return json_response(await served.changes.run(lambda: served.change(work), is_change=True))


def _as_query(query: str | Query) -> Query:
    return query if isinstance(query, Query) else Query(query=query)


def _log_queries(request: Request, services: Services, queries: list[str | None]) -> None:
    if services.settings.log_queries:
        request.scope["state"]["logged"]["queries"] = queries


def _query_values(queries: Sequence[Query], served: _Served, limits: Limits) -> list[_QueryValue]:
    return [
        _query_value(query.query, query.vectors, served, limits, f"queries[{i}].vectors")
        for i, query in enumerate(queries)
    ]


def _query_value(
    query: str | None, vectors: list[list[float]] | str | None, served: _Served, limits: Limits, name: str
) -> _QueryValue:
    if vectors is None:
        return query or ""
    array = parse_vectors(vectors, served.reader.dim, name)
    limits.check(name, len(array), limits.tokens)
    return array


def _results(
    services: Services, served: _Served, queries: list[_QueryValue], body: SearchBody, started: float
) -> list[dict[str, Any]]:
    limits = services.settings.limits
    _check_effort(body, limits)
    if body.explain and not all(isinstance(query, str) for query in queries):
        raise ValueError("explain: requires text queries, got vectors; send 'query', or omit 'explain'")
    if body.mode == "pooled" and not all(isinstance(query, str) for query in queries):
        fix = worded('search for a text, or use mode="late"', http="send 'query', or use \"late\"")
        raise ValueError(f"mode: pooled needs a text, got vectors; {fix}")
    answer = _answer(limits, body.k, len(queries))
    results: list[dict[str, Any]] = []
    # As many as have the hits of one query together: their texts are read before the size of the response is known.
    step = max(limits.k // body.depth, 1)
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        # The answer has each query's warnings.
        with muted_warnings():
            found = served.reader.search_batch(some, body.k, **body.keywords())
        _observe(services, ((served, hits) for hits in found))
        for query, hits in zip(some, found, strict=True):
            explained = (
                _explanation_of(served, query, hit) if body.explain and isinstance(query, str) else None for hit in hits
            )
            results.append(search_result(hits, explained, services.paths, answer))
    total = _milliseconds_since(started)
    return [with_total(result, total) for result in results]


def _answer(limits: Limits, hits: int, queries: int = 1) -> Answer:
    fixes = [("ask for fewer hits with 'k'", hits > 1), ("send fewer queries at once", queries > 1)]
    return Answer(limits.answer, ", or ".join(fix for fix, applies in fixes if applies))


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3


def _check_effort(body: SearchBody, limits: Limits) -> None:
    limits.check("k + offset" if body.offset else "k", body.depth, limits.k)
    limits.check("candidates", body.candidates or 0, _CANDIDATES_PER_HIT * limits.k)


def _observe(services: Services, searched: Iterable[tuple[_Served, Hits]]) -> None:
    for served, hits in searched:
        seconds = hits.stats.milliseconds.get("search", 0.0) / 1e3
        services.metrics.search_seconds.labels(served.name, hits.stats.plan).observe(seconds)


def _explanation_of(served: _Served, query: str, hit: Hit) -> Explanation | None:
    if hit.text is None:
        return None
    try:
        return served.reader.explain(query, hit.id)
    except (UnknownIdError, EncoderError):
        # Deleted since the search, or added with vectors whose tokens are unknown: the hit has no explanation.
        return None
