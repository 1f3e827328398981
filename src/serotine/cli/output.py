"""The output of every command: errors, warnings, reports for people and JSON for programs."""

from __future__ import annotations

import json
import math
import shlex
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from serotine.files import named_errors
from serotine.texts import is_text, printable

Command = TypeVar("Command", bound=Callable[..., Any])
STANDARD_OUTPUT = "-"


class Interrupted(Exception):  # noqa: N818 - it is Ctrl-C, not an error
    """The user pressed Ctrl-C; the message says what is stored."""


def system_error(error: OSError) -> str:
    """Return the message for an error of the system, which names no file where an output stream cannot be written."""
    fault, name = error.strerror or str(error), error.filename
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if name is None and frame.f_code is click.echo.__code__:
            name = "standard error" if frame.f_locals.get("err") else "standard output"
    return fault if name is None else f"{name}: {fault}"


def print_error(message: str) -> None:
    """Write one `error:` line to standard error."""
    click.echo(f"error: {printable(' '.join(message.split()))}", err=True)


def warn(message: str) -> None:
    """Write one `warning:` line to standard error."""
    click.echo(f"warning: {printable(' '.join(message.split()))}", err=True)


def this_command() -> str:
    """Return the command line of this command, quoted for a shell."""
    arguments: Sequence[str] = click.get_current_context().find_root().obj or ()
    return shell_line("serotine", *arguments)


def run_again() -> str:
    """Return the end of a message: how to continue what was interrupted."""
    return f"run the same command again to continue: {this_command()}"


def shell_line(*words: object) -> str:
    """Return words as one line that a shell splits into the same words."""
    return shlex.join(map(str, words))


def as_option(message: str, *names: str) -> str:
    """Return a message about an argument of the library as one about the option of the same meaning.

    Args:
        message: begins with the argument: "group_by: must be ...".
        names: the arguments that are options; none: all are.
    """
    name, colon, fault = message.partition(":")
    return f"--{name.replace('_', '-')}{colon}{fault}" if name in names or not names else message


def check_text(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return the value of an argument; click.BadParameter where its bytes are not valid text."""
    if not is_text(value):
        raise click.BadParameter("not UTF-8; check the terminal's encoding", ctx, parameter)
    return value


def _check_json_file(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    # Checked before the work, not after an hour of indexing.
    if value is not None and value != STANDARD_OUTPUT:
        file = Path(value)
        if file.is_dir():
            raise click.BadParameter(f"must be a file, got the folder {value!r}", ctx, parameter)
        if not file.parent.is_dir():
            raise click.BadParameter(f"the folder of {value!r} does not exist; create it first", ctx, parameter)
    return value


def json_option(command: Command) -> Command:
    """Add ``--json FILE``, as the argument `json_file`."""
    return click.option(
        "--json",
        "json_file",
        metavar="FILE",
        callback=_check_json_file,
        help="Also write the result to FILE as JSON; with - write only JSON, to standard output.",
    )(command)


def report(lines: str, result: dict[str, Any], json_file: str | None) -> None:
    """Write a command's result: for people to standard output, for programs where ``--json`` says."""
    if json_file != STANDARD_OUTPUT:
        click.echo(lines)
    if json_file is not None:
        write_json(result, json_file)


def write_json(result: dict[str, Any], json_file: str) -> None:
    """Write a result as JSON to a file, or to standard output."""
    text = json.dumps(_finite(result), ensure_ascii=False, indent=2, allow_nan=False)
    # A file name that is not UTF-8 has lone surrogates, which JSON writes as escapes.
    data = text.encode(errors="backslashreplace") + b"\n"
    if json_file == STANDARD_OUTPUT:
        # Bytes: JSON is UTF-8 on every terminal.
        click.echo(data, nl=False)
    else:
        with named_errors(Path(json_file)):
            Path(json_file).write_bytes(data)


def _finite(value: Any) -> Any:
    """Replace infinity, which JSON does not have, by null: the score of a document without tokens, an open bound."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def size(count: int) -> str:
    """Return a number of bytes for people: ``1.4 MB``."""
    number = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:,.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 document``, ``1,400 documents``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
