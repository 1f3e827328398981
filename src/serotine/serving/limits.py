"""How large a request may be, held to while its body arrives."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serotine.serving.failures import Failure, answer

UPLOADS = "/files"


class BodyLimit:
    """Refuses a body beyond the limit with 413: by what it says of itself, or when it has grown too large.

    Args:
        app: what answers.
        body: bytes that a request may have.
        upload: bytes that one to a path ending in /files may have.
    """

    def __init__(self, app: ASGIApp, *, body: int, upload: int) -> None:
        self._app, self._body, self._upload = app, body, upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._upload if scope["path"].endswith(UPLOADS) else self._body
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if announced.isdigit() and int(announced) > limit:
            refusal = _too_large(limit)
            await answer(413, refusal.code, refusal.detail, refusal.headers)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # The framework makes an answer of it: it comes out of the route's reading of the body.
                raise _too_large(limit)
            return message

        await self._app(scope, counted, send)


def _too_large(limit: int) -> Failure:
    return Failure(413, "too_large", f"body: want at most {limit:,} bytes; send less at once", {"Connection": "close"})
