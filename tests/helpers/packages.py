"""Files of installed packages, found without importing them."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def packaged(package: str, path: str) -> Path | None:
    """Return a file or folder of an installed package; None if the package or the path is missing."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    file = Path(spec.submodule_search_locations[0]) / path
    return file if file.exists() else None
