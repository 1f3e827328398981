"""Options that say how an index is made, and which of its documents a search may find."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from serotine.nesting import check_nesting

if TYPE_CHECKING:
    from serotine.index import IndexStats

Command = TypeVar("Command", bound=Callable[..., Any])
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


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

    def fields(self) -> dict[str, str]:
        """The declared fields as an index records them: ``{"year": "int"}``."""
        return {name: kind.__name__ for name, kind in (self.filterable or {}).items()}

    def check_against(self, stats: IndexStats) -> None:
        """Refuses what an index that is there already was made without.

        Raises:
            click.UsageError: in the words of the options.
        """
        for asked, there in (
            (None if self.nbits is None else f"--nbits {self.nbits}", f"--nbits {stats.nbits}"),
            (None if self.keep_vectors is None else _kept(self.keep_vectors), _kept(stats.keep_vectors)),
            (None if self.filterable is None else _fields(self.fields()), _fields(stats.filterable)),
        ):
            if asked is not None and asked != there:
                raise click.UsageError(
                    f"{asked}: the index was made with {there}; leave the option out to go on with it",
                    click.get_current_context(),
                )


def _kept(keep: bool) -> str:
    return "--keep-vectors" if keep else "--no-keep-vectors"


def _fields(fields: Mapping[str, str]) -> str:
    # Sorted: in what order they were declared makes no difference.
    return " ".join(f"--filterable {name}:{kind}" for name, kind in sorted(fields.items())) or "no --filterable"


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
        if declared.get(name, _TYPES[kind]) is not _TYPES[kind]:
            raise click.BadParameter(f"{name!r} stands twice with different types; choose one", ctx, parameter)
        declared[name] = _TYPES[kind]
    if not declared:
        return None
    from serotine.index.store.filters import check_filterable

    try:
        check_filterable(declared)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, parameter) from None
    return declared


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
        check_nesting(value)
    except ValueError:
        raise click.BadParameter("is nested too deeply; write it flatter", ctx, parameter) from None
    try:
        found = json.loads(value, object_pairs_hook=_members)
    except click.BadParameter as error:
        raise click.BadParameter(error.message, ctx, parameter) from None
    except ValueError as error:
        raise click.BadParameter(f"is not JSON ({error})", ctx, parameter) from None
    if not isinstance(found, dict):
        raise click.BadParameter(f"want a JSON object, got {value}", ctx, parameter)
    return found


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of two members of one name JSON's own reader would silently drop the first, a condition."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise click.BadParameter(f'{name!r} stands twice in one object; put both conditions into "and": [...]')
        members[name] = value
    return members


def check_where(where: dict[str, Any] | None, filterable: Mapping[str, str]) -> None:
    """Refuses a filter that an index could not answer, before an encoder is loaded for the question.

    Raises:
        click.UsageError: what is wrong, and where in the filter.
    """
    if where is None:
        return
    from serotine.index.store.filters import compile_where

    try:
        compile_where(where, filterable)
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"--{error}", click.get_current_context()) from None
