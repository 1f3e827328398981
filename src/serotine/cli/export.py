"""``serotine export``: write an index in another system's format."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from serotine.cli.output import Interrupted, json_option, plural, report, warn

_FORMATS = {"parquet": "a Parquet file", "lancedb": "a LanceDB database", "qdrant": "a Qdrant Edge shard"}


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "format_",
    required=True,
    type=click.Choice(list(_FORMATS)),
    help="Parquet is one file; LanceDB and Qdrant Edge are folders.",
)
@json_option
def export(index: Path, target: Path, format_: str, json_file: str | None) -> None:
    """Write every document of INDEX, with its token vectors, to a new TARGET.

    Ids, texts, metadata and float16 vectors are written; vectors that the index does not store are rebuilt from its
    codes. TARGET appears when it is complete.
    """
    from serotine import integrations
    from serotine.index import Index

    started = time.monotonic()
    write = getattr(integrations, f"export_{format_}")
    with Index.open(index, read_only=True) as opened:
        try:
            exported = write(opened, target, show_progress=True)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {target} was not written") from None
        nbits = opened.stats().nbits
    seconds = time.monotonic() - started
    if exported.left_out:
        warn(f"{target}: has no {exported.left_out}; the index stores them")
    vectors = f"vectors rebuilt from {nbits}-bit codes" if exported.rebuilt else "stored float16 vectors"
    report(
        f"{target}: {_FORMATS[format_]} of {plural(exported.documents, 'document')}, "
        f"{plural(exported.tokens, 'token')} ({vectors}); {seconds:,.1f} s.",
        {"path": str(target), "format": format_, **asdict(exported), "seconds": seconds},
        json_file,
    )
