"""Encoders that are installed as Python packages of their own."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from serotine.wording import worded


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """A package whose folder `model` is an encoder.

    Attributes:
        name: the encoder's name.
        short_names: other names of it; a folder of such a name is meant by "./mini".
        package: the Python package.
        source: what `pip install` takes in a clone of Serotine.
    """

    name: str
    short_names: tuple[str, ...]
    package: str
    source: str

    def folder(self) -> Path | None:
        """Return the folder of the encoder; None if the package is not installed."""
        # find_spec of a top-level package does not run it.
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            return None
        return Path(spec.submodule_search_locations[0]) / "model"

    @property
    def install(self) -> str:
        """The command that installs it, in a clone of Serotine."""
        return f"pip install {self.source}"


MINI = ModelPackage("serotine-mini", ("default", "mini"), "serotine_mini", "./models/serotine-mini")
MULTI = ModelPackage("serotine-multi", ("multi", "multilingual"), "serotine_multi", "./models/serotine-multi")
PACKAGES = (MINI, MULTI)


def find_package(name: str) -> ModelPackage | None:
    """Return the package of an encoder by its name or a short name, in any case; None for any other name.

    >>> from serotine.model_packages import find_package
    >>> find_package("multilingual").name
    'serotine-multi'
    """
    name = name.lower()
    return next((package for package in PACKAGES if name == package.name or name in package.short_names), None)


_HTTP_ADVICE = "use an index with a multilingual encoder"


def package_names() -> list[str]:
    """Return every name of these encoders, short ones included."""
    return [name for package in PACKAGES for name in (*package.short_names, package.name)]


def multilingual_advice(use: str, encoder: str = MINI.name, otherwise: str = "") -> str:
    """Return how to get texts read that the encoder does not know: what to `use`, and where to get it from.

    Args:
        use: advice that names serotine-multi.
        encoder: name of the encoder that does not know the texts.
        otherwise: advice where that is serotine-multi itself.

    >>> from serotine.model_packages import multilingual_advice
    >>> multilingual_advice("index with --encoder multilingual").split(" (")[0]
    'index with --encoder multilingual'
    """
    if encoder == MULTI.name:
        return otherwise
    missing = "" if MULTI.folder() is not None else f" (not installed; in a clone of Serotine: {MULTI.install})"
    # Over HTTP, nobody chooses an encoder or installs one.
    return worded(f"{use}{missing}", http=_HTTP_ADVICE)


def create_multilingual() -> str:
    """Return the advice to create an index with the encoder for many languages."""
    return worded(
        'create the index with Encoder("multilingual")',
        http=_HTTP_ADVICE,
        command="index with --encoder multilingual",
    )
