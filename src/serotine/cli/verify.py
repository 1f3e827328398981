"""``serotine verify``: check that every byte of an index is as it was written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from serotine.cli.output import json_option, plural, report, size

# Lines of what was lost.
_SHOWN = 10


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.option("--repair", is_flag=True, help="Write everything that is intact to a new index, and list what was lost.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the new index of --repair.")
@json_option
def verify(index: Path, repair: bool, output: Path | None, json_file: str | None) -> None:
    """Read a whole index and check it: the catalog, every reference, every checksum.

    Damage is an error, with exit status 1. With --repair -o NEW the intact documents are written to NEW instead; INDEX
    is never changed.
    """
    from serotine.index import Index

    if repair != (output is not None):
        raise click.UsageError("--repair and -o must be given together: the new index is written to another folder")
    if output is not None:
        _repair(index, output, json_file)
        return
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


def _repair(index: Path, output: Path, json_file: str | None) -> None:
    from serotine.index import Index

    result = Index.salvage(index, output)
    lines = [
        f"{output}: {plural(result.documents, 'document')} of {index} saved, {len(result.lost):,} lost; "
        f"{plural(len(result.damaged), 'damaged file')}."
    ]
    lines += [f"  damaged: {problem}" for problem in result.damaged[:_SHOWN]]
    lines += [
        f"  lost: {f'number {document.number}' if document.id is None else repr(document.id)}, {document.reason}"
        for document in result.lost[:_SHOWN]
    ]
    if result.rebuilt:
        lines.append(
            f"  {plural(len(result.rebuilt), 'document')} have vectors rebuilt from the codes, the first is "
            f"{result.rebuilt[0]!r}: add their texts again for exact scores"
        )
    if result.without_pooled:
        lines.append(
            f"  {plural(len(result.without_pooled), 'document')} have lost their pooled vectors, the first is "
            f"{result.without_pooled[0]!r}: add their texts again to rank by them"
        )
    if max(len(result.lost), len(result.damaged)) > _SHOWN:
        lines.append("  --json FILE lists all of them")
    report("\n".join(lines), {"path": str(output), "source": str(index), **asdict(result)}, json_file)
