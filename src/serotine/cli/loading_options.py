"""Options that say how files become documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def chunking_options(command: Command) -> Command:
    """Adds ``--chunk-tokens``, ``--overlap`` and ``--no-chunk``."""
    options = (
        click.option(
            "--chunk-tokens",
            type=click.IntRange(min=16),
            metavar="TOKENS",
            help="Most tokens of a passage.  [default: as the index was made; 256 if the encoder reads so many]",
        ),
        click.option(
            "--overlap",
            type=click.IntRange(min=0),
            metavar="TOKENS",
            help="About how many tokens a passage shares with the one before it.  [default: an eighth]",
        ),
        click.option("--no-chunk", is_flag=True, help="Keep every text whole; encoders cut off what is too long."),
    )
    for option in reversed(options):
        command = option(command)
    return command
