"""Errors on their way out: every one a status, a code and one clear line."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from serotine.errors import SerotineError
from serotine.wire import STATUS, code_of

_log = logging.getLogger("serotine.serving")
_RETRY_SECONDS = 1
# Of a request's mistakes, as many as make a line.
_MOST_SHOWN = 3


class Failure(HTTPException):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
        self.code = code


def overloaded(pending: int) -> Failure:
    """Too many requests wait already."""
    return Failure(
        429,
        "overloaded",
        f"{pending:,} requests are under way already; try again in a moment",
        {"Retry-After": str(_RETRY_SECONDS)},
    )


def timed_out(seconds: float, *, still_running: bool) -> Failure:
    """A request took too long."""
    rest = "; the change goes on, and may yet be committed: look before you send it again" if still_running else ""
    return Failure(504, "timeout", f"took longer than {seconds:g} seconds{rest}")


def read_only() -> Failure:
    """Nothing may be changed."""
    return Failure(403, "read_only", "this server was started with --read-only; nothing can be changed")


def unavailable(message: str) -> Failure:
    """Not now."""
    return Failure(503, "unavailable", message, {"Retry-After": str(_RETRY_SECONDS)})


def answer(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as it goes out. ASCII only: what is wrong may be text that UTF-8 cannot write."""
    body = json.dumps({"error": {"code": code, "message": " ".join(message.split())}}).encode("ascii")
    return Response(body, status, headers, media_type="application/json")


def fault() -> Response:
    """The answer to an error that is not foreseen."""
    return answer(500, "internal", "the server failed; its log says why")


def handle_failures(app: FastAPI) -> None:
    """Makes an answer of every exception that a route raises."""
    app.add_exception_handler(Failure, _of_failure)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_framework)
    # One by one: for plain Exception the framework would answer, and then raise it again.
    for kind in (SerotineError, ValueError, TypeError):
        app.add_exception_handler(kind, _of_library)
    app.add_exception_handler(Exception, _of_fault)


async def _of_failure(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Failure):
        raise error
    return answer(error.status_code, error.code, error.detail, error.headers)


async def _of_validation(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    told = [_told(mistake) for mistake in error.errors()]
    more = f" (and {len(told) - _MOST_SHOWN} more)" if len(told) > _MOST_SHOWN else ""
    status, code = (400, "bad_json") if error.errors()[0]["type"] == "json_invalid" else (422, "bad_value")
    return answer(status, code, "; ".join(told[:_MOST_SHOWN]) + more)


def _told(mistake: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in mistake["loc"] if part != "body")
    reason = str(mistake["msg"]).removeprefix("Value error, ")
    if mistake["type"] == "json_invalid":
        return f"body: is not JSON ({mistake.get('ctx', {}).get('error', reason)})"
    return f"{where or 'body'}: {reason[0].lower()}{reason[1:]}"


async def _of_framework(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return answer(error.status_code, code, str(error.detail), error.headers)


async def _of_library(_request: Request, error: Exception) -> Response:
    code = code_of(error) or "server_error"
    status = STATUS.get(code, 500)
    if status == 500:
        _log.error("fault", exc_info=error)
    headers = {"Retry-After": str(_RETRY_SECONDS)} if status == 503 else None
    return answer(status, code, str(error), headers)


async def _of_fault(_request: Request, _error: Exception) -> Response:
    # uvicorn logs the error itself. `RequestLog` has answered, unless it is what failed.
    return fault()
