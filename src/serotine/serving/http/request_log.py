"""For every request: an id, a line in the log, metrics, and the headers that every response has."""

from __future__ import annotations

import logging
import re
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serotine.serving.http.errors import internal_error
from serotine.serving.metrics import Metrics

_log = logging.getLogger("serotine.serving")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,100}")
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_QUIET = ("/healthz", "/readyz", "/metrics")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class RequestLog:
    """Counts and logs requests, and adds an id and the security headers to every response.

    Of a request's content, it logs only what routes put in `scope["state"]["logged"]`.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        header_id = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        id_ = header_id if _REQUEST_ID.fullmatch(header_id) else uuid.uuid4().hex.encode()
        logged = scope.setdefault("state", {}).setdefault("logged", {})
        started, status, sent = time.perf_counter(), 0, 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", []))
                # A page may set its own policy.
                present = {name.lower() for name, _ in headers}
                message["headers"] = [
                    *headers,
                    (b"x-request-id", id_),
                    *(header for header in _HEADERS if header[0] not in present),
                ]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        self._metrics.in_progress.inc()
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            # Handled here: further out, the response would be neither counted nor given an id. uvicorn logs the error.
            if not status:
                await internal_error()(scope, receive, send_with_headers)
            raise
        finally:
            self._metrics.in_progress.dec()
            seconds = time.perf_counter() - started
            self._count(scope, status, seconds)
            if scope["path"] not in _QUIET:
                fields = {
                    "request": id_.decode("ascii"),
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "milliseconds": round(seconds * 1e3, 2),
                    "bytes": sent,
                    "client": scope["client"][0] if scope.get("client") else None,
                    **logged,
                }
                _log.info("request", extra={"fields": fields})

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # The declared route: actual paths would give one time series per document.
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        if status == 429:
            self._metrics.refused.inc()
