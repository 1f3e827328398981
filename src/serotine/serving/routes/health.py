"""For what runs the server: is it alive, shall it get requests, and its numbers."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from serotine.serving.answers import as_json
from serotine.serving.auth import MayRead
from serotine.serving.schemas.base import ErrorAnswer, Status
from serotine.serving.services import Services

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=Status)
async def alive() -> Response:
    """200 as long as the process answers."""
    return as_json({"status": "ok"})


@router.get(
    "/readyz", response_model=Status, responses={status: {"model": ErrorAnswer} for status in (429, 500, 503, 504)}
)
async def ready(request: Request) -> Response:
    """200 when every index can be read and there is room in the queue: requests may be sent here."""
    services = Services.of(request)
    await services.searches.run(lambda: [len(served.reader) for served in services.indexes.all()])
    return as_json({"status": "ready"})


@router.get(
    "/metrics", dependencies=[MayRead], response_class=Response, responses={200: {"content": {"text/plain": {}}}}
)
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(Services.of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)
