"""``serotine compact``: rewrite an index without its deleted documents, in as few segments as possible."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from serotine.cli.output import Interrupted, json_option, plural, report, size


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@json_option
def compact(index: Path, json_file: str | None) -> None:
    """Rewrite an index without its deleted documents, in as few segments as possible.

    Where vectors are stored, a codebook that is too small for the collection is retrained. Searches continue meanwhile.
    """
    from serotine.index import Index

    started = time.monotonic()
    with Index.open(index) as opened:
        before = opened.stats()
        try:
            opened.compact(show_progress=True)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {index} is valid, and partly compacted") from None
        after = opened.stats()
    seconds = time.monotonic() - started
    report(
        f"{index}: {plural(before.segments, 'segment')} of {size(before.bytes)} became {after.segments:,} of "
        f"{size(after.bytes)}; {plural(before.deleted, 'deleted document')} removed; {seconds:,.1f} s.",
        {"path": str(index), "before": asdict(before), "after": asdict(after), "seconds": seconds},
        json_file,
    )
