"""``serotine snapshot``: copy an index while it is in use."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from serotine.cli.output import Interrupted, json_option, plural, report, size


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the copy; must not exist."
)
@click.option(
    "--hard-links",
    is_flag=True,
    help="Share the files with INDEX where the file system can: nearly free, but damage of the disk hits both.",
)
@json_option
def snapshot(index: Path, output: Path, hard_links: bool, json_file: str | None) -> None:
    """Copy one committed state of INDEX to a new folder, while it is searched and changed.

    Every file is checked on the way. The copy appears when it is complete; `serotine restore` writes it back.
    """
    from serotine.index import Index

    started = time.monotonic()
    with Index.open(index, read_only=True) as opened:
        try:
            copied = opened.snapshot(output, hard_links=hard_links)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {output} was not written") from None
    seconds = time.monotonic() - started
    report(
        f"{output}: {plural(copied.documents, 'document')}, {plural(copied.files, 'file')} of {size(copied.bytes)}; "
        f"{seconds:,.1f} s.",
        {"path": str(output), **asdict(copied), "seconds": seconds},
        json_file,
    )
