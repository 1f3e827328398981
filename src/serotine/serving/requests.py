"""Every request: an id, a line in the log, its numbers, and the headers that every answer has."""

from __future__ import annotations

import logging
import re
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serotine.serving.failures import fault
from serotine.serving.metrics import Metrics

_log = logging.getLogger("serotine.serving")
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,100}")
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
    """Counts and logs what passes, and gives every answer an id and the security headers.

    Nothing of a request's content is logged, but for what routes put in `scope["state"]["logged"]`.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        id_ = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex.encode()
        logged = scope.setdefault("state", {}).setdefault("logged", {})
        started, status, sent = time.perf_counter(), 0, 0

        async def noted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", []))
                # A page with a policy of its own keeps it.
                own = {name.lower() for name, _ in headers}
                message["headers"] = [
                    *headers,
                    (b"x-request-id", id_),
                    *(each for each in _HEADERS if each[0] not in own),
                ]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        self._metrics.under_way.inc()
        try:
            await self._app(scope, receive, noted)
        except Exception:
            # Answered here: further out, it would be neither counted nor given an id. uvicorn logs the error.
            if not status:
                await fault()(scope, receive, noted)
            raise
        finally:
            self._metrics.under_way.dec()
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
        # The route as it was declared: paths would make as many series as there are documents.
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        if status == 429:
            self._metrics.refused.inc()
