"""The command line: one file per command. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from serotine import __version__
from serotine.cli.add import add
from serotine.cli.bench import bench
from serotine.cli.cluster import cluster
from serotine.cli.command_group import CommandGroup
from serotine.cli.compact import compact
from serotine.cli.compare import compare
from serotine.cli.delete import delete
from serotine.cli.eval import evaluate
from serotine.cli.export import export
from serotine.cli.index import index
from serotine.cli.info import info
from serotine.cli.interrupts import interruptible
from serotine.cli.mcp import mcp
from serotine.cli.missing_index import missing_index_message
from serotine.cli.model import model
from serotine.cli.output import Interrupted, print_error, system_error
from serotine.cli.plan import plan
from serotine.cli.restore import restore
from serotine.cli.search import search
from serotine.cli.serve import serve
from serotine.cli.snapshot import snapshot
from serotine.cli.snapshots import snapshots
from serotine.cli.train import train
from serotine.cli.tune import tune
from serotine.cli.verify import verify
from serotine.errors import IndexLockedError, NotAnIndexError, SerotineError
from serotine.process_end import INTERRUPTED
from serotine.wording import on_command_line

_FAILED = 1
_BAD_USE = 2
_START = """\
Serotine searches your texts and shows the passages that match. To start:
  serotine index FOLDER                     makes FOLDER.serotine
  serotine search FOLDER.serotine 'query'   searches it
  serotine --help                           lists all commands"""


class _Commands(CommandGroup):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # click would print a line before it raises this.
            raise Interrupted("interrupted") from None


@click.group(
    cls=_Commands,
    commands=[
        index,
        search,
        add,
        delete,
        compact,
        tune,
        info,
        verify,
        snapshot,
        restore,
        snapshots,
        cluster,
        plan,
        serve,
        mcp,
        export,
        evaluate,
        compare,
        model,
        train,
        bench,
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="serotine", message="%(prog)s %(version)s")
def commands() -> None:
    """Late-interaction retrieval: index text, search it, see the passages and the words that matched."""


def _missing_index(path: str, words: Sequence[str]) -> str:
    from serotine.index import CATALOG_FILE

    given = next((word for word in words if Path(word).absolute() == Path(path)), path)
    if words[:1] == ["index"] and Path(given).is_file():
        return f"{given}: is a file, not an index; name another with --output"
    return missing_index_message(Path(given), CATALOG_FILE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the arguments after the program's name; None: those of the process.

    Returns:
        The exit status: 0, 1 for failure, 2 for bad use, 130 when interrupted. An error is one line on standard error.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A character that the terminal cannot show is escaped instead of raising.
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with interruptible(), on_command_line():
            status = commands.main(words, prog_name="serotine", standalone_mode=False, obj=tuple(words))
    except click.exceptions.NoArgsIsHelpError as error:
        at_start = error.ctx is not None and error.ctx.parent is None
        click.echo(_START if at_start else error.format_message(), err=True)
        return _BAD_USE
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "serotine"
        print_error(f"{_in_words(error.format_message()).rstrip('.?')}; see {where} --help")
        return _BAD_USE
    except (Interrupted, KeyboardInterrupt, click.Abort) as error:
        print_error(str(error) or "interrupted")
        return INTERRUPTED
    except IndexLockedError as error:
        print_error(f"{error.path}: another process is writing to this index; stop it, or wait until it ends")
        return _FAILED
    except NotAnIndexError as error:
        print_error(str(error) if error.missing is None else _missing_index(error.missing, words))
        return _FAILED
    except (SerotineError, click.ClickException) as error:
        print_error(str(error))
        return _FAILED
    except OSError as error:
        print_error(system_error(error))
        return _FAILED
    return status if isinstance(status, int) else 0


def _in_words(message: str) -> str:
    """Return a message of click with numbers called what they are: not "a valid integer range"."""
    for kind, words in (("integer", "an integer"), ("float", "a number")):
        message = message.replace(f"a valid {kind} range", words).replace(f"a valid {kind}", words)
    return message
