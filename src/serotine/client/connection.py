"""Requests over persistent connections, with the standard library only."""

from __future__ import annotations

import http.client
import json
import math
import ssl
import threading
import time
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from serotine import __version__
from serotine.errors import ServerError, invalid, reason
from serotine.wire import ERRORS, LIBRARY_CLIENT

_BUSY = (429, 503)
# Seconds before the first retry where the server names none; doubled each time.
_FIRST_DELAY = 0.1


class Connection:
    """Persistent connections to one server; safe for any number of threads.

    Args:
        url: the server's address, such as ``http://127.0.0.1:8000``.
        token: a bearer token, where the server requires one.
        timeout: seconds for one request, retries included.

    Raises:
        ValueError: an invalid argument.
    """

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise invalid("url", "an address such as http://127.0.0.1:8000", url)
        if parts.query or parts.fragment or parts.username:
            raise invalid("url", "without query, fragment and user", url)
        if token is not None and not (token.isascii() and token.isprintable() and token):
            raise ValueError("token: must be printable ASCII characters")
        if not (math.isfinite(timeout) and timeout > 0):
            raise invalid("timeout", "seconds above 0", timeout)
        self.url = url.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self._timeout = timeout
        self._headers = {
            "User-Agent": f"serotine/{__version__}",
            "Accept": "application/json",
            **dict([LIBRARY_CLIENT]),
        }
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._idle: list[http.client.HTTPConnection] = []
        # Counts calls of `close`: a request in progress during one closes its connection instead of leaving it idle.
        self._closings = 0
        self._lock = threading.Lock()

    def request(self, method: str, path: str, body: Any = None, *, repeatable: bool = True) -> Any:
        """Send a request and return the response's JSON.

        A busy server (429, 503) has done nothing: the request is retried after the delay the server names, within the
        timeout.

        Args:
            method: HTTP method.
            path: path of the resource.
            body: sent as JSON unless None.
            repeatable: whether the server may safely receive it twice.

        Raises:
            ServerError: no response, or a refusal.
            SerotineError, ValueError, TypeError: as the method of `Index` would raise.
        """
        data = None if body is None else _encode(body)
        deadline, delay = time.monotonic() + self._timeout, _FIRST_DELAY
        while True:
            status, headers, content = self._send(method, path, data, deadline, repeatable=repeatable)
            if status < 300:
                return _decode(content, self.url)
            wait = max(_seconds(headers.get("Retry-After")), delay)
            if status not in _BUSY or time.monotonic() + wait > deadline:
                raise _error(status, content, self.url)
            time.sleep(wait)
            delay *= 2

    def close(self) -> None:
        """Close all connections, those in use after their response; a later request opens a new one."""
        with self._lock:
            self._closings += 1
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(
        self, method: str, path: str, data: bytes | None, deadline: float, *, repeatable: bool
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        # The server may have closed an idle connection, which shows only on use. A request that must not be sent
        # twice therefore gets a new connection.
        reused = self._take_idle() if repeatable else None
        if reused is not None:
            try:
                return self._exchange(reused, method, path, data, deadline, reuse=True)
            except TimeoutError as error:
                reused.close()
                raise self._unreachable(error) from error
            except (http.client.HTTPException, OSError):
                reused.close()
        fresh = self._connect()
        try:
            return self._exchange(fresh, method, path, data, deadline, reuse=repeatable)
        except (http.client.HTTPException, OSError) as error:
            fresh.close()
            raise self._unreachable(error) from error

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        data: bytes | None,
        deadline: float,
        *,
        reuse: bool,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        closings = self._closings
        remaining = max(deadline - time.monotonic(), 0.001)
        connection.timeout = remaining
        if connection.sock is not None:
            connection.sock.settimeout(remaining)
        headers = dict(self._headers) if reuse else {**self._headers, "Connection": "close"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, self._prefix + path, data, headers)
        response = connection.getresponse()
        content = response.read()
        with self._lock:
            keep = not response.will_close and closings == self._closings
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()
        return response.status, response.headers, content

    def _take_idle(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(self._host, self._port, context=ssl.create_default_context())
        return http.client.HTTPConnection(self._host, self._port)

    def _unreachable(self, error: Exception) -> ServerError:
        if isinstance(error, TimeoutError):
            return ServerError(f"{self.url}: no response within {self._timeout:g} seconds")
        return ServerError(f"{self.url}: cannot be reached ({reason(error)}); is the server running?")


def _encode(body: Any) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise ValueError("a text contains a lone surrogate; decode its source as UTF-8") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({reason(error)})") from None


def _decode(content: bytes, url: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        raise ServerError(f"{url}: the response is not JSON; is it a Serotine server?") from None


def _error(status: int, content: bytes, url: str) -> Exception:
    try:
        body = json.loads(content)["error"]
        code, message = str(body["code"]), str(body["message"])
    except (ValueError, KeyError, TypeError):
        return ServerError(f"{url}: unexpected status {status}; is it a Serotine server?", status=status, code="http")
    if code in ERRORS:
        return ERRORS[code](message)
    return ServerError(f"{url}: {message}", status=status, code=code)


def _seconds(value: str | None) -> float:
    return float(value) if value is not None and value.isdigit() else 0.0
