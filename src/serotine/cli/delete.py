"""``serotine delete``: delete documents of an index."""

from __future__ import annotations

from pathlib import Path

import click

from serotine.cli.output import check_text, json_option, plural, report


def _unique(ctx: click.Context, parameter: click.Parameter, ids: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(check_text(ctx, parameter, id_) for id_ in ids))


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("ids", nargs=-1, required=True, metavar="ID...", callback=_unique)
@json_option
def delete(index: Path, ids: tuple[str, ...], json_file: str | None) -> None:
    """Delete documents by id: all of them or, when one is not in the index, none.

    Put -- before an id that starts with a dash.
    """
    from serotine.index import Index

    with Index.open(index) as opened:
        opened.delete(ids)
        documents = len(opened)
    report(
        f"{index}: {plural(len(ids), 'document')} deleted; it has {plural(documents, 'document')}.",
        {"path": str(index), "deleted": len(ids), "documents": documents},
        json_file,
    )
