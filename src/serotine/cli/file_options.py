"""Options that say which files are read, shared by `index` and `add`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from serotine.ingest import Fields, FileSelection, ReadingLimits

Command = TypeVar("Command", bound=Callable[..., Any])
_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([kmgt]?)i?b?", re.IGNORECASE)
# Arguments of Fields, and their options.
_OPTIONS = {
    "text": "text-field",
    "id": "id-field",
    "title": "title-field",
    "delimiter": "delimiter",
    "encoding": "encoding",
    "metadata": "metadata-fields",
    "all_fields": "all-fields",
    "prefix_ids": "prefix-ids",
}
_DELIMITER_NAMES = {"\\t": "\t", "tab": "\t"}
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


# A file that cannot be read is skipped with a warning, like one of a folder: click would end the command.
SOURCE = click.Path(path_type=Path, readable=False)


class _Size(click.ParamType[int]):
    """A number of bytes, such as 500k or 10MB."""

    name = "size"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = _SIZE.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"must be a size such as 500k or 10MB, got {value!r}", param, ctx)
        size = int(float(match[1]) * _UNITS[match[2].lower()])
        if self._positive and size < 1:
            self.fail(f"must be at least 1 byte, got {value!r}", param, ctx)
        return size


class FilesCommand(click.Command):
    """A command that reads files; its help ends with their types, as the readers have them."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the types of files."""
        from serotine.ingest import described_types

        with formatter.section("Files"):
            formatter.write_text(described_types())


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Which files are read and how, as given on the command line."""

    exclude: tuple[str, ...]
    include: tuple[str, ...]
    max_file_size: int | None
    no_ignore: bool
    no_follow_links: bool
    strict: bool
    restore_deleted: bool
    allow_empty: bool
    limits: dict[str, int | None]
    fields: dict[str, Any]

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `Ingest`.

        Raises:
            click.UsageError: a pattern or the name of a field is not valid.
        """
        return {
            "selection": self._selection(),
            "strict": self.strict,
            "fields": self._fields(),
            "restore_deleted": self.restore_deleted,
            "allow_empty": self.allow_empty,
            "limits": self._limits(),
        }

    def _limits(self) -> ReadingLimits:
        from serotine.ingest import ReadingLimits

        return ReadingLimits(**{name: limit for name, limit in self.limits.items() if limit is not None})

    def _selection(self) -> FileSelection:
        from serotine.ingest import FileSelection

        try:
            return FileSelection(
                self.exclude, self.include, self.max_file_size, not self.no_ignore, not self.no_follow_links
            )
        except ValueError as error:
            raise click.UsageError(f"--{error}", click.get_current_context()) from None

    def _fields(self) -> Fields | None:
        """Return the fields of tables; None where no option names one."""
        from serotine.ingest import Fields

        if not any(self.fields.values()):
            return None
        try:
            return Fields(**self.fields)
        except ValueError as error:
            name, colon, rest = str(error).partition(":")
            raise click.UsageError(f"--{_OPTIONS[name]}{colon}{rest}", click.get_current_context()) from None


def _field_values(named: dict[str, Any]) -> dict[str, Any]:
    """Take the arguments of `Fields` out of those of a command."""
    metadata = named.pop("metadata_fields")
    delimiter = named.pop("delimiter")
    return {
        "text": named.pop("text_field"),
        "id": named.pop("id_field"),
        "title": named.pop("title_field"),
        "delimiter": _DELIMITER_NAMES.get(delimiter, delimiter),
        "encoding": named.pop("encoding"),
        "metadata": None if metadata is None else tuple(name.strip() for name in metadata.split(",")),
        "all_fields": named.pop("all_fields"),
        "prefix_ids": named.pop("prefix_ids"),
    }


def file_options(command: Command) -> Command:
    """Add the options of `FileOptions`, as the argument `file_options`."""

    @wraps(command)
    def wrapper(
        *arguments: Any,
        exclude: tuple[str, ...],
        include: tuple[str, ...],
        max_file_size: int | None,
        no_ignore: bool,
        no_follow_links: bool,
        strict: bool,
        restore_deleted: bool,
        allow_empty: bool,
        max_text_size: int | None,
        max_record_size: int | None,
        max_expansion: int | None,
        **named: Any,
    ) -> Any:
        fields = _field_values(named)
        limits = {"text_bytes": max_text_size, "record_bytes": max_record_size, "expansion": max_expansion}
        options = FileOptions(
            exclude,
            include,
            max_file_size,
            no_ignore,
            no_follow_links,
            strict,
            restore_deleted,
            allow_empty,
            limits,
            fields,
        )
        return command(*arguments, file_options=options, **named)

    for option in (
        click.option("--all-fields", is_flag=True, help="Tables: the text is a line 'name: value' of every field."),
        click.option("--metadata-fields", metavar="A,B", help="Tables: keep these as metadata.  [default: all others]"),
        click.option(
            "--delimiter",
            metavar="CHARACTER",
            help="Separates the cells of CSV files, or tab.  [default: detected]",
        ),
        click.option(
            "--encoding",
            metavar="NAME",
            help="Encoding of text files, CSV and JSON, such as gbk or cp1252.  [default: detected; JSON Lines: UTF-8]",
        ),
        click.option("--prefix-ids", is_flag=True, help="Tables: ids are FILE:ID, where files have the same ids."),
        click.option("--title-field", metavar="NAME", help="Tables: the field of the title.  [default: title]"),
        click.option("--id-field", metavar="NAME", help="Tables: the field of the id.  [default: _id or id]"),
        click.option(
            "--text-field",
            multiple=True,
            metavar="NAME",
            help="Tables (CSV, JSON, Parquet): the field of the text; may be repeated.  "
            "[default: as before in this index, or text]",
        ),
        click.option(
            "--restore-deleted",
            is_flag=True,
            help="Store documents again that were deleted from the index.  [default: of unchanged files, they stay "
            "deleted]",
        ),
        click.option(
            "--allow-empty",
            is_flag=True,
            help="Remove what the index has of a source or subfolder that is empty now.  [default: it stays, with a "
            "warning, because a disk may not be mounted]",
        ),
        click.option(
            "--strict",
            is_flag=True,
            help="Skip files with a bad row whole, and exit with status 1 if a file was skipped.  "
            "[default: skip the rows]",
        ),
        click.option(
            "--no-ignore",
            is_flag=True,
            help="Read what .gitignore and .serotineignore name, generated and configuration files, packages and build "
            "outputs.",
        ),
        click.option(
            "--no-follow-links",
            is_flag=True,
            help="Leave links in folders out.  [default: follow them, also to files outside]",
        ),
        click.option(
            "--max-record-size",
            type=_Size(positive=True),
            metavar="SIZE",
            help="Skip longer lines, rows and messages, and larger files of JSON, HTML and other text.  "
            "[default: 64 MiB]",
        ),
        click.option(
            "--max-expansion",
            type=click.IntRange(1),
            metavar="TIMES",
            help="Skip files of records whose texts are more times as large as the file, and above --max-record-size.  "
            "[default: 100]",
        ),
        click.option(
            "--max-text-size",
            type=_Size(positive=True),
            metavar="SIZE",
            help="Skip records and files with a longer text.  [default: 8 MiB]",
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
