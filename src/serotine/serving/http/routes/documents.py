"""Documents of one index: add, get, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from serotine.errors import MaintenanceWarning, SerotineWarning
from serotine.issued_warnings import collected_warnings, issue_warning
from serotine.serving.http.answer import Answer, join_object, json_response
from serotine.serving.http.auth import MayRead, MayWrite
from serotine.serving.http.dependencies import services_of
from serotine.serving.http.responses import document as document_body
from serotine.serving.http.responses import warning_list
from serotine.serving.http.schemas.indexes import (
    MAX_IDS,
    AddRequest,
    AddResponse,
    DeleteRequest,
    DeleteResponse,
    DocumentResponse,
    FetchRequest,
    FetchResponse,
    IdsRequest,
    IdsResponse,
    NewDocument,
    UpdateMetadataRequest,
    UpdateMetadataResponse,
)
from serotine.serving.http.vectors import parse_vectors
from serotine.serving.open_index import OpenIndex
from serotine.wire import pack

router = APIRouter(prefix="/v1/indexes/{name}", tags=["documents"])
# Read at a time, before the size of the response is known.
_DOCUMENTS_PER_PAGE = 100


@router.post("/documents", dependencies=[MayWrite], status_code=201, response_model=AddResponse)
async def add_documents(request: Request, name: str, body: AddRequest) -> Response:
    """Add documents: all of them, or none if any is invalid. Responds once they are committed."""
    services = services_of(request)
    limits = services.settings.limits
    limits.check("documents", len(body.documents), limits.documents)
    if body.upsert and body.skip_known:
        raise ValueError("upsert, skip_known: at most one of the two is allowed")
    served = await services.searches.run(lambda: services.index(name))

    def work(index: OpenIndex) -> tuple[int, list[SerotineWarning]]:
        batch, added = _batch(body.documents, index.dim), len(body.documents)
        with collected_warnings() as collected:
            if body.skip_known:
                added = index.add_batches([batch], long_texts=body.long_texts)
            else:
                index.add(**batch, upsert=body.upsert, long_texts=body.long_texts)
        return added, collected

    added, collected = await served.changes.run(lambda: served.change(work), is_change=True)
    services.metrics.added.labels(name).inc(added)
    for warning in collected:
        if isinstance(warning, MaintenanceWarning):
            # For the operator too: it is about the disk.
            issue_warning(warning)
    return json_response({"added": added, "warnings": warning_list(collected, services.paths)}, 201)


@router.post("/documents/fetch", dependencies=[MayRead], response_model=FetchResponse)
async def fetch_documents(request: Request, name: str, body: FetchRequest) -> Response:
    """Return documents by id, in the order of the ids."""
    services = services_of(request)
    limits = services.settings.limits
    limits.check("ids", len(body.ids), limits.documents)

    def work() -> bytes:
        reader = services.index(name).reader
        answer = Answer(limits.answer, "ask for fewer documents at once" if len(body.ids) > 1 else "")
        pages = (body.ids[i : i + _DOCUMENTS_PER_PAGE] for i in range(0, len(body.ids), _DOCUMENTS_PER_PAGE))
        hits = (hit for page in pages for hit in reader.get(page, missing=body.missing))
        return join_object({"documents": answer.parts(None if hit is None else document_body(hit) for hit in hits)})

    return json_response(await services.searches.run(work))


@router.post("/documents/delete", dependencies=[MayWrite], response_model=DeleteResponse)
async def delete_documents(request: Request, name: str, body: DeleteRequest) -> Response:
    """Delete documents by id, all of them or none if any does not exist; or those that pass a filter."""
    limits = services_of(request).settings.limits
    limits.check("ids", len(body.ids or ()), limits.documents)
    return await _delete(request, name, body)


@router.post("/documents/metadata", dependencies=[MayWrite], response_model=UpdateMetadataResponse)
async def update_metadata(request: Request, name: str, body: UpdateMetadataRequest) -> Response:
    """Change metadata without encoding the texts again: of all the documents, or of none if any does not exist."""
    services = services_of(request)
    limits = services.settings.limits
    limits.check("documents", len(body.documents), limits.documents)
    served = await services.searches.run(lambda: services.index(name))

    def work(index: OpenIndex) -> None:
        ids = [document.id for document in body.documents]
        index.update_metadata(ids, [document.metadata for document in body.documents], replace=body.replace)

    await served.changes.run(lambda: served.change(work), is_change=True)
    return json_response({"updated": len(body.documents)})


@router.get("/documents/{id:path}", dependencies=[MayRead], response_model=DocumentResponse)
async def get_document(
    request: Request,
    name: str,
    id: str,  # noqa: A002 - the name in the path
    vectors: Annotated[bool, Query(description="Whether to include its token vectors.")] = False,
) -> Response:
    """Return one document."""
    services = services_of(request)

    def work() -> bytes:
        reader = services.index(name).reader
        body = document_body(reader[id])
        if vectors:
            body.update(vectors=pack(reader.vectors(id)), dim=reader.dim)
        return Answer(services.settings.limits.answer, "").part(body)

    return json_response(await services.searches.run(work))


@router.delete("/documents/{id:path}", dependencies=[MayWrite], response_model=DeleteResponse)
async def delete_document(request: Request, name: str, id: str) -> Response:  # noqa: A002 - the name in the path
    """Delete one document."""
    return await _delete(request, name, DeleteRequest(ids=[id]))


@router.get("/ids", dependencies=[MayRead], response_model=IdsResponse)
async def list_ids(
    request: Request,
    name: str,
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_IDS)] = 10_000,
) -> Response:
    """Return the ids of an index's documents, in insertion order."""
    return await _ids(request, name, IdsRequest(offset=offset, limit=limit))


@router.post("/ids", dependencies=[MayRead], response_model=IdsResponse)
async def list_matching_ids(request: Request, name: str, body: IdsRequest) -> Response:
    """Return the ids of the documents that pass a filter, in insertion order."""
    return await _ids(request, name, body)


async def _ids(request: Request, name: str, page: IdsRequest) -> Response:
    services = services_of(request)

    def work() -> bytes:
        with collected_warnings() as collected:
            ids = services.index(name).reader.ids(where=page.where)
        answer = Answer(services.settings.limits.answer, "ask for fewer with 'limit'")
        found = answer.parts(ids[page.offset : page.offset + page.limit])
        warnings = warning_list(collected, services.paths)
        return join_object({"ids": found, "total": len(ids), "warnings": warnings})

    return json_response(await services.searches.run(work))


async def _delete(request: Request, name: str, body: DeleteRequest) -> Response:
    services = services_of(request)
    served = await services.searches.run(lambda: services.index(name))

    def work(index: OpenIndex) -> tuple[int, list[SerotineWarning]]:
        with collected_warnings() as collected:
            return index.delete(body.ids, where=body.where), collected

    deleted, collected = await served.changes.run(lambda: served.change(work), is_change=True)
    return json_response({"deleted": deleted, "warnings": warning_list(collected, services.paths)})


def _batch(documents: list[NewDocument], dim: int) -> dict[str, Any]:
    """Return the arguments of `Index.add`; texts, and vectors, are required for all documents or for none."""
    batch: dict[str, Any] = {
        "ids": [document.id for document in documents],
        "metadata": [document.metadata for document in documents],
        "texts": None,
        "vectors": None,
    }
    texts = [document.text for document in documents if document.text is not None]
    vectors = [
        parse_vectors(document.vectors, dim, f"documents[{i}].vectors")
        for i, document in enumerate(documents)
        if document.vectors is not None
    ]
    for name, values in (("text", texts), ("vectors", vectors)):
        if values and len(values) != len(documents):
            first = next(i for i, document in enumerate(documents) if getattr(document, name) is None)
            raise ValueError(f"documents[{first}]: has no {name!r}, as others have; send it for all documents or none")
    if texts:
        batch["texts"] = texts
    if vectors:
        batch["vectors"] = vectors
    return batch
