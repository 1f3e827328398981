"""Error responses: every exception becomes a status, a code and one clear line."""

from __future__ import annotations

import difflib
import json
import logging
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Route, compile_path

from serotine.errors import SerotineError, ServerError, shown, unknown_key
from serotine.serving.http.body_fields import body_fields
from serotine.serving.http.dependencies import services_of
from serotine.serving.mistakes import mistake_message
from serotine.wire import STATUS, error_code

_log = logging.getLogger("serotine.serving")
UPLOAD_SUFFIX = "/files"
"""Suffix of the paths that take files, as a form; every other body is JSON."""
_RETRY_SECONDS = 1
_RETRYABLE = (429, 503)
# Classes that a place in a body names where a list has strings or objects.
_ALTERNATIVES = ("Query", "TextObject")
# Mistakes of one request that are shown: as many as fit on a line.
_MAX_SHOWN = 3


class RequestError(HTTPException):
    """An error of the HTTP layer itself: rights, or the size of a body."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
        self.code = code


def error_response(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as JSON. ASCII only: the message may quote text that UTF-8 cannot encode."""
    if headers is None and status in _RETRYABLE:
        headers = {"Retry-After": str(_RETRY_SECONDS)}
    body = json.dumps({"error": {"code": code, "message": " ".join(message.split())}}).encode("ascii")
    return Response(body, status, headers, media_type="application/json")


def response_to(error: RequestError | ServerError) -> Response:
    """Return the response to an error of a route or middleware."""
    if isinstance(error, RequestError):
        return error_response(error.status_code, error.code, error.detail, error.headers)
    return error_response(error.status or 500, error.code, str(error))


def internal_error() -> Response:
    """Return the response to an unexpected exception."""
    return error_response(500, "internal", "internal error; the server's log has the details")


def add_exception_handlers(app: FastAPI) -> None:
    """Turn every exception that a route raises into a response."""
    app.add_exception_handler(RequestError, _on_request_error)
    app.add_exception_handler(ServerError, _on_request_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_framework_error)
    # One handler per class: a handler of Exception makes the framework re-raise the error.
    for error_type in (SerotineError, ValueError, TypeError):
        app.add_exception_handler(error_type, _on_library_error)
    app.add_exception_handler(Exception, _on_unexpected_error)


async def _on_request_error(request: Request, error: Exception) -> Response:
    if isinstance(error, ServerError):
        message = services_of(request).paths.hidden(str(error))
        return error_response(error.status or 500, error.code, message)
    if not isinstance(error, RequestError):
        raise error
    return response_to(error)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    if (wrong_type := _wrong_content_type(request, error)) is not None:
        return error_response(422, "bad_value", wrong_type)
    mistakes = error.errors()
    messages = [_mistake_message(request, mistake) for mistake in mistakes[:_MAX_SHOWN]]
    more = f" (and {len(mistakes) - _MAX_SHOWN} more)" if len(mistakes) > _MAX_SHOWN else ""
    status, code = (400, "bad_json") if mistakes[0]["type"] == "json_invalid" else (422, "bad_value")
    return error_response(status, code, "; ".join(messages) + more)


def _wrong_content_type(request: Request, error: RequestValidationError) -> str | None:
    """Return the message for a body of the wrong type, which was not parsed, or None if the type is right."""
    if all(mistake["loc"][:1] != ("body",) for mistake in error.errors()):
        return None
    sent = request.headers.get("content-type", "")
    media_type = sent.partition(";")[0].strip().lower()
    if request.url.path.endswith(UPLOAD_SUFFIX):
        if media_type == "multipart/form-data":
            return None
        fix = "send the files as a form, as: curl -F files=@notes.txt"
        return f"Content-Type: must be multipart/form-data, got {shown(sent)}; {fix}"
    subtype = media_type.partition("/")[2]
    if error.body in (None, b"") or subtype == "json" or subtype.endswith("+json"):
        return None
    return f"Content-Type: must be application/json, got {shown(sent)}; send the header Content-Type: application/json"


def _mistake_message(request: Request, mistake: Mapping[str, Any]) -> str:
    is_unknown = mistake["type"] in ("extra_forbidden", "unexpected_keyword_argument")
    *outer, last = mistake["loc"]
    # In a union the place has the alternatives too, some with the names of functions. An unknown key has any name.
    place = [key for key in outer if key not in ("body", *_ALTERNATIVES) and "[" not in str(key)]
    if is_unknown or (last != "body" and "[" not in str(last)):
        place.append(last)
    field = ".".join(map(str, place))
    if mistake["type"] == "json_invalid":
        return f"body: not valid JSON ({mistake.get('ctx', {}).get('error', mistake['msg'])})"
    if is_unknown:
        parent = ".".join(map(str, place[:-1]))
        fault = unknown_key(str(place[-1]), body_fields(request, place[:-1]))
        return f"{parent}: {fault}" if parent else fault
    # The options themselves name the field of an error.
    return mistake_message(field if mistake["type"] == "value_error" else field or "body", mistake)


async def _on_framework_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    message = str(error.detail)
    if isinstance(error.__cause__, (RecursionError, ValueError)):
        # The framework parses the body, and names no reason.
        code = "bad_json"
        message = f"body: not valid JSON ({_parsing_fault(error.__cause__)})"
    elif error.status_code == HTTPStatus.NOT_FOUND:
        message = f"path: unknown {shown(request.url.path)}{_near_path(request)}; /docs lists all"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        message = (
            f"method: must be {_methods(request, error.headers)} for {shown(request.url.path)}, got {request.method}"
        )
    return error_response(error.status_code, code, message, error.headers)


def _parsing_fault(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    # Beside texts in another encoding, only numbers of thousands of digits.
    return (
        "not UTF-8" if isinstance(error, UnicodeError) else f"a number has over {sys.get_int_max_str_digits():,} digits"
    )


def _routes(request: Request) -> dict[str, set[str]]:
    """Return the methods of every path of the server, parameters in braces."""
    routes = {path: {method.upper() for method in methods} for path, methods in request.app.openapi()["paths"].items()}
    # Pages are no part of the API.
    routes |= {route.path: set(route.methods or ()) for route in request.app.routes if isinstance(route, Route)}
    return routes


def _near_path(request: Request) -> str:
    """Return "; did you mean '/v1/indexes'", or nothing where no path of the server is near."""
    near = difflib.get_close_matches(request.url.path, _routes(request), n=1)
    return f"; did you mean {near[0]!r}" if near else ""


def _methods(request: Request, headers: Mapping[str, str] | None) -> str:
    """Return the methods that the path of a request takes: "DELETE or GET"."""
    first = (headers or {}).get("Allow", "").split(", ")
    matching = [methods for path, methods in _routes(request).items() if compile_path(path)[0].match(request.url.path)]
    return " or ".join(sorted(set(first).union(*matching) - {"HEAD", ""}))


async def _on_library_error(request: Request, error: Exception) -> Response:
    code = error_code(error) or "server_error"
    status = STATUS.get(code, 500)
    if status == 500:
        _log.error("fault", exc_info=error)
    return error_response(status, code, services_of(request).paths.hidden(str(error)))


async def _on_unexpected_error(_request: Request, _error: Exception) -> Response:
    # uvicorn logs the error. `RequestLog` has already responded, unless it failed itself.
    return internal_error()
