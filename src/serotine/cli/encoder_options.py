"""Options of an encoder, and its warnings as one line each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from serotine.cli.output import warn

if TYPE_CHECKING:
    from serotine.encoders import Encoder

Command = TypeVar("Command", bound=Callable[..., Any])
ENCODER_NAMES = "default, mini, multilingual, a hub id or a folder"
"""What every option for an encoder takes, in its help."""

_OPTIONS = ("revision", "backend", "device", "dtype", "marker_position", "dim", "pool_factor", "query_length")


def encoder_options(command: Command) -> Command:
    """Add the options for loading an encoder, as the argument `encoder_settings`; options not given are left out."""

    @wraps(command)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        options = {key: named.pop(key) for key in _OPTIONS}
        settings = {key: value for key, value in options.items() if value is not None}
        return command(*arguments, encoder_settings=settings, **named)

    for option in reversed(
        (
            click.option("--revision", metavar="NAME", help="Branch, tag or commit of a hub id."),
            click.option(
                "--backend",
                type=click.Choice(["native", "onnx", "torch"]),
                help="What runs the model.  [default: native where it can, see `serotine model info`]",
            ),
            click.option("--device", metavar="NAME", help="Where torch runs: cpu, cuda, cuda:1, mps.  [default: best]"),
            click.option(
                "--dtype",
                type=click.Choice(["float32", "float16", "bfloat16"]),
                help="Numbers torch computes in.  [default: bfloat16 on a CPU with AVX512-BF16, else float32]",
            ),
            click.option(
                "--marker-position",
                type=click.Choice(["prepend", "after_first"]),
                help="Position of [Q] and [D].  [default: as in the checkpoint's format]",
            ),
            click.option(
                "--dim", type=click.IntRange(min=1), help="Use the first dimensions of each vector (Matryoshka)."
            ),
            click.option(
                "--pool-factor", type=click.FloatRange(min=1), help="Merge document vectors, about this many into one."
            ),
            click.option(
                "--query-length",
                type=click.IntRange(min=1),
                metavar="TOKENS",
                help="Maximum tokens of a query.  [default: as in the checkpoint]",
            ),
        )
    ):
        wrapper = option(wrapper)
    return wrapper  # type: ignore[return-value]


def load_encoder(name: str | None, *, quiet: bool = False, **settings: Any) -> Encoder:
    """Load an encoder, and write each of its warnings as a `warning:` line, unless `quiet`."""
    from serotine.encoders import Encoder

    try:
        with warning_lines(quiet=quiet):
            return Encoder(name, **settings)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None


@contextmanager
def warning_lines(*, quiet: bool = False) -> Iterator[None]:
    """Write every Python warning as a `warning:` line, each once, unless `quiet`."""
    written: set[str] = set()

    def write(message: Warning | str, *_rest: Any, **_named: Any) -> None:
        if not quiet and str(message) not in written:
            written.add(str(message))
            warn(str(message))

    with warnings.catch_warnings():
        warnings.showwarning = write
        warnings.simplefilter("always")
        yield
