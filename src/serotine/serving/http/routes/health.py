"""Health checks and metrics for the supervisor of the server."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from serotine.serving.http.answer import json_response
from serotine.serving.http.auth import MayRead
from serotine.serving.http.dependencies import services_of
from serotine.serving.http.schemas.base import ErrorResponse, Status

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=Status)
async def alive() -> Response:
    """Return 200 as long as the process responds."""
    return json_response({"status": "ok"})


@router.get(
    "/readyz", response_model=Status, responses={status: {"model": ErrorResponse} for status in (429, 500, 503, 504)}
)
async def ready(request: Request) -> Response:
    """Return 200 when every index can be read and the queue has room: this server is ready for requests."""
    services = services_of(request)
    await services.searches.run(lambda: [len(served.reader) for served in services.indexes.all()])
    return json_response({"status": "ready"})


@router.get(
    "/metrics", dependencies=[MayRead], response_class=Response, responses={200: {"content": {"text/plain": {}}}}
)
async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(services_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)
