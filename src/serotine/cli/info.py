"""``serotine info``: an index in words."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serotine.cli.output import json_option, plural, report, size

if TYPE_CHECKING:
    from serotine.index import IndexStats


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@json_option
def info(index: Path, json_file: str | None) -> None:
    """Tell what an index holds, what made it and how much room it takes."""
    from serotine.index import Index

    with Index.open(index, read_only=True) as opened:
        stats = opened.stats()
    report(_words(index, stats), {"path": str(index), **asdict(stats)}, json_file)


def _words(path: Path, stats: IndexStats) -> str:
    each = stats.tokens / (stats.documents + stats.deleted) if stats.tokens else 0
    lines = [
        f"{path}: {plural(stats.documents, 'document')}",
        f"  Vectors   {plural(stats.tokens, 'token')} of {stats.dim} numbers each, about {each:,.0f} a document.",
    ]
    if stats.encoder is None:
        lines.append("  Encoder   none: it was made for vectors, and is searched with vectors, from Python.")
    else:
        lines.append(f"  Encoder   {stats.encoder}; questions are encoded by the same.")
    lines.append(
        f"  On disk   {size(stats.bytes)} of vectors in {plural(stats.segments, 'segment file')} "
        f"({stats.bytes_per_token:,.0f} bytes a token), {size(stats.catalog_bytes)} of ids, texts and metadata."
    )
    if stats.deleted:
        lines.append(
            f"  Deleted   {plural(stats.deleted, 'document')}: not found any more, their vectors still take room."
        )
    lines.append(f"  Format    version {stats.format_version}")
    return "\n".join(lines)
