"""Bearer tokens at the door of every route, and before the body of a request is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from starlette import types
from starlette.datastructures import Headers

from serotine.serving.failures import Failure, answer, read_only
from serotine.serving.limits import UPLOADS
from serotine.serving.services import Services
from serotine.serving.tokens import Scope, Token, scope_of

_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
_PROTECTED = ("/v1/", "/pooling")

_bearer = HTTPBearer(
    auto_error=False,
    description="A token of the server's operator. `read` searches; `write` changes too. None is needed where the "
    "server was started without tokens, which it allows on loopback only.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


class BodyGuard:
    """Refuses what the routes would refuse for its rights, before its body is read.

    The framework reads a body, and keeps an upload on disk, before it asks for the rights that a route wants.

    Args:
        app: what answers.
        tokens: who may do what; with none, everyone may do everything.
        read_only: refuse every upload.
    """

    def __init__(self, app: types.ASGIApp, *, tokens: Sequence[Token], read_only: bool) -> None:
        self._app, self._tokens, self._read_only = app, tokens, read_only

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "http" and scope["method"] in _WITH_BODY and scope["path"].startswith(_PROTECTED):
            try:
                self._look(scope)
            except Failure as refused:
                refusal = answer(refused.status_code, refused.code, refused.detail, refused.headers)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _look(self, scope: types.Scope) -> None:
        scheme, secret = get_authorization_scheme_param(Headers(scope=scope).get("authorization"))
        upload = scope["path"].endswith(UPLOADS)
        known = secret if scheme.lower() == "bearer" and secret else None
        _check(self._tokens, known, "write" if upload else "read")
        if upload and self._read_only:
            raise read_only()


def _check(tokens: Sequence[Token], secret: str | None, wanted: Scope) -> None:
    if not tokens:
        return
    if secret is None:
        raise Failure(
            401,
            "unauthorised",
            "a token is needed; send it as: Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )
    scope = scope_of(tokens, secret)
    if scope is None:
        raise Failure(
            401, "unauthorised", "the token is not known here", {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        )
    if wanted == "write" and scope != "write":
        raise Failure(403, "forbidden", "this token may only read; a change needs one with the scope write")


def _check_route(request: Request, credentials: HTTPAuthorizationCredentials | None, wanted: Scope) -> None:
    _check(Services.of(request).settings.tokens, None if credentials is None else credentials.credentials, wanted)


async def _reader(request: Request, credentials: Credentials) -> None:
    _check_route(request, credentials, "read")


async def _writer(request: Request, credentials: Credentials) -> None:
    _check_route(request, credentials, "write")


MayRead = Depends(_reader)
MayWrite = Depends(_writer)
