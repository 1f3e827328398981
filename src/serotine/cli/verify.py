"""``serotine verify``: is every byte of an index as it was written?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from serotine.cli.output import json_option, plural, report, size


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@json_option
def verify(index: Path, json_file: str | None) -> None:
    """Read a whole index and check it: the catalog, every reference, every checksum.

    Damage is an error, with exit status 1.
    """
    from serotine.index import Index

    with Index.open(index, read_only=True) as opened:
        found = opened.verify()
    stray = (
        f"\n{plural(len(found.stray_files), 'stray file')} of a writer that was killed: harmless, "
        "removed when the index is next opened for writing."
        if found.stray_files
        else ""
    )
    report(
        f"{index}: sound; {plural(found.documents, 'document')} in {plural(found.segments, 'segment')}, "
        f"{plural(found.codebooks, 'codebook')}, {size(found.bytes)} read and checked.{stray}",
        {"path": str(index), "sound": True, **asdict(found)},
        json_file,
    )
