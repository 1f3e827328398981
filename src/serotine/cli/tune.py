"""``serotine tune``: measure which effort keeps which recall on an index."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from serotine.cli.output import Interrupted, json_option, report


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.option(
    "--queries",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='File of queries like those that will be searched for, such as JSONL with "text"; by default they are made '
    "from the documents.",
)
@json_option
def tune(index: Path, queries: Path | None, json_file: str | None) -> None:
    """Measure the recall of INDEX against exact searches, so that searches do no more than their --recall needs.

    Housekeeping does so by itself where it takes little of the time of building. Searches continue meanwhile.
    """
    from serotine.index import Index

    texts = None if queries is None else _texts(queries)
    with Index.open(index) as opened:
        try:
            tuned = opened.tune(texts, show_progress=True)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {index} is as it was") from None
    calibration = None if tuned.calibration is None else asdict(tuned.calibration)
    report(
        f"{index}: {tuned.statement}",
        {"path": str(index), "statement": tuned.statement, "calibration": calibration},
        json_file,
    )


def _texts(path: Path) -> list[str]:
    from serotine.ingest import read

    texts = [text for document in read([path]) if (text := document.text.strip())]
    if not texts:
        raise click.ClickException(f"{path}: has no queries; give one text per record")
    return texts
