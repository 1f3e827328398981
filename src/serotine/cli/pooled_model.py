"""The dense model of ``--pooled``, whose vectors an index stores beside those of the tokens."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.encoder_options import Command, load_encoder
from serotine.cli.output import warn
from serotine.errors import EncoderError, SerotineError

if TYPE_CHECKING:
    from serotine.encoders import Encoder
    from serotine.index import Index

ENCODER_ITSELF = "encoder"
"""What the option takes for the encoder of the index."""


def pooled_option(command: Command) -> Command:
    """Add ``--pooled MODEL``, as the argument `pooled`."""
    return click.option(
        "--pooled",
        metavar="MODEL",
        help="Store one vector of each passage too, for --mode pooled of a search: of a dense model, a hub id or a "
        f"folder; or {ENCODER_ITSELF!r} for the encoder's own, if it is dense.  [default: as before in this index, "
        "unless it is overwritten, or none]",
    )(command)


def load_pooled(name: str | None, encoder: Any, settings: dict[str, Any]) -> Any:
    """Return the model that ``--pooled`` names; None where it was not given.

    Args:
        name: the value of the option.
        encoder: of the index's tokens.
        settings: of that encoder; the model runs on the same device.

    Raises:
        click.UsageError: the model has no vector of a whole text.
    """
    if name is None:
        return None
    return encoder if name == ENCODER_ITSELF and _has_pooled(encoder, name) else _load_dense(name, settings)


def check_recorded(name: str | None, path: Path, settings: dict[str, Any]) -> Encoder | None:
    """Return the model to open an existing index with, which refuses another; None for what it records.

    Raises:
        click.UsageError: the index has no pooled vectors, or not those of its encoder.
    """
    from serotine.index import read_settings

    if name is None:
        return None
    recorded = read_settings(path)
    context = click.get_current_context()
    if recorded.pooled is None:
        raise click.UsageError(
            f"--pooled {name}: the index was created without pooled vectors; leave the option out, or create it again "
            "with --overwrite",
            context,
        )
    if name != ENCODER_ITSELF:
        return _load_dense(name, settings)
    if (recorded.pooled.encoder, recorded.pooled.fingerprint) != (recorded.encoder, recorded.fingerprint):
        raise click.UsageError(
            f"--pooled {name}: the index was created with --pooled {recorded.pooled.encoder}; leave the option out",
            context,
        )
    return None


def require_query_model(index: Index, path: Path, fix: str) -> None:
    """Raise EncoderError unless an index has a model for the pooled vectors of queries; `fix` says what to do."""
    pooled = index.stats().pooled
    if pooled is None or pooled.encoder is None:
        lack = "stores no pooled vectors" if pooled is None else "has no model for the pooled vectors of queries"
        raise EncoderError(f"{path}: {lack}; {fix}")


def warn_about_lost_pooled(path: Path) -> None:
    """Warn that a new index without pooled vectors replaces one with them."""
    from serotine.index import read_settings

    with suppress(SerotineError):
        recorded = read_settings(path).pooled
        if recorded is not None and recorded.encoder is not None:
            warn(f"{path}: the new index has no pooled vectors; --pooled {recorded.encoder} stores them again")


def _load_dense(name: str, settings: dict[str, Any]) -> Encoder:
    # The option says that it is a dense model: no warning.
    model = load_encoder(name, quiet=True, **{key: value for key, value in settings.items() if key == "device"})
    _has_pooled(model, name)
    return model


def _has_pooled(model: Any, name: str) -> bool:
    if getattr(model, "pooled_dim", None) is None:
        raise click.UsageError(
            f"--pooled {name}: {model.name!r} has no vector of a whole text; name a dense model, such as "
            "sentence-transformers/all-MiniLM-L6-v2",
            click.get_current_context(),
        )
    return True
