"""``serotine add``: add files to an existing index."""

from __future__ import annotations

from pathlib import Path

import click

from serotine.cli.file_options import SOURCE, FileOptions, FilesCommand, file_options
from serotine.cli.ingestion import (
    apply_plan,
    coverage_counts,
    coverage_line,
    document_counts,
    exit_if_skipped,
    file_counts,
    ignored_line,
    open_for_texts,
    plan_files,
)
from serotine.cli.output import json_option, plural, report


@click.command(cls=FilesCommand)
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, type=SOURCE, metavar="SOURCE...")
@click.option("--upsert", is_flag=True, help="Replace documents of the same ids that came from elsewhere.")
@file_options
@json_option
def add(index: Path, sources: tuple[Path, ...], upsert: bool, file_options: FileOptions, json_file: str | None) -> None:
    """Add files and folders to an existing index, and update those that it already has.

    A file with a document id that the index has from elsewhere is skipped, unless --upsert replaces such documents.
    """
    from serotine.ingest import Ingest

    with open_for_texts(index) as opened:
        ingest = Ingest(sources, opened.encoder, upsert=upsert, **file_options.arguments())
        result = apply_plan(ingest, plan_files(ingest, opened), opened)
        stats = opened.stats()
    counts = document_counts(replaced=result.replaced, unchanged=result.unchanged, reused=result.reused)
    report(
        f"{index}: {plural(result.added, 'document')} added{counts}; it has {plural(stats.documents, 'document')}; "
        f"{file_counts(result)}.{ignored_line(result.ignored)}{coverage_line(result, stats)}",
        {"path": str(index), **result.to_json(), "documents": stats.documents, "in_index": coverage_counts(stats)},
        json_file,
    )
    exit_if_skipped(result.skipped, strict=file_options.strict)
