"""``serotine snapshot``: copy an index while it is in use."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from serotine.cli.output import Interrupted, as_option, json_option, plural, report, run_again, size


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FOLDER|URL",
    help="Folder of the copy, which must not exist, or a URL that collects snapshots: s3://bucket/wiki, file:///backup.",
)
@click.option(
    "--hard-links",
    is_flag=True,
    help="Share the files with INDEX where the file system can: nearly free, but damage of the disk hits both.",
)
@json_option
def snapshot(index: Path, output: str, hard_links: bool, json_file: str | None) -> None:
    """Copy one committed state of INDEX, while it is searched and changed.

    Every file is checked on the way. The copy appears when it is complete; `serotine restore` writes it back. To a URL,
    only what no snapshot there has is sent; `serotine snapshots` lists and prunes them.
    """
    from serotine.index import Index

    started = time.monotonic()
    with Index.open(index, read_only=True) as opened:
        try:
            copied = opened.snapshot(output, hard_links=hard_links, show_progress=True)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {output} has no new snapshot; {run_again()}") from None
        except ValueError as error:
            raise click.UsageError(as_option(str(error), "hard_links"), click.get_current_context()) from None
    seconds = time.monotonic() - started
    name = "" if copied.name is None else f"snapshot {copied.name}, "
    sent = "" if copied.name is None else f", {size(copied.transferred)} sent"
    report(
        f"{output}: {name}{plural(copied.documents, 'document')}, {plural(copied.files, 'file')} of "
        f"{size(copied.bytes)} and the catalog{sent}; {seconds:,.1f} s.",
        {"path": output, **asdict(copied), "seconds": seconds},
        json_file,
    )
