"""Messages in the words of HTTP, except for clients in whose programs the library's own words fit."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from serotine.wire import LIBRARY_CLIENT
from serotine.wording import over_http

_HEADER = (LIBRARY_CLIENT[0].lower().encode(), LIBRARY_CLIENT[1].encode())


class HttpWording:
    """Words every message that a request causes, its jobs included, for who reads it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http" or _HEADER in scope["headers"]:
            await self._app(scope, receive, send)
            return
        with over_http():
            await self._app(scope, receive, send)
