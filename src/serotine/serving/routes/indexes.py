"""The indexes themselves: list, create, stats, verify, compact."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serotine.index import Index
from serotine.serving.answers import as_json
from serotine.serving.auth import MayRead, MayWrite
from serotine.serving.indexes import ServedIndex
from serotine.serving.schemas.indexes import CreateRequest, IndexBody, IndexList, StatsBody, VerifyBody
from serotine.serving.services import Services

router = APIRouter(prefix="/v1/indexes", tags=["indexes"])
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


@router.get("", dependencies=[MayRead], response_model=IndexList)
async def list_indexes(request: Request) -> Response:
    """All indexes, by name."""
    services = Services.of(request)
    return as_json({"indexes": await services.searches.run(lambda: [_short(each) for each in services.indexes.all()])})


@router.post("", dependencies=[MayWrite], status_code=201, response_model=IndexBody)
async def create_index(request: Request, body: CreateRequest) -> Response:
    """Makes an empty index in the server's `--root` folder."""
    services = Services.of(request)

    def work() -> dict[str, Any]:
        made = services.indexes.create(
            body.name,
            dim=body.dim,
            nbits=body.nbits,
            keep_vectors=body.keep_vectors,
            filterable={field: _TYPES[kind] for field, kind in body.filterable.items()},
        )
        return _short(made)

    return as_json(await services.searches.run(work, is_change=True), 201)


@router.get("/{name}", dependencies=[MayRead], response_model=StatsBody)
async def index_stats(request: Request, name: str) -> Response:
    """Counts and sizes of an index."""
    services = Services.of(request)
    return as_json(await services.searches.run(lambda: asdict(services.index(name).reader.stats())))


@router.post("/{name}/verify", dependencies=[MayRead], response_model=VerifyBody)
async def verify_index(request: Request, name: str) -> Response:
    """Reads everything that an index stores and checks it; a damaged one is answered with 500 and what is damaged."""
    services = Services.of(request)
    return as_json(
        await services.searches.run(
            lambda: asdict(services.index(name).reader.verify()), seconds=services.settings.limits.write_seconds
        )
    )


@router.post("/{name}/compact", dependencies=[MayWrite], response_model=StatsBody)
async def compact_index(request: Request, name: str) -> Response:
    """Rewrites an index without its deleted documents; searches go on meanwhile."""
    services = Services.of(request)
    served = await services.searches.run(lambda: services.index(name))

    def work(index: Index) -> dict[str, Any]:
        index.compact()
        return asdict(index.stats())

    return as_json(await served.changes.run(lambda: served.change(work), is_change=True))


def _short(served: ServedIndex) -> dict[str, Any]:
    stats = served.reader.stats()
    return {
        "name": served.name,
        "documents": stats.documents,
        "tokens": stats.tokens,
        "bytes": stats.bytes + stats.catalog_bytes,
        "dim": stats.dim,
        "encoder": stats.encoder,
        "filterable": stats.filterable,
        "writable": served.writable,
    }
