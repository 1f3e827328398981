"""Protection against other sites' pages: accepted host names, and requests from this server's own pages only.

A server on loopback without tokens is protected because only this machine can reach it. A browser on this machine
breaks that: any page can send it requests, or have its own name resolve to 127.0.0.1 (DNS rebinding). So the Host of a
request must be an address, localhost or an allowed name, and a request from another origin's page is refused, except
a followed link to one of this server's pages.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from serotine.errors import shown
from serotine.serving.http.errors import error_response

# Pages that other sites may link to: they change nothing by being opened.
_PAGES = ("/", "/docs")
_LOCAL = frozenset({"localhost"})


class OriginGuard:
    """Refuses requests to other names (421) and from other sites (403).

    Args:
        app: the wrapped application.
        hosts: names accepted besides localhost and addresses; None accepts any.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str] | None) -> None:
        self._app = app
        self._hosts = None if hosts is None else _LOCAL | {host.lower().rstrip(".") for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "http":
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            host = headers.get(b"host", "")
            if not self._is_allowed(_host_name(host)):
                fault = f"Host: must be a name or address of this server, got {shown(_host_name(host))}"
                refusal = error_response(421, "wrong_host", f"{fault}; who runs the server can allow that name")
                await refusal(scope, receive, send)
                return
            origin = headers.get(b"origin")
            foreign = origin is not None and not _is_same_origin(origin, host)
            cross_site = headers.get(b"sec-fetch-site") == "cross-site" and not _is_link(scope, headers)
            if foreign or cross_site:
                refusal = error_response(403, "wrong_origin", "requests from other sites' pages are refused")
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_allowed(self, name: str) -> bool:
        return self._hosts is None or name in self._hosts or _is_address(name)


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_link(scope: Scope, headers: Mapping[bytes, str]) -> bool:
    """Return whether a person followed a link to one of the pages: the linking site sees nothing of it."""
    return (
        scope["method"] == "GET"
        and scope["path"] in _PAGES
        and headers.get(b"sec-fetch-mode") == "navigate"
        and headers.get(b"sec-fetch-dest") == "document"
    )


def _is_same_origin(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
