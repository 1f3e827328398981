"""Options that say how an index is made, and metadata as the fields they declare."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from serotine.errors import InputFileError

if TYPE_CHECKING:
    from serotine.index import IndexStats
    from serotine.ingest import Document

Command = TypeVar("Command", bound=Callable[..., Any])
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
_TRUTH = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class Engine:
    """What was asked of a new index; None where nothing was said."""

    nbits: int | None
    keep_vectors: bool | None
    filterable: dict[str, type] | None

    def arguments(self) -> dict[str, Any]:
        """For `Index.create`."""
        said = {"nbits": self.nbits, "keep_vectors": self.keep_vectors, "filterable": self.filterable}
        return {name: value for name, value in said.items() if value is not None}

    def check_against(self, stats: IndexStats) -> None:
        """Refuses what an index that is there already was made without."""
        filterable = None if self.filterable is None else {name: t.__name__ for name, t in self.filterable.items()}
        for option, asked, there in (
            ("--nbits", self.nbits, stats.nbits),
            ("--keep-vectors", self.keep_vectors, stats.keep_vectors),
            ("--filterable", filterable, stats.filterable),
        ):
            if asked is not None and asked != there:
                raise click.UsageError(
                    f"{option}: the index was made with {there}; leave the option out to go on with it"
                )


def engine_options(command: Command) -> Command:
    """Adds ``--nbits``, ``--keep-vectors`` and ``--filterable``."""
    options = (
        click.option(
            "--nbits",
            type=click.Choice(["2", "4", "8"]),
            help="Bits a dimension of the compressed vectors that a search looks at.  [default: 4]",
        ),
        click.option(
            "--keep-vectors/--no-keep-vectors",
            default=None,
            help="Keep float16 vectors on disk for exact final scores.  [default: keep]",
        ),
        click.option(
            "--filterable",
            multiple=True,
            metavar="NAME:TYPE",
            callback=_filterable,
            help="A metadata field that filters find through an index; TYPE is str, int, float or bool; repeatable.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _filterable(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, type] | None:
    declared: dict[str, type] = {}
    for value in values:
        name, colon, kind = value.rpartition(":")
        if not colon or not name or kind not in _TYPES:
            raise click.BadParameter(f"want NAME:TYPE with one of {', '.join(_TYPES)}, got {value!r}", ctx, parameter)
        declared[name] = _TYPES[kind]
    return declared or None


def where_option(command: Command) -> Command:
    """Adds ``--where JSON``, as the argument `where`."""
    return click.option(
        "--where",
        metavar="JSON",
        callback=_where,
        help='Only documents whose metadata match, such as \'{"lang": "en", "year": {">=": 2020}}\'.',
    )(command)


def _where(ctx: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        found = json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"is not JSON ({error})", ctx, parameter) from None
    if not isinstance(found, dict):
        raise click.BadParameter(f"want a JSON object, got {value}", ctx, parameter)
    return found


def typed(document: Document, filterable: Mapping[str, str]) -> dict[str, Any]:
    """A document's metadata with strings in declared fields, as CSV has them, turned into what was declared.

    Raises:
        InputFileError: a string that says no such value.
    """
    metadata = dict(document.metadata)
    for name, kind in filterable.items():
        value = metadata.get(name)
        if kind == "str" or not isinstance(value, str):
            continue
        if not value.strip():
            del metadata[name]
            continue
        try:
            metadata[name] = _TRUTH[value.strip().lower()] if kind == "bool" else _TYPES[kind](value)
        except (ValueError, KeyError):
            raise InputFileError(
                f"{document.origin}: the field {name!r} of {document.id!r} is {value!r}, which is no {kind}"
            ) from None
    return metadata
