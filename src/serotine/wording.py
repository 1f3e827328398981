"""The words of a message, by who reads it: programs and commands name options, answers over HTTP cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_over_http: ContextVar[bool] = ContextVar("serotine_over_http", default=False)


def worded(message: str, *, http: str) -> str:
    """Return the words of a message, or of a part of it, for who reads it here.

    Args:
        message: for the caller of a function or command; it may name arguments and options.
        http: for the reader of an answer over HTTP, on the page too.

    >>> from serotine.wording import over_http, worded
    >>> with over_http():
    ...     worded("pass upsert=True to replace it", http="set upsert to true to replace it")
    'set upsert to true to replace it'
    """
    return http if _over_http.get() else message


@contextmanager
def over_http() -> Iterator[None]:
    """Word messages within the block for HTTP, also on threads that copy its context."""
    token = _over_http.set(True)
    try:
        yield
    finally:
        _over_http.reset(token)
