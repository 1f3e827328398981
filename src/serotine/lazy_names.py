"""Lazy faces: a package whose public names load their modules on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that imports each name from its module, relative to the package."""

    def get(name: str) -> Any:
        if name not in modules:
            raise no_attribute(package, name, modules)
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return get


def no_attribute(module: str, name: str, names: Iterable[str]) -> AttributeError:
    """Return the error for a name that a module lacks; it suggests the nearest of its public `names`.

    >>> str(no_attribute("serotine", "Indx", ["Encoder", "Index"]))
    "module 'serotine' has no attribute 'Indx'; did you mean 'Index'"
    """
    message = f"module {module!r} has no attribute {name!r}"
    # Names that protocols look for, such as __path__, are no misspellings.
    if not name.startswith("_"):
        import difflib

        near = difflib.get_close_matches(name, names, n=1)
        message += f"; did you mean {near[0]!r}" if near else ""
    return AttributeError(message)
