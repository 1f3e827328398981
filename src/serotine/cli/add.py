"""``serotine add``: more documents into an index."""

from __future__ import annotations

from pathlib import Path

import click

from serotine.cli.output import Interrupted, json_option, plural, report


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SOURCE...")
@click.option("--upsert", is_flag=True, help="Replace documents whose ids the index holds already.")
@json_option
def add(index: Path, sources: tuple[Path, ...], upsert: bool, json_file: str | None) -> None:
    """Add documents to an index, from the same kinds of files as serotine index.

    Without --upsert an id that the index holds already is an error, and nothing is added.
    """
    from serotine.cli.loading import Loading, survey
    from serotine.cli.writing import open_for_texts

    with open_for_texts(index) as opened:
        found = survey(sources, opened, refuse_known=not upsert)
        loading = Loading(opened)
        try:
            expected = len(opened) + found.documents - found.known
            loading.run(sources, found.documents, expected=expected, upsert=upsert)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted; {plural(loading.added, 'document')} of {found.documents:,} are safe in {index}: "
                "run the same command with --upsert to go on"
            ) from None
        documents = len(opened)
    replaced = f", {found.known:,} of them replaced" if found.known else ""
    report(
        f"{index}: {plural(loading.added, 'document')} added{replaced}; it holds {plural(documents, 'document')}.",
        {"path": str(index), "added": loading.added, "replaced": found.known, "documents": documents},
        json_file,
    )
