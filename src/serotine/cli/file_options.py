"""Options that say which files are read, shared by `index` and `add`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from serotine.ingest import FileSelection

Command = TypeVar("Command", bound=Callable[..., Any])
_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class _Size(click.ParamType[int]):
    """A number of bytes, such as 500k or 10MB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = _SIZE.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"must be a size such as 500k or 10MB, got {value!r}", param, ctx)
        return int(float(match[1]) * _UNITS[match[2].lower()])


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Which files are read and how, as given on the command line."""

    exclude: tuple[str, ...]
    include: tuple[str, ...]
    max_file_size: int | None
    no_ignore: bool
    strict: bool

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `Ingest`.

        Raises:
            click.UsageError: a pattern is not valid.
        """
        return {"selection": self._selection(), "strict": self.strict}

    def _selection(self) -> FileSelection:
        from serotine.ingest import FileSelection

        try:
            return FileSelection(self.exclude, self.include, self.max_file_size, not self.no_ignore)
        except ValueError as error:
            raise click.UsageError(f"--{error}", click.get_current_context()) from None


def file_options(command: Command) -> Command:
    """Add the options of `FileOptions`, as the argument `reading`."""

    @wraps(command)
    def wrapper(
        *arguments: Any,
        exclude: tuple[str, ...],
        include: tuple[str, ...],
        max_file_size: int | None,
        no_ignore: bool,
        strict: bool,
        **named: Any,
    ) -> Any:
        return command(*arguments, reading=FileOptions(exclude, include, max_file_size, no_ignore, strict), **named)

    for option in (
        click.option(
            "--strict",
            is_flag=True,
            help="Skip files with a bad row whole, and exit with status 1 if a file was skipped.  "
            "[default: skip the rows]",
        ),
        click.option(
            "--no-ignore",
            is_flag=True,
            help="Read what .gitignore and .serotineignore name, and folders of packages and build outputs.",
        ),
        click.option("--max-file-size", type=_Size(), metavar="SIZE", help="Leave larger files out, such as 10MB."),
        click.option(
            "--include", multiple=True, metavar="GLOB", help="Read only such files of folders; may be repeated."
        ),
        click.option(
            "--exclude",
            multiple=True,
            metavar="GLOB",
            help="Leave such files and folders out, as in .gitignore: drafts/, '*.log'; may be repeated.",
        ),
    ):
        wrapper = option(wrapper)
    return wrapper  # type: ignore[return-value]
