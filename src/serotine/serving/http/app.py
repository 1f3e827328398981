"""The application of one process: routes, middleware and shared services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI

from serotine import __version__
from serotine.serving.http.auth import BodyGuard
from serotine.serving.http.early_responses import EarlyResponses
from serotine.serving.http.errors import add_exception_handlers
from serotine.serving.http.http_wording import HttpWording
from serotine.serving.http.limits import BodyLimit
from serotine.serving.http.origins import OriginGuard
from serotine.serving.http.request_log import RequestLog
from serotine.serving.http.routes import documents, files, health, indexes, models, search
from serotine.serving.http.routes.page import mount_pages
from serotine.serving.http.schemas.base import ErrorResponse
from serotine.serving.metrics import Metrics
from serotine.serving.services import Services
from serotine.serving.settings import ServerSettings

_DESCRIPTION = """Late-interaction retrieval over HTTP. Every error is `{"error": {"code", "message"}}`.
Vectors are rows of numbers or, much faster, base64 of little-endian float16."""
# Errors that any of these routes may return.
_ERRORS = {
    400: "The body is not valid JSON, or not a form.",
    401: "The token is missing or unknown.",
    403: "The token, or anyone, may not do this.",
    404: "Unknown index, document, job or model.",
    409: "The id or name already exists.",
    413: "The body is too large.",
    422: "The request is invalid; the message says why.",
    429: "Too many requests; retry after `Retry-After` seconds.",
    503: "Unavailable; retry after `Retry-After` seconds.",
    504: "The request timed out.",
}


def create_app(settings: ServerSettings) -> FastAPI:
    """Create the application with its indexes and encoders open; it closes them when it shuts down.

    Raises:
        SerotineError: an index or its encoder cannot be opened.
    """
    metrics = Metrics()
    services = Services.start(settings, metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await anyio.to_thread.run_sync(services.close)

    app = FastAPI(
        title="Serotine",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    add_exception_handlers(app)
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorResponse, "description": description} for status, description in _ERRORS.items()
    }
    for module in (search, documents, indexes, files, models):
        app.include_router(module.router, responses=errors)
    app.include_router(health.router)
    mount_pages(app)
    limits = settings.limits
    # The last middleware added is the first to see a request.
    app.add_middleware(BodyLimit, body=limits.body, upload=limits.upload)
    app.add_middleware(BodyGuard, tokens=settings.tokens, read_only=settings.read_only)
    app.add_middleware(OriginGuard, hosts=settings.hosts)
    app.add_middleware(RequestLog, metrics=metrics)
    app.add_middleware(HttpWording)
    app.add_middleware(EarlyResponses)
    return app
