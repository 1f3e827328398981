"""Requests over connections that stay open, with the standard library only."""

from __future__ import annotations

import http.client
import json
import math
import ssl
import time
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from serotine import __version__
from serotine.errors import ServerError
from serotine.wire import ERRORS

_AGAIN = (429, 503)
# A server that does not say when to come back is asked again after this long, and twice as long each time.
_FIRST_PAUSE = 0.1


class Connection:
    """What sends requests to one server; safe to use from any number of threads.

    Args:
        url: the server's, such as ``http://127.0.0.1:8000``.
        token: a bearer token, if the server wants one.
        timeout: seconds a request may take, pauses before another attempt included.

    Raises:
        ValueError: `url` is not one of http or https.
    """

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url: want one such as http://127.0.0.1:8000, got {url!r}")
        if parts.query or parts.fragment or parts.username:
            raise ValueError(f"url: want a server's address without query, fragment or user, got {url!r}")
        if token is not None and not (token.isascii() and token.isprintable() and token):
            raise ValueError("token: want printable ASCII characters")
        if not (math.isfinite(timeout) and timeout > 0):
            raise ValueError(f"timeout: want seconds above 0, got {timeout}")
        self.url = url.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self._timeout = timeout
        self._headers = {"User-Agent": f"serotine/{__version__}", "Accept": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._idle: list[http.client.HTTPConnection] = []

    def request(self, method: str, path: str, body: Any = None, *, repeatable: bool = True) -> Any:
        """The JSON that the server answers.

        A server that is busy (429, 503) has done nothing; it is asked again after the time it says, as long as the
        timeout allows.

        Args:
            method: of HTTP.
            path: of the resource.
            body: sent as JSON, unless None.
            repeatable: whether it does no harm if the server should get it twice.

        Raises:
            ServerError: no answer, or one that refuses.
            SerotineError, ValueError, TypeError: what the library would have raised.
        """
        data = None if body is None else _encoded(body)
        until, pause = time.monotonic() + self._timeout, _FIRST_PAUSE
        while True:
            status, headers, content = self._send(method, path, data, until, repeatable=repeatable)
            if status < 300:
                return _decoded(content, self.url)
            wait = max(_seconds(headers.get("Retry-After")), pause)
            if status not in _AGAIN or time.monotonic() + wait > until:
                raise _error(status, content, self.url)
            time.sleep(wait)
            pause *= 2

    def close(self) -> None:
        """Closes what is open; another request opens a connection again."""
        while (connection := self._take_idle()) is not None:
            connection.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(
        self, method: str, path: str, data: bytes | None, until: float, *, repeatable: bool
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        # The server may have closed an idle connection, which is only found out when it is used. A request that must
        # not be sent twice gets a new one, for itself alone.
        reused = self._take_idle() if repeatable else None
        if reused is not None:
            try:
                return self._exchange(reused, method, path, data, until, keep=True)
            except TimeoutError as error:
                reused.close()
                raise self._unreachable(error) from error
            except (http.client.HTTPException, OSError):
                reused.close()
        fresh = self._connect()
        try:
            return self._exchange(fresh, method, path, data, until, keep=repeatable)
        except (http.client.HTTPException, OSError) as error:
            fresh.close()
            raise self._unreachable(error) from error

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        data: bytes | None,
        until: float,
        *,
        keep: bool,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        remaining = max(until - time.monotonic(), 0.001)
        connection.timeout = remaining
        if connection.sock is not None:
            connection.sock.settimeout(remaining)
        headers = dict(self._headers) if keep else {**self._headers, "Connection": "close"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, self._prefix + path, data, headers)
        response = connection.getresponse()
        content = response.read()
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        return response.status, response.headers, content

    def _take_idle(self) -> http.client.HTTPConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(self._host, self._port, context=ssl.create_default_context())
        return http.client.HTTPConnection(self._host, self._port)

    def _unreachable(self, error: Exception) -> ServerError:
        if isinstance(error, TimeoutError):
            return ServerError(f"{self.url}: no answer within {self._timeout:g} seconds")
        return ServerError(f"{self.url}: cannot be reached ({error or type(error).__name__}); is the server running?")


def _encoded(body: Any) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise ValueError("a text holds a lone surrogate, which is no text; decode its source as UTF-8") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be sent as JSON ({error})") from None


def _decoded(content: bytes, url: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        raise ServerError(f"{url}: answers with what is no JSON; is it a Serotine server?") from None


def _error(status: int, content: bytes, url: str) -> Exception:
    try:
        told = json.loads(content)["error"]
        code, message = str(told["code"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        return ServerError(f"{url}: answers with status {status}; is it a Serotine server?", status=status, code="http")
    if code in ERRORS:
        return ERRORS[code](message)
    return ServerError(f"{url}: {message}", status=status, code=code)


def _seconds(value: str | None) -> float:
    return float(value) if value is not None and value.isdigit() else 0.0
