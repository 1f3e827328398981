"""``serotine tune``: measure which effort keeps which recall on an index, or fit its weights of mode "pooled"."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import click

from serotine.cli.output import Interrupted, json_option, report, warn
from serotine.cli.pooled_model import require_query_model
from serotine.texts import MAX_QUERY_CHARACTERS, has_visible

# The split that figures are published of.
_TESTED = "test"
_LINE_END = re.compile(r"\r\n?|\n")


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.option(
    "--queries",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of queries like those that will be searched for: .txt, one per line, or records such as JSONL with "
    '"text"; by default they are made from the documents.',
)
@click.option(
    "--pooled-weights",
    "collection",
    metavar="FOLDER",
    help="Instead, fit the weights of --mode pooled on judged queries and record them: the collection that INDEX was "
    "built from, as `serotine eval` takes it.",
)
@click.option(
    "--split",
    metavar="NAME",
    help="With --pooled-weights, the split of the judgements; not the one you test on.  [default: dev]",
)
@json_option
def tune(index: Path, queries: Path | None, collection: str | None, split: str | None, json_file: str | None) -> None:
    """Measure the recall of INDEX against exact searches, so that searches do no more than their --recall needs.

    Housekeeping does so by itself where it takes little of the time of building. Searches continue meanwhile.

    With --pooled-weights, recall is not measured.
    """
    from serotine.index import Index

    context = click.get_current_context()
    if queries is not None and collection is not None:
        raise click.UsageError("--queries and --pooled-weights exclude each other; choose one", context)
    if split is not None and collection is None:
        raise click.UsageError("--split: needs --pooled-weights; add it, or drop --split", context)
    if collection is not None:
        _fit_weights(index, collection, split, json_file)
        return
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


def _fit_weights(path: Path, name: str, split: str | None, json_file: str | None) -> None:
    from serotine.evaluation import find_sources, fit_pooled_weights
    from serotine.index import Index

    sources = find_sources(name, split if split is not None or name.startswith("ir_datasets:") else "dev")
    if len(sources) != 1:
        raise click.UsageError(
            f"--pooled-weights: must be one collection, got {len(sources)}; pass the folder of one",
            click.get_current_context(),
        )
    if split == _TESTED:
        warn(f"--split {split}: figures on it no longer judge these weights; fit them on a split for development")
    with Index.open(path) as opened:
        require_query_model(opened, path, "fit an index created with --pooled")
        try:
            fitted = fit_pooled_weights(opened, sources[0].load(), show_progress=True)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {path} is as it was") from None
    for note in fitted.notes:
        warn(f"{path}: {note}")
    by_weight = [{"weight": weight, "value": value} for weight, value in fitted.by_weight.items()]
    report(
        f"{path}: {fitted.statement}",
        {"path": str(path), "statement": fitted.statement, **asdict(fitted), "by_weight": by_weight},
        json_file,
    )


def _texts(path: Path) -> list[str]:
    """Return the queries of a file: the lines of a plain text, the texts of records."""
    from serotine.ingest import SourceFile, file_type, read

    plain = file_type(path.name) == ".txt"
    if not plain and SourceFile.at(path).is_text():
        raise click.UsageError(
            f"--queries: must be a list, got one text: {path}; "
            'give a .txt file with one query per line, or JSONL with "text"',
            click.get_current_context(),
        )
    queries: list[str] = []
    for number, document in enumerate(read([path]), 1):
        lines = _LINE_END.split(document.text) if plain else [document.text]
        for line_number, line in enumerate(lines, 1):
            if len(line) > MAX_QUERY_CHARACTERS:
                place = line_number if plain else document.line or number
                raise click.ClickException(
                    f"--queries: {path}:{place}: has {len(line):,} characters, a query has at most "
                    f"{MAX_QUERY_CHARACTERS:,}; shorten it"
                )
            if has_visible(line):
                queries.append(line.strip())
    distinct = list(dict.fromkeys(queries))
    if len(distinct) < len(queries):
        warn(f"{path}: {len(queries):,} queries, of which {len(distinct):,} are distinct; each of these counts once")
    return distinct
