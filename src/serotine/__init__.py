"""Late-interaction retrieval: token vectors, MaxSim, an index that never loses data.

The public names are `Encoder`, `Index`, `Client`, `Hit` and the `maxsim` module. They load on first use, so that
``import serotine`` stays fast and never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from serotine.privacy import disable_telemetry

if TYPE_CHECKING:
    from serotine import maxsim
    from serotine.client import Client
    from serotine.encoders import Encoder
    from serotine.errors import SerotineError
    from serotine.index import Hit, Hits, Index

# First of all: dependencies read these settings when they are imported.
disable_telemetry()

__version__ = "0.1.0"
__all__ = ["Client", "Encoder", "Hit", "Hits", "Index", "SerotineError", "__version__", "maxsim"]

_HOMES = {
    "Client": "serotine.client",
    "Encoder": "serotine.encoders",
    "Hit": "serotine.index",
    "Hits": "serotine.index",
    "Index": "serotine.index",
    "SerotineError": "serotine.errors",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its room the first time it is asked for."""
    if name == "maxsim":
        return importlib.import_module("serotine.maxsim")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'serotine' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
