"""``serotine delete``: delete documents of an index."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.index_options import check_where, where_option
from serotine.cli.output import check_text, json_option, plural, report, warn
from serotine.issued_warnings import collected_warnings, muted_warnings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serotine.index import Index


def _unique(ctx: click.Context, parameter: click.Parameter, ids: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(check_text(ctx, parameter, id_) for id_ in ids))


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("ids", nargs=-1, metavar="[ID...]", callback=_unique)
@where_option
@click.option("--dry-run", is_flag=True, help="Say how many documents would be deleted, and delete none.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before deleting what --where matches.")
@json_option
def delete(
    index: Path, ids: tuple[str, ...], where: dict[str, Any] | None, dry_run: bool, yes: bool, json_file: str | None
) -> None:
    """Delete documents: by id, all of them or none when one is not in the index; or those that pass a filter.

    The name of a file that was indexed means all its documents.

    On a terminal, --where shows how many documents it matches and asks. Put -- before an id that starts with a dash.
    """
    context = click.get_current_context()
    if bool(ids) == (where is not None):
        raise click.UsageError("ID, --where: give either ids or a filter", context)
    from serotine.index import Index

    # Opened for writing before it asks: what it asks about cannot change until the answer.
    with Index.open(index, read_only=dry_run) as opened:
        if where is None:
            matching = _count(opened, ids) if dry_run else opened.delete(_with_rows(opened, ids))
        else:
            check_where(where, opened.stats().filterable)
            with collected_warnings() as collected:
                matching = opened.count(where=where)
            if not dry_run:
                # What names a field that no document has is refused without asking.
                if matching and not yes and not collected:
                    _confirm(f"{index}: delete {matching:,} of {plural(len(opened), 'document')}?", index)
                _delete(opened, where)
            for warning in collected:
                warn(f"--{warning}")
        documents = len(opened)
    report(
        f"{index}: {plural(matching, 'document')} {'would be ' if dry_run else ''}deleted; "
        f"it has {plural(documents, 'document')}.",
        {"path": str(index), "deleted": 0 if dry_run else matching, "matching": matching, "documents": documents},
        json_file,
    )


def _with_rows(index: Index, ids: Sequence[str]) -> list[str]:
    """Return ids, those of its rows in the place of a file of rows, which have ids of their own."""
    with muted_warnings():
        rows = {id_: index.ids(where={"source": id_}) for id_ in ids if id_ not in index}
    # What is neither is an error of the index.
    return list(dict.fromkeys(row for id_ in ids for row in rows.get(id_) or [id_]))


def _count(index: Index, ids: Sequence[str]) -> int:
    """Return how many documents `Index.delete` would delete; UnknownIdError for an id that is not in the index."""
    from serotine.index import unknown_id

    names = _with_rows(index, ids)
    if missing := [id_ for id_ in names if id_ not in index]:
        raise unknown_id(missing[0])
    documents = set(names).intersection(index)
    if split := set(names) - documents:
        with muted_warnings():
            whole = sorted(split)
            passages = index.documents(where={"or": [{"document": {"in": whole}}, {"source": {"in": whole}}]})
            documents.update(passage.id for passage in passages if passage.document in split)
    return len(documents)


def _delete(index: Index, where: dict[str, Any]) -> None:
    """Delete what a filter matches, without its warnings."""
    with muted_warnings():
        try:
            index.delete(where=where)
        except ValueError as error:
            raise click.ClickException(f"--{error}") from error


def _confirm(question: str, index: Path) -> None:
    """Ask on a terminal; click.ClickException for no. Scripts are not asked."""
    if sys.stdin.isatty() and not click.confirm(question, err=True):
        raise click.ClickException(f"{index}: nothing was deleted")
