"""Files of installed packages, found without importing them."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def packaged(package: str, path: str) -> Path | None:
    """A file or folder in a package; None where the package, or that in it, is not there."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    place = Path(found.submodule_search_locations[0]) / path
    return place if place.exists() else None
