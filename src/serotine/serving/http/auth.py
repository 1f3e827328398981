"""Bearer tokens, checked at every route, and before the body of a request is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from starlette import types
from starlette.datastructures import Headers

from serotine.errors import ServerError
from serotine.serving.bearer_tokens import Scope, Token, scope_of
from serotine.serving.errors import read_only
from serotine.serving.http.dependencies import services_of
from serotine.serving.http.errors import UPLOAD_SUFFIX, RequestError, response_to

_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
_PROTECTED = ("/v1/", "/pooling")

_bearer = HTTPBearer(
    auto_error=False,
    description="A token from the server's operator. Scope `read` searches; `write` may also change. A server started "
    "without tokens, which is allowed on loopback only, needs none.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


class BodyGuard:
    """Refuses requests without the rights they need before their body is read.

    The framework reads a body, and stores an upload on disk, before it checks a route's dependencies.

    Args:
        app: the wrapped application.
        tokens: bearer tokens; with none, everyone may do everything.
        read_only: refuse every upload.
    """

    def __init__(self, app: types.ASGIApp, *, tokens: Sequence[Token], read_only: bool) -> None:
        self._app, self._tokens, self._read_only = app, tokens, read_only

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "http" and scope["method"] in _WITH_BODY and scope["path"].startswith(_PROTECTED):
            try:
                self._check(scope)
            except (RequestError, ServerError) as error:
                await response_to(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: types.Scope) -> None:
        scheme, secret = get_authorization_scheme_param(Headers(scope=scope).get("authorization"))
        is_upload = scope["path"].endswith(UPLOAD_SUFFIX)
        bearer = secret if scheme.lower() == "bearer" and secret else None
        _check_scope(self._tokens, bearer, "write" if is_upload else "read")
        if is_upload and self._read_only:
            raise read_only()


def _check_scope(tokens: Sequence[Token], secret: str | None, required: Scope) -> None:
    if not tokens:
        return
    if secret is None:
        raise RequestError(
            401,
            "unauthorized",
            "Authorization: a token is required; send the header Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )
    scope = scope_of(tokens, secret)
    if scope is None:
        raise RequestError(
            401,
            "unauthorized",
            "Authorization: unknown token; check it",
            {"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    if required == "write" and scope != "write":
        raise RequestError(
            403, "forbidden", "Authorization: this token may only read; a change requires one with the scope write"
        )


def _check_route(request: Request, credentials: HTTPAuthorizationCredentials | None, required: Scope) -> None:
    secret = None if credentials is None else credentials.credentials
    _check_scope(services_of(request).settings.tokens, secret, required)


def may_write(request: Request, credentials: HTTPAuthorizationCredentials | None) -> bool:
    """Return whether the token of a request, or anyone on a server without tokens, may change indexes."""
    tokens = services_of(request).settings.tokens
    return not tokens or (credentials is not None and scope_of(tokens, credentials.credentials) == "write")


async def _require_read(request: Request, credentials: Credentials) -> None:
    _check_route(request, credentials, "read")


async def _require_write(request: Request, credentials: Credentials) -> None:
    _check_route(request, credentials, "write")


MayRead = Depends(_require_read)
MayWrite = Depends(_require_write)
