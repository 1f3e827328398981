"""Large responses as JSON: written part by part, and refused before they are larger than one may be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi.responses import Response

from serotine.serving.errors import answer_too_large

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Answer:
    """The parts of one response.

    Args:
        limit: bytes of all of them.
        fix: what to ask for instead of a larger one; "" where there is nothing less.
    """

    def __init__(self, limit: int, fix: str) -> None:
        self._limit, self._fix = limit, fix
        self._bytes = 0

    def part(self, value: Any) -> bytes:
        """Return a value of the response as JSON.

        Raises:
            ServerError: 422 where the response would be larger than the limit.
        """
        encoded = to_json(value)
        self._bytes += len(encoded) + 1
        if self._bytes > self._limit:
            raise answer_too_large(self._limit, self._fix)
        return encoded

    def parts(self, values: Iterable[Any]) -> bytes:
        """Return values as a JSON list; see `part`."""
        return join_list(map(self.part, values))


def to_json(value: Any) -> bytes:
    """Return a value as JSON; not through its pydantic model, which would take longer than a search."""
    return _encoder.encode(value).encode()


def join_list(parts: Iterable[bytes]) -> bytes:
    """Return a JSON list of values that are JSON already."""
    return b"[" + b",".join(parts) + b"]"


def join_object(fields: Mapping[str, Any]) -> bytes:
    """Return a JSON object; values that are bytes are JSON already."""
    parts = (
        b"%b:%b" % (to_json(key), value if isinstance(value, bytes) else to_json(value))
        for key, value in fields.items()
    )
    return b"{" + b",".join(parts) + b"}"


def json_response(body: Mapping[str, Any] | bytes, status: int = 200) -> Response:
    """Return a body, or one that is JSON already, as a response."""
    return Response(body if isinstance(body, bytes) else to_json(body), status, media_type="application/json")
