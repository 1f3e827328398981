"""``serotine verify``: check that every byte of an index is as it was written."""

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
        result = opened.verify()
    stray = (
        f"\n{plural(len(result.stray_files), 'stray file')} of a killed writer: harmless, removed when "
        "the index is next opened for writing."
        if result.stray_files
        else ""
    )
    deleted = f" and {result.deleted:,} deleted" if result.deleted else ""
    report(
        f"{index}: sound; {plural(result.documents, 'document')}{deleted} in {plural(result.segments, 'segment')}, "
        f"{plural(result.codebooks, 'codebook')}, {size(result.bytes)} read and checked.{stray}",
        {"path": str(index), "sound": True, **asdict(result)},
        json_file,
    )
