"""``serotine cluster``: build a sharded index on a Ray cluster, serve it, and show what is at its URL."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.command_group import CommandGroup
from serotine.cli.encoder_options import ENCODER_NAMES, warning_lines
from serotine.cli.index_options import IndexOptions, index_options
from serotine.cli.ingestion import (
    ignored_line,
    row_count,
    unread_counts,
    warn_row_count,
    warn_rows,
    warn_skipped,
    warn_unlisted,
)
from serotine.cli.output import json_option, plural, report, warn
from serotine.cli.serve import serve, start_timeout_option

if TYPE_CHECKING:
    from serotine.distributed import BuildReport


@click.group(cls=CommandGroup)
def cluster() -> None:
    """Build an index in shards on a Ray cluster, serve it, and show its shards."""


@cluster.command("build")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SOURCE...")
@click.option(
    "-o", "--output", "url", required=True, metavar="URL", help="s3://bucket/wiki, or a folder of all machines."
)
@click.option("--shards", required=True, type=click.IntRange(min=1), metavar="N", help="Number of shards.")
@click.option("--encoder", metavar="NAME", help=f"{ENCODER_NAMES[0].upper()}{ENCODER_NAMES[1:]}.")
@click.option("--address", metavar="ADDRESS", help="Of the Ray cluster.  [default: the one found, else this machine]")
@start_timeout_option
@index_options
@json_option
def build(
    sources: tuple[Path, ...],
    url: str,
    shards: int,
    encoder: str | None,
    address: str | None,
    start_timeout: float,
    options: IndexOptions,
    json_file: str | None,
) -> None:
    """Build an index in shards of files that every machine of the cluster has at the same path.

    Run again, it resumes what was interrupted, and builds only shards whose documents or settings have changed.
    """
    from serotine import distributed

    with warning_lines():
        done: BuildReport = distributed.build(
            sources,
            url,
            shards=shards,
            encoder=encoder,
            address=address,
            start_timeout=start_timeout,
            show_progress=True,
            **options.arguments(),
        )
    warn_skipped(done.skipped, set())
    warn_rows(done.skipped_rows.first)
    warn_row_count(done.skipped_rows)
    for row in done.problems.first:
        warn(row.message)
    warn_unlisted(done.problems)
    counts = f"{plural(done.documents, 'document')} in {plural(done.shards, 'shard')}, {len(done.built):,} built now"
    files = f"; {plural(len(done.skipped), 'file')} skipped" if done.skipped else ""
    result = {
        **asdict(done),
        "ignored": done.ignored.to_json(),
        "problems": done.problems.to_json(),
        "skipped_rows": done.skipped_rows.to_json(),
        "skipped": [skipped.to_json() for skipped in done.skipped],
    }
    report(
        f"{counts}{files}{row_count(done.skipped_rows)}{unread_counts(done.unread)}.{ignored_line(done.ignored)}",
        result,
        json_file,
    )


def _serve(url: str, **options: Any) -> int:
    status: int = click.get_current_context().invoke(serve, indexes=(), root=None, urls=(url,), **options)
    return status


# The server's own command, but for what it serves.
cluster.add_command(
    click.Command(
        "serve",
        params=[
            click.Argument(["url"]),
            *(option for option in serve.params if option.name not in ("indexes", "root", "urls")),
        ],
        callback=_serve,
        help="Serve the sharded index at URL over HTTP, from this process: the same as `serotine serve --ray URL`.\n\n"
        "A change is answered when its snapshot is at the URL; snapshots of others are searched within half a minute.",
    )
)


@cluster.command("status")
@click.argument("url")
@json_option
def status(url: str, json_file: str | None) -> None:
    """List the shards of the sharded index at URL, and the snapshot that each is; needs no cluster."""
    from serotine.distributed import shard_records

    records = shard_records(url)
    lines = [
        f"{shard:>5}  {record.snapshot}  {plural(record.documents, 'document')}"
        + (f", and changes at {record.unsaved} that are in no snapshot" if record.unsaved else "")
        for shard, record in enumerate(records)
    ]
    total = sum(record.documents for record in records)
    lines.append(f"{plural(total, 'document')} in {plural(len(records), 'shard')}.")
    report("\n".join(lines), {"shards": list(map(asdict, records)), "documents": total}, json_file)
