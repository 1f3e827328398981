"""Options of searches that belong to certain modes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from serotine.cli.encoder_options import Command

if TYPE_CHECKING:
    from serotine.index import FirstStage, Mode


def weights_option(command: Command) -> Command:
    """Add ``--weights LATE OTHER``, as the argument `weights`."""
    return click.option(
        "--weights",
        nargs=2,
        type=click.FloatRange(min=0),
        metavar="LATE OTHER",
        help="With --mode hybrid, weights of late interaction and of BM25; with --mode pooled, of late interaction and "
        "of the pooled vectors: 0 1 ranks by these alone.  [default: those of the index, see `serotine info`]",
    )(command)


def first_stage_option(command: Command) -> Command:
    """Add ``--first-stage``, as the argument `first_stage`."""
    return click.option(
        "--first-stage",
        type=click.Choice(["tokens", "pooled"]),
        help="With --mode pooled, where candidates come from: the search of tokens, or the pooled vectors.  [default: "
        "both]",
    )(command)


def check_mode_options(mode: Mode, weights: tuple[float, float] | None, first_stage: FirstStage | None) -> None:
    """Raise click.UsageError for an option that a mode does not have."""
    context = click.get_current_context()
    if weights is not None and mode not in ("hybrid", "pooled"):
        raise click.UsageError(f"--weights: needs --mode hybrid or pooled, got --mode {mode}", context)
    if weights is not None and not (any(weights) and all(map(math.isfinite, weights))):
        raise click.UsageError(f"--weights: must be finite and not both 0, got {weights[0]:g} {weights[1]:g}", context)
    if first_stage is not None and mode != "pooled":
        raise click.UsageError(f"--first-stage: needs --mode pooled, got --mode {mode}", context)
