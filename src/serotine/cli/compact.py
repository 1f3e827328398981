"""``serotine compact``: an index without its deleted documents, in as few segments as can be."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from serotine.cli.output import Interrupted, json_option, plural, report, size, watched


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@json_option
def compact(index: Path, json_file: str | None) -> None:
    """Rewrite an index without its deleted documents, in as few segments as can be.

    Where vectors are kept, a codebook that the collection has outgrown is trained anew. Searches go on meanwhile.
    """
    from serotine.index import Index

    started = time.monotonic()
    with Index.open(index) as opened:
        before = opened.stats()
        try:
            opened.compact(show_progress=watched())
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {index} is sound, and only partly compacted") from None
        after = opened.stats()
    seconds = time.monotonic() - started
    report(
        f"{index}: {plural(before.segments, 'segment')} of {size(before.bytes)} became {after.segments:,} of "
        f"{size(after.bytes)}; {plural(before.deleted, 'deleted document')} left out; {seconds:,.1f} s.",
        {"path": str(index), "before": asdict(before), "after": asdict(after), "seconds": seconds},
        json_file,
    )
