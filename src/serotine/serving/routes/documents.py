"""The documents of one index: add, get, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from serotine.index import Index
from serotine.serving.answers import as_json, document
from serotine.serving.arrays import vectors_of
from serotine.serving.auth import MayRead, MayWrite
from serotine.serving.schemas.indexes import (
    Added,
    AddRequest,
    Deleted,
    DeleteRequest,
    DocumentBody,
    Documents,
    FetchRequest,
    Ids,
    NewDocument,
)
from serotine.serving.services import Services
from serotine.wire import pack

router = APIRouter(prefix="/v1/indexes/{name}", tags=["documents"])


@router.post("/documents", dependencies=[MayWrite], status_code=201, response_model=Added)
async def add_documents(request: Request, name: str, body: AddRequest) -> Response:
    """Adds documents: all of them, or, when anything is wrong, none. Answered when they are committed."""
    services = Services.of(request)
    limits = services.settings.limits
    limits.check("documents", len(body.documents), limits.documents)
    if body.upsert and body.skip_known:
        raise ValueError("upsert, skip_known: exclude each other; choose one")
    served = await services.searches.run(lambda: services.index(name))

    def work(index: Index) -> int:
        batch = _batch(body.documents, index.dim)
        if body.skip_known:
            return index.add_batches([batch])
        index.add(**batch, upsert=body.upsert)
        return len(body.documents)

    added = await served.changes.run(lambda: served.change(work), is_change=True)
    services.metrics.added.labels(name).inc(added)
    return as_json({"added": added}, 201)


@router.post("/documents/fetch", dependencies=[MayRead], response_model=Documents)
async def fetch_documents(request: Request, name: str, body: FetchRequest) -> Response:
    """Documents by id, in the order asked."""
    services = Services.of(request)
    limits = services.settings.limits
    limits.check("ids", len(body.ids), limits.documents)
    found = await services.searches.run(lambda: services.index(name).reader.get(body.ids))
    return as_json({"documents": [document(hit) for hit in found]})


@router.post("/documents/delete", dependencies=[MayWrite], response_model=Deleted)
async def delete_documents(request: Request, name: str, body: DeleteRequest) -> Response:
    """Deletes documents: all of them, or, when one is not there, none."""
    limits = Services.of(request).settings.limits
    limits.check("ids", len(body.ids), limits.documents)
    return await _delete(request, name, body.ids)


@router.get("/documents/{id:path}", dependencies=[MayRead], response_model=DocumentBody)
async def get_document(
    request: Request,
    name: str,
    id: str,  # noqa: A002 - the name in the path
    vectors: Annotated[bool, Query(description="Whether to send its token vectors too.")] = False,
) -> Response:
    """One document."""
    services = Services.of(request)

    def work() -> dict[str, Any]:
        reader = services.index(name).reader
        (hit,) = reader.get([id])
        body = document(hit)
        if vectors:
            body.update(vectors=pack(reader.vectors(id)), dim=reader.dim)
        return body

    return as_json(await services.searches.run(work))


@router.delete("/documents/{id:path}", dependencies=[MayWrite], response_model=Deleted)
async def delete_document(request: Request, name: str, id: str) -> Response:  # noqa: A002 - the name in the path
    """Deletes one document."""
    return await _delete(request, name, [id])


@router.get("/ids", dependencies=[MayRead], response_model=Ids)
async def list_ids(
    request: Request,
    name: str,
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
) -> Response:
    """Ids of an index's documents, in the order they were added."""
    services = Services.of(request)
    ids = await services.searches.run(lambda: services.index(name).reader.ids())
    return as_json({"ids": ids[offset : offset + limit], "total": len(ids)})


async def _delete(request: Request, name: str, ids: list[str]) -> Response:
    services = Services.of(request)
    served = await services.searches.run(lambda: services.index(name))
    await served.changes.run(lambda: served.change(lambda index: index.delete(ids)), is_change=True)
    return as_json({"deleted": len(dict.fromkeys(ids))})


def _batch(documents: list[NewDocument], dim: int) -> dict[str, Any]:
    """What `Index.add` takes; texts, and vectors, are for all documents or for none."""
    batch: dict[str, Any] = {
        "ids": [each.id for each in documents],
        "metadata": [each.metadata for each in documents],
        "texts": None,
        "vectors": None,
    }
    texts = [each.text for each in documents if each.text is not None]
    vectors = [
        vectors_of(each.vectors, dim, f"documents[{i}].vectors")
        for i, each in enumerate(documents)
        if each.vectors is not None
    ]
    for name, given in (("text", texts), ("vectors", vectors)):
        if given and len(given) != len(documents):
            raise ValueError(f"documents: {len(given):,} of {len(documents):,} have {name!r}; send it for all or none")
    if texts:
        batch["texts"] = texts
    if vectors:
        batch["vectors"] = vectors
    return batch
