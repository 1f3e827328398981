"""Late-interaction retrieval: token vectors, MaxSim scoring, and a crash-safe index.

The public names are in `__all__`. Each loads on first use, so that ``import serotine`` is fast and never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from serotine.lazy_names import no_attribute
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

_MODULES = {
    "Client": "serotine.client",
    "Encoder": "serotine.encoders",
    "Hit": "serotine.index",
    "Hits": "serotine.index",
    "Index": "serotine.index",
    "SerotineError": "serotine.errors",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name == "maxsim":
        return importlib.import_module("serotine.maxsim")
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise no_attribute("serotine", name, __all__)


def __dir__() -> list[str]:
    return sorted(__all__)
