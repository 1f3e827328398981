"""Bearer tokens at the door of every route."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from serotine.serving.failures import Failure
from serotine.serving.services import Services
from serotine.serving.tokens import Scope, scope_of

_bearer = HTTPBearer(
    auto_error=False,
    description="A token of the server's operator. `read` searches; `write` changes too. None is needed where the "
    "server was started without tokens, which it allows on loopback only.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


def _check(request: Request, credentials: HTTPAuthorizationCredentials | None, wanted: Scope) -> None:
    tokens = Services.of(request).settings.tokens
    if not tokens:
        return
    if credentials is None:
        raise Failure(
            401,
            "unauthorised",
            "a token is needed; send it as: Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )
    scope = scope_of(tokens, credentials.credentials)
    if scope is None:
        raise Failure(
            401, "unauthorised", "the token is not known here", {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        )
    if wanted == "write" and scope != "write":
        raise Failure(403, "forbidden", "this token may only read; a change needs one with the scope write")


async def _reader(request: Request, credentials: Credentials) -> None:
    _check(request, credentials, "read")


async def _writer(request: Request, credentials: Credentials) -> None:
    _check(request, credentials, "write")


MayRead = Depends(_reader)
MayWrite = Depends(_writer)
