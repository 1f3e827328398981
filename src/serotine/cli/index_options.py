"""Options that set how an index is created, and which of its documents a search may return."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from serotine.cli.output import shell_line
from serotine.errors import shown
from serotine.nesting import check_nesting

if TYPE_CHECKING:
    from serotine.index import IndexStats

Command = TypeVar("Command", bound=Callable[..., Any])
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """Options of a new index; None where an option was not given."""

    nbits: int | None
    keep_vectors: bool | None
    filterable: dict[str, type] | None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for `Index.create`."""
        options = {"nbits": self.nbits, "keep_vectors": self.keep_vectors, "filterable": self.filterable}
        return {name: value for name, value in options.items() if value is not None}

    def fields(self) -> dict[str, str]:
        """Return the declared fields as an index records them: ``{"year": "int"}``."""
        return {name: kind.__name__ for name, kind in (self.filterable or {}).items()}

    def check_against(self, stats: IndexStats) -> None:
        """Raise click.UsageError where an option differs from how an existing index was created."""
        for option, recorded in (
            (None if self.nbits is None else f"--nbits {self.nbits}", f"--nbits {stats.nbits}"),
            (None if self.keep_vectors is None else _flag(self.keep_vectors), _flag(stats.keep_vectors)),
            (None if self.filterable is None else _declaration(self.fields()), _declaration(stats.filterable)),
        ):
            if option is not None and option != recorded:
                raise click.UsageError(
                    f"{option}: the index was created with {recorded}; leave the option out",
                    click.get_current_context(),
                )


def index_options(command: Command) -> Command:
    """Add ``--nbits``, ``--keep-vectors`` and ``--filterable``, as the argument `options`."""

    @wraps(command)
    def wrapper(
        *arguments: Any,
        nbits: str | None,
        keep_vectors: bool | None,
        filterable: dict[str, type] | None,
        **named: Any,
    ) -> Any:
        options = IndexOptions(None if nbits is None else int(nbits), keep_vectors, filterable)
        return command(*arguments, options=options, **named)

    for option in (
        click.option(
            "--filterable",
            multiple=True,
            metavar="NAME:TYPE",
            callback=_filterable,
            help="A metadata field that filters look up in an index; TYPE is str, int, float or bool; repeatable.",
        ),
        click.option(
            "--keep-vectors/--no-keep-vectors",
            default=None,
            help="Store float16 vectors for exact final scores.  [default: store]",
        ),
        click.option(
            "--nbits",
            type=click.Choice(["2", "4", "8"]),
            help="Bits per dimension of the compressed vectors that are searched.  [default: 4]",
        ),
    ):
        wrapper = option(wrapper)
    return wrapper  # type: ignore[return-value]


def where_option(command: Command) -> Command:
    """Add ``--where JSON``, as the argument `where`."""
    return click.option(
        "--where",
        metavar="JSON",
        callback=_where,
        help='Only documents whose metadata match, such as \'{"lang": "en", "year": {">=": 2020}}\'.',
    )(command)


def check_where(where: dict[str, Any] | None, filterable: Mapping[str, str]) -> None:
    """Raise click.UsageError for a filter that an index cannot answer, before an encoder is loaded for the query."""
    if where is None:
        return
    from serotine.index import compile_where

    try:
        compile_where(where, filterable)
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"--{error}", click.get_current_context()) from None


def _flag(keep_vectors: bool) -> str:
    return "--keep-vectors" if keep_vectors else "--no-keep-vectors"


def _declaration(fields: Mapping[str, str]) -> str:
    # Sorted: the order of the declarations makes no difference.
    return " ".join(f"--filterable {name}:{kind}" for name, kind in sorted(fields.items())) or "no --filterable"


def _filterable(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, type] | None:
    declared: dict[str, type] = {}
    for value in values:
        name, colon, kind = value.rpartition(":")
        if not colon or not name or kind not in _TYPES:
            raise click.BadParameter(
                f"must be NAME:TYPE with TYPE one of {', '.join(_TYPES)}, got {value!r}", ctx, parameter
            )
        if declared.get(name, _TYPES[kind]) is not _TYPES[kind]:
            raise click.BadParameter(f"two types for {name!r}; choose one", ctx, parameter)
        declared[name] = _TYPES[kind]
    if not declared:
        return None
    from serotine.index import check_filterable

    try:
        check_filterable(declared)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, parameter) from None
    return declared


def _where(ctx: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        check_nesting(value)
    except ValueError:
        raise click.BadParameter("nested too deeply; write a flatter filter", ctx, parameter) from None
    try:
        where = json.loads(value, object_pairs_hook=_members)
    except click.BadParameter as error:
        raise click.BadParameter(error.message, ctx, parameter) from None
    except ValueError:
        where = None
    if not isinstance(where, dict):
        example = shell_line("--where", json.dumps(_meant(value), ensure_ascii=False))
        raise click.BadParameter(f"must be a JSON object, got {shown(value)}; write {example}", ctx, parameter)
    return where


def _meant(value: str) -> dict[str, Any]:
    """Return the filter that somebody means who writes ``year=5``, ``year >= 2020`` or a Python dict; or an example."""
    comparison = re.fullmatch(r"\s*([\w.]+)\s*(==|!=|<=|>=|=|:|<|>)\s*(\S.*)", value)
    if comparison is not None:
        field, operator, text = comparison.groups()
        operand = _literal(text)
        return {field: operand if operator in ("=", "==", ":") else {operator: operand}}
    try:
        written = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        written = None
    return written if isinstance(written, dict) and written else {"lang": "en", "year": {">=": 2020}}


def _literal(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text.strip("'\"")
    return text if isinstance(value, (dict, list)) else value


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; of duplicate members Python's parser would drop the first, which is a condition."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise click.BadParameter(f'duplicate key {name!r}; put both conditions into "and": [...]')
        members[name] = value
    return members
