"""Who a browser may be sent by: the names this server answers to, and pages of its own only.

A server on loopback without tokens is protected by being reachable from this machine alone. A browser on this machine
breaks that: a page from anywhere can send it requests, or have its own name resolve to 127.0.0.1 (DNS rebinding). So
the Host of a request must be an address, localhost or a name that was allowed, and a request that a page of another
origin sent is refused, but for a link to one of our pages that was followed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from serotine.serving.failures import answer

# What a link of another site may lead to: nothing happens before the page itself asks.
_PAGES = ("/", "/docs")
_LOCAL = frozenset({"localhost"})


class OriginGuard:
    """Refuses requests to other names (421) and from other sites (403).

    Args:
        app: what answers.
        hosts: names allowed beside localhost and addresses; None for any name.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str] | None) -> None:
        self._app = app
        self._hosts = None if hosts is None else _LOCAL | {host.lower().rstrip(".") for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "http":
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            host = headers.get(b"host", "")
            if not self._allowed(_name(host)):
                refusal = answer(421, "wrong_host", "this server does not answer to that name; see --allow-host")
                await refusal(scope, receive, send)
                return
            origin = headers.get(b"origin")
            foreign = origin is not None and not _is_own(origin, host)
            cross_site = headers.get(b"sec-fetch-site") == "cross-site" and not _is_link(scope, headers)
            if foreign or cross_site:
                refusal = answer(403, "wrong_origin", "requests of other sites' pages are refused")
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _allowed(self, name: str) -> bool:
        return self._hosts is None or name in self._hosts or _is_address(name)


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_link(scope: Scope, headers: Mapping[bytes, str]) -> bool:
    """Whether a person goes to one of the pages: the site that the link stands on gets nothing of it."""
    return (
        scope["method"] == "GET"
        and scope["path"] in _PAGES
        and headers.get(b"sec-fetch-mode") == "navigate"
        and headers.get(b"sec-fetch-dest") == "document"
    )


def _is_own(origin: str, host: str) -> bool:
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
