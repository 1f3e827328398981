"""The options of an encoder, and its warnings as lines of ours."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from serotine.cli.output import warn

if TYPE_CHECKING:
    from serotine.encoders import Encoder

Command = TypeVar("Command", bound=Callable[..., Any])
_OPTIONS = ("revision", "device", "marker_position", "dim", "pool_factor", "query_length")


def encoder_options(command: Command) -> Command:
    """Adds what an encoder can be loaded with, handed on as the argument `encoder_settings`: those given."""

    @wraps(command)
    def gathered(*arguments: Any, **named: Any) -> Any:
        settings = {key: named.pop(key) for key in _OPTIONS}
        given = {key: value for key, value in settings.items() if value is not None}
        return command(*arguments, encoder_settings=given, **named)

    for option in reversed(
        (
            click.option("--revision", metavar="NAME", help="Of a hub id: branch, tag or commit."),
            click.option("--device", metavar="NAME", help="Where torch runs: cpu, cuda, cuda:1, mps.  [default: best]"),
            click.option(
                "--marker-position",
                type=click.Choice(["prepend", "after_first"]),
                help="Where [Q] and [D] stand.  [default: as the checkpoint's format has it]",
            ),
            click.option(
                "--dim", type=click.IntRange(min=1), help="Keep the first numbers of each vector (Matryoshka)."
            ),
            click.option(
                "--pool-factor", type=click.FloatRange(min=1), help="Merge document vectors, about so many in one."
            ),
            click.option(
                "--query-length",
                type=click.IntRange(min=1),
                metavar="TOKENS",
                help="Most tokens of a query.  [default: as the checkpoint has it]",
            ),
        )
    ):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]


def load_encoder(name: str | None, *, quiet: bool = False, **settings: Any) -> Encoder:
    """Loads an encoder; what it warns of is written as a `warning:` line, unless `quiet`."""
    from serotine.encoders import Encoder

    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            loaded = Encoder(name, **settings)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    for warning in told if not quiet else []:
        warn(str(warning.message))
    return loaded
