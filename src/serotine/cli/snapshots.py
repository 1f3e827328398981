"""``serotine snapshots``: list and prune the snapshots at a URL."""

from __future__ import annotations

from dataclasses import asdict

import click

from serotine.cli.output import json_option, plural, report, size


@click.command()
@click.argument("url")
@click.option(
    "--prune",
    "keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="First remove all but the newest N, and what only the others needed.",
)
@json_option
def snapshots(url: str, keep: int | None, json_file: str | None) -> None:
    """List the snapshots that `serotine snapshot` wrote to URL, oldest first."""
    from serotine.index import Index

    pruned = None if keep is None else Index.prune_snapshots(url, keep=keep)
    listed = Index.snapshots(url)
    lines = [
        f"{one.name}  damaged: {one.damaged}"
        if one.damaged
        else f"{one.name}  {plural(one.documents, 'document')}, {size(one.bytes)}"
        for one in listed
    ]
    lines.append(f"{plural(len(listed), 'snapshot')}.")
    if pruned is not None:
        lines[-1] += (
            f" Removed {plural(len(pruned.snapshots), 'snapshot')} and {plural(pruned.objects, 'object')} "
            f"of {size(pruned.bytes)}."
        )
    report(
        "\n".join(lines),
        {"snapshots": list(map(asdict, listed)), "pruned": None if pruned is None else asdict(pruned)},
        json_file,
    )
