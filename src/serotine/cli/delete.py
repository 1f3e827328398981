"""``serotine delete``: documents out of an index."""

from __future__ import annotations

from pathlib import Path

import click

from serotine.cli.output import json_option, plural, report


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
def delete(index: Path, ids: tuple[str, ...], json_file: str | None) -> None:
    """Delete documents by id: all of them or, when one is not in the index, none.

    Put -- before an id that begins with a dash.
    """
    from serotine.index import Index

    unique = list(dict.fromkeys(ids))
    with Index.open(index) as opened:
        opened.delete(unique)
        documents = len(opened)
    report(
        f"{index}: {plural(len(unique), 'document')} deleted; it holds {plural(documents, 'document')}.",
        {"path": str(index), "deleted": len(unique), "documents": documents},
        json_file,
    )
