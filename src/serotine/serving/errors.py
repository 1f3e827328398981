"""Errors that a server adds to the library's: load, time and rights. Each carries its HTTP status."""

from __future__ import annotations

from serotine.errors import ServerError


def overloaded(pending: int) -> ServerError:
    """Return the error for a request beyond the queue's capacity."""
    return ServerError(
        f"too many requests: {pending:,} are in progress; retry in a moment", status=429, code="overloaded"
    )


def answer_too_large(limit: int, fix: str) -> ServerError:
    """Return the error for a response beyond the limit of bytes; `fix` is "" where asking for less is impossible."""
    others = f"{fix}, or let who runs the server" if fix else "who runs the server can"
    message = f"answer: must be at most {limit:,} bytes; {others} allow more"
    return ServerError(message, status=422, code="answer_too_large")


def timed_out(seconds: float, *, still_running: bool) -> ServerError:
    """Return the error for a request that took too long."""
    rest = "; the change is still running and may be committed: check before retrying" if still_running else ""
    return ServerError(f"took longer than {seconds:g} seconds{rest}", status=504, code="timeout")


def read_only() -> ServerError:
    """Return the error for a change on a read-only server."""
    return ServerError("this server is read-only; it refuses every change", status=403, code="read_only")


def not_for_shards(argument: str, name: str, fix: str) -> ServerError:
    """Return the error for a request that an index in shards does not have."""
    return ServerError(f"{argument}: {name!r} is an index in shards; {fix}", status=422, code="bad_value")


def unavailable(message: str) -> ServerError:
    """Return the error for a request that may succeed later."""
    return ServerError(message, status=503, code="unavailable")
