"""``serotine add``: more files into an index that is there."""

from __future__ import annotations

from pathlib import Path

import click

from serotine.cli.output import json_option, plural, report


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SOURCE...")
@click.option("--upsert", is_flag=True, help="Replace documents of the same ids that came from elsewhere.")
@json_option
def add(index: Path, sources: tuple[Path, ...], upsert: bool, json_file: str | None) -> None:
    """Bring files into an index that is there, as serotine index does: new ones, and what changed of known ones.

    A file with a document whose id the index holds from elsewhere is skipped, unless --upsert replaces such documents.
    """
    from serotine.cli.loading import Loading, as_json, told_files
    from serotine.cli.writing import open_for_texts

    with open_for_texts(index) as opened:
        loading = Loading(sources, opened.encoder, opened, filterable=opened.stats().filterable, upsert=upsert)
        done = loading.run(opened)
        documents = len(opened)
    replaced = f", {done.replaced:,} of them replaced" if done.replaced else ""
    report(
        f"{index}: {plural(done.added, 'document')} added{replaced}; it holds {plural(documents, 'document')}; "
        f"{told_files(done)}.",
        {"path": str(index), **as_json(done), "documents": documents},
        json_file,
    )
