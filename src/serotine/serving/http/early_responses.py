"""Responses before the body of a request has arrived: the rest of the body is not read, and the connection closes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What has been sent already is read within these limits. A connection that closes with unread bytes is reset, which can
# cost the client the response; and after a short body the connection can stay open.
DRAIN_SECONDS = 0.5
DRAIN_BYTES = 1 << 20


class EarlyResponses:
    """Closes the connection after a response to a request whose body has not arrived whole.

    Args:
        app: the wrapped application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Without either header there is no body; a client that expects 100 sends none before it is asked to.
        names = {name for name, _ in scope["headers"]}
        arrived = not names & {b"content-length", b"transfer-encoding"}
        waits = b"expect" in names

        async def receive_watched() -> Message:
            nonlocal arrived, waits
            waits = False
            message = await receive()
            arrived = not message.get("more_body", False)
            return message

        async def drain() -> None:
            size = 0
            while not arrived and size < DRAIN_BYTES:
                size += len((await receive_watched()).get("body", b""))

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start" and not arrived:
                if not waits:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(drain(), DRAIN_SECONDS)
                if not arrived:
                    others = [header for header in message.get("headers", []) if header[0].lower() != b"connection"]
                    message["headers"] = [*others, (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive_watched, send_closing)
