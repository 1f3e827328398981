"""The limit on a request's size, enforced while its body arrives."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serotine.serving.http.errors import UPLOAD_SUFFIX, RequestError, response_to


class BodyLimit:
    """Refuses a body beyond the limit with 413: by its announced length, or once it has grown too large.

    Args:
        app: the wrapped application.
        body: maximum bytes of a request.
        upload: maximum bytes of a request to a path ending in /files.
    """

    def __init__(self, app: ASGIApp, *, body: int, upload: int) -> None:
        self._app, self._body, self._upload = app, body, upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._upload if scope["path"].endswith(UPLOAD_SUFFIX) else self._body
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if announced.isdigit() and int(announced) > limit:
            await response_to(_too_large(limit))(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # Raised while the route reads the body, so the framework turns it into a response.
                raise _too_large(limit)
            return message

        await self._app(scope, receive_limited, send)


def _too_large(limit: int) -> RequestError:
    return RequestError(413, "too_large", f"body: must be at most {limit:,} bytes; send less at once")
