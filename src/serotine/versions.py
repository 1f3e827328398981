"""Which versions decided a number: part of every result that is kept."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

from serotine import __version__


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Serotine's version and those of `packages`; packages not installed are left out."""
    found = {"serotine": __version__}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
