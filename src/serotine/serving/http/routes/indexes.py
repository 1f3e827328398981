"""Indexes: list, create, stats, verify, compact, tune."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serotine.serving.http.answer import json_response
from serotine.serving.http.auth import Credentials, MayRead, MayWrite, may_write
from serotine.serving.http.dependencies import services_of
from serotine.serving.http.schemas.indexes import (
    CreateRequest,
    IndexListResponse,
    IndexSummary,
    StatsResponse,
    VerifyResponse,
)
from serotine.serving.indexes import ServedIndex
from serotine.serving.open_index import OpenIndex
from serotine.serving.served_shards import ServedShards
from serotine.serving.services import Services

router = APIRouter(prefix="/v1/indexes", tags=["indexes"])
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


@router.get("", dependencies=[MayRead], response_model=IndexListResponse)
async def list_indexes(request: Request, credentials: Credentials) -> Response:
    """Return all indexes: those named when the server started, in that order, then those of its root by name."""
    services, writes = services_of(request), may_write(request, credentials)

    def work() -> dict[str, Any]:
        return {"indexes": [_summary(services, served, may_write=writes) for served in services.indexes.all()]}

    return json_response(await services.searches.run(work))


@router.post("", dependencies=[MayWrite], status_code=201, response_model=IndexSummary)
async def create_index(request: Request, body: CreateRequest) -> Response:
    """Create an empty index in the server's `--root` folder."""
    services = services_of(request)

    def work() -> dict[str, Any]:
        served = services.indexes.create(
            body.name,
            dim=body.dim,
            nbits=body.nbits,
            keep_vectors=body.keep_vectors,
            filterable={field: _TYPES[type_name] for field, type_name in body.filterable.items()},
        )
        return _summary(services, served, may_write=True)

    return json_response(await services.searches.run(work, is_change=True), 201)


@router.get("/{name}", dependencies=[MayRead], response_model=StatsResponse)
async def index_stats(request: Request, name: str) -> Response:
    """Return counts and sizes of an index."""
    services = services_of(request)
    return json_response(await services.searches.run(lambda: _stats(services, services.index(name).reader)))


@router.post("/{name}/verify", dependencies=[MayRead], response_model=VerifyResponse)
async def verify_index(request: Request, name: str) -> Response:
    """Read and verify everything that an index stores; for a damaged index, return 500 and what is damaged."""
    services = services_of(request)
    return json_response(
        await services.searches.run(
            lambda: asdict(services.index(name).reader.verify()), seconds=services.settings.limits.write_seconds
        )
    )


@router.post("/{name}/compact", dependencies=[MayWrite], response_model=StatsResponse)
async def compact_index(request: Request, name: str) -> Response:
    """Rewrite an index without its deleted documents; searches continue meanwhile."""
    services = services_of(request)
    served = await services.searches.run(lambda: services.index(name))

    def work(index: OpenIndex) -> dict[str, Any]:
        index.compact()
        return _stats(services, index)

    return json_response(await served.changes.run(lambda: served.change(work), is_change=True))


def _stats(services: Services, index: OpenIndex) -> dict[str, Any]:
    stats = asdict(index.stats())
    sources = [Path(name).name for name in stats["unfinished"]]
    return {**stats, "encoder": services.paths.hidden(stats["encoder"]), "unfinished": sources}


def _summary(services: Services, served: ServedIndex | ServedShards, *, may_write: bool) -> dict[str, Any]:
    stats = served.reader.stats()
    return {
        "name": served.name,
        "documents": stats.documents,
        "tokens": stats.tokens,
        "bytes": stats.bytes + stats.catalog_bytes,
        "dim": stats.dim,
        "encoder": services.paths.hidden(stats.encoder),
        "filterable": stats.filterable,
        "writable": served.writable and may_write,
    }
