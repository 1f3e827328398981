"""Versions of packages, recorded with every stored result."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

from serotine import __version__


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return Serotine's version and those of `packages`; packages not installed are left out."""
    installed = {"serotine": __version__}
    for name in packages:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed
