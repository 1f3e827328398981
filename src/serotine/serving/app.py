"""The application of one process: its routes, what stands before them, and what they share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI

from serotine import __version__
from serotine.serving.auth import BodyGuard
from serotine.serving.failures import handle_failures
from serotine.serving.limits import BodyLimit
from serotine.serving.metrics import Metrics
from serotine.serving.origins import OriginGuard
from serotine.serving.requests import RequestLog
from serotine.serving.routes import documents, files, health, indexes, models, search
from serotine.serving.routes.page import mount_pages
from serotine.serving.schemas.base import ErrorAnswer
from serotine.serving.services import Services
from serotine.serving.settings import ServerSettings

_DESCRIPTION = """Late-interaction retrieval over HTTP. Every error is `{"error": {"code", "message"}}`.
Vectors are rows of numbers or, much faster, base64 of little-endian float16."""
# What any of these routes may be answered with.
_ERRORS = {
    400: "The body is not JSON, or no form.",
    401: "A token is needed, or the one sent is not known.",
    403: "The token may not do this, or nobody may.",
    404: "No such index, document, job or model.",
    409: "An id or a name is taken.",
    413: "The body is too large.",
    422: "Something in the request is wrong; the message says what.",
    429: "Too many requests are under way; try again after `Retry-After` seconds.",
    503: "Not now; try again after `Retry-After` seconds.",
    504: "It took too long.",
}


def create_app(settings: ServerSettings) -> FastAPI:
    """The application, with its indexes and encoders open; they are closed when it is told to stop.

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
    handle_failures(app)
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer, "description": told} for status, told in _ERRORS.items()
    }
    for each in (search, documents, indexes, files, models):
        app.include_router(each.router, responses=errors)
    app.include_router(health.router)
    mount_pages(app)
    limits = settings.limits
    # The last one added is the first that a request meets.
    app.add_middleware(BodyLimit, body=limits.body, upload=limits.upload)
    app.add_middleware(BodyGuard, tokens=settings.tokens, read_only=settings.read_only)
    app.add_middleware(OriginGuard, hosts=settings.hosts)
    app.add_middleware(RequestLog, metrics=metrics)
    return app
