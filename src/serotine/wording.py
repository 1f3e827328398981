"""The words of a message, by who reads it: programs and commands name options, answers over HTTP cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

_reader: ContextVar[Literal["program", "command", "http"]] = ContextVar("serotine_reader", default="program")


def worded(message: str, *, http: str, command: str | None = None) -> str:
    """Return the words of a message, or of a part of it, for who reads it here.

    Args:
        message: for the caller of a function; it may name arguments.
        http: for the reader of an answer over HTTP, on the page too.
        command: for the user of a command; None: as `message`.

    >>> from serotine.wording import over_http, worded
    >>> with over_http():
    ...     worded("pass upsert=True to replace it", http="set upsert to true to replace it")
    'set upsert to true to replace it'
    """
    reader = _reader.get()
    if reader == "http":
        return http
    return message if reader == "program" or command is None else command


def local_fix(fix: str, *, command: str | None = None) -> str:
    """Return what to do about files and libraries of this machine; over HTTP, only who runs the server can do that.

    >>> from serotine.wording import local_fix, over_http
    >>> with over_http():
    ...     local_fix("run: pip install 'serotine[torch]'")
    'who runs the server can correct it'
    """
    return worded(fix, http="who runs the server can correct it", command=command)


@contextmanager
def over_http() -> Iterator[None]:
    """Word messages within the block for HTTP, also on threads that copy its context."""
    token = _reader.set("http")
    try:
        yield
    finally:
        _reader.reset(token)


@contextmanager
def on_command_line() -> Iterator[None]:
    """Word messages within the block for the user of a command."""
    token = _reader.set("command")
    try:
        yield
    finally:
        _reader.reset(token)
