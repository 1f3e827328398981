"""Indexes over HTTP (`serotine serve`) and as tools for agents (`serotine mcp`).

Names load on first use: settings and tokens need no server library, and neither server needs the other's.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from serotine.lazy_names import no_attribute

if TYPE_CHECKING:
    from serotine.serving.bearer_tokens import Token, read_tokens
    from serotine.serving.http.replica import create_replica
    from serotine.serving.http.run import serve
    from serotine.serving.index_folders import index_name
    from serotine.serving.listening import free_address
    from serotine.serving.mcp.server import serve_http as serve_mcp_http
    from serotine.serving.mcp.server import serve_stdio as serve_mcp_stdio
    from serotine.serving.settings import Limits, ServerSettings

__all__ = [
    "Limits",
    "ServerSettings",
    "Token",
    "create_replica",
    "free_address",
    "index_name",
    "read_tokens",
    "serve",
    "serve_mcp_http",
    "serve_mcp_stdio",
]

_HOMES = {
    "Limits": ("serotine.serving.settings", "Limits"),
    "ServerSettings": ("serotine.serving.settings", "ServerSettings"),
    "Token": ("serotine.serving.bearer_tokens", "Token"),
    "create_replica": ("serotine.serving.http.replica", "create_replica"),
    "free_address": ("serotine.serving.listening", "free_address"),
    "index_name": ("serotine.serving.index_folders", "index_name"),
    "read_tokens": ("serotine.serving.bearer_tokens", "read_tokens"),
    "serve": ("serotine.serving.http.run", "serve"),
    "serve_mcp_http": ("serotine.serving.mcp.server", "serve_http"),
    "serve_mcp_stdio": ("serotine.serving.mcp.server", "serve_stdio"),
}


def __getattr__(name: str) -> Any:
    """Import a name of the face from its module the first time it is used."""
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(importlib.import_module(module), attribute)
    raise no_attribute("serotine.serving", name, __all__)


def __dir__() -> list[str]:
    return sorted(__all__)
