"""``serotine search``: rank the documents of an index by a query."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.index_options import check_where, where_option
from serotine.cli.output import STANDARD_OUTPUT, check_text, json_option, plural, report, warn
from serotine.excerpts import MARK, UNMARK, Span, passage
from serotine.issued_warnings import muted_warnings
from serotine.texts import printable

if TYPE_CHECKING:
    from serotine.index import GroupBy, Hit, Hits, Mode, SearchOptions, SearchStats

_BOLD, _NOT_BOLD = "\x1b[1m", "\x1b[22m"
# What each stage of a search scores a document by, in the order of the stages.
_STAGES = {"centroids": "centroids", "residuals": "residuals", "codes": "codes", "vectors": "vectors", "bm25": "words"}


def _query(ctx: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> str:
    query = " ".join(words)
    if not query.strip():
        raise click.BadParameter("must not be empty", ctx, parameter)
    return check_text(ctx, parameter, query)


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("query", nargs=-1, required=True, callback=_query, metavar="QUERY...")
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="Number of documents.")
@click.option(
    "--offset",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Number of the best documents to skip: the -k after them are printed.",
)
@click.option(
    "--mode",
    type=click.Choice(["late", "bm25", "hybrid"]),
    default="late",
    show_default=True,
    help="Rank by late interaction, by BM25, or by both.",
)
@click.option(
    "--min-score",
    type=float,
    help="Print only documents with at least this MaxSim per query token, at most 1; docs/index.md says how to choose.",
)
@click.option(
    "--group-by",
    type=click.Choice(["document"]),
    help="Print one passage per document, the best, where long texts were cut into passages.",
)
@where_option
@click.option("--exact", is_flag=True, help="Prove that no other document scores higher, and print the proof.")
@click.option("--verbose", is_flag=True, help="Print the stages of the search, with counts and times.")
@json_option
def search(
    index: Path,
    query: str,
    k: int,
    offset: int,
    mode: Mode,
    min_score: float | None,
    group_by: GroupBy | None,
    where: dict[str, Any] | None,
    exact: bool,
    verbose: bool,
    json_file: str | None,
) -> None:
    """Print the documents that best match QUERY: rank, score, id, and the passage with the matched words marked."""
    if exact and mode != "late":
        raise click.UsageError(f"--exact: needs --mode late, got --mode {mode}", click.get_current_context())
    if min_score is not None and mode == "bm25":
        raise click.UsageError("--min-score: needs --mode late or hybrid, got --mode bm25", click.get_current_context())
    from serotine.index import Index, SearchOptions

    try:
        options = SearchOptions(k, where, mode, exact, offset=offset, min_score=min_score, group_by=group_by)
    except ValueError as error:
        raise click.UsageError(f"--{str(error).replace('_', '-', 1)}", click.get_current_context()) from None

    with Index.open(index, read_only=True) as opened:
        check_where(where, opened.stats().filterable)
        with muted_warnings():
            hits = opened.search(query, k, **options.keywords())
        for warning in hits.warnings:
            message = str(warning)
            option = "--" if message.startswith("where") else ""
            warn(option + message.replace('mode="', "--mode ").replace('"', ""))
        spans = [hits.spans(position) for position in range(len(hits))]
        empty = len(opened) == 0
    request = {
        "query": query,
        "k": k,
        "offset": offset,
        "mode": mode,
        "min_score": min_score,
        "group_by": group_by,
        "where": where,
    }
    lines = "" if json_file == STANDARD_OUTPUT else _lines(hits, spans, options, empty=empty, verbose=verbose)
    report(lines, {**request, **_result(hits, spans, offset)}, json_file)


def _lines(hits: Hits, spans: list[list[Span]], options: SearchOptions, *, empty: bool, verbose: bool) -> str:
    if empty:
        return "The index has no documents; add some with: serotine add"
    offset, below = options.offset, hits.stats.below_min_score
    if not hits and below:
        best = hits.stats.best_score_per_token
        having = "" if best is None else f": the best has {best:.3f}"
        return f"No document reaches --min-score {options.min_score:g}{having}; {below:,} of the best are below it."
    if not hits:
        return f"No document after the first {offset:,}." if offset else "No document matches."
    # Sums of reciprocal ranks differ little.
    digits = 4 if "+ bm25" in hits.stats.plan else 3
    blocks = []
    for rank, (hit, matched) in enumerate(zip(hits, spans, strict=True), offset + 1):
        excerpt = "(added as vectors, without text)"
        if hit.text is not None:
            excerpt = passage(hit.text, matched) or "(empty text)"
        blocks.append(f"{rank:>3}  {hit.score:7.{digits}f}  {_name(hit)}\n{_indent(excerpt)}")
    if below:
        blocks.append(f"{plural(below, 'more document')} below --min-score {options.min_score:g}")
    filtered = options.where is not None
    blocks.append(_stages(hits.stats, filtered=filtered) if verbose else _summary(hits, filtered=filtered))
    if hits.certificate is not None:
        blocks.append(hits.certificate.statement)
    return "\n".join(blocks)


def _name(hit: Hit) -> str:
    id_ = printable(hit.id)
    return f"{id_}  (and {plural(hit.other_passages, 'more passage')})" if hit.other_passages else id_


def _summary(hits: Hits, *, filtered: bool) -> str:
    """Return ``3 of 1,400 documents in 6.0 ms``."""
    stats = hits.stats
    # BM25 applies the filter while it scores and does not count the documents that pass.
    passing = " that pass the filter" if filtered and stats.plan != "bm25" else ""
    documents = plural(stats.documents, "document")
    return f"{len(hits):,} of {documents}{passing} in {stats.milliseconds['search']:,.1f} ms"


def _stages(stats: SearchStats, *, filtered: bool) -> str:
    """Describe the stages of a search, with the number of documents that each scored, and its time."""
    plan = stats.plan.split(" + ")
    # BM25 applies the filter while it scores and does not count the documents that pass.
    filtered = filtered and plan != ["bm25"]
    stages: list[str] = []
    for stage, name in _STAGES.items():
        count = stats.counts.get(stage, 0)
        if count:
            noun = "" if stages or filtered else f" document{'' if count == 1 else 's'}"
            lists = " (on the posting lists nearest the query)" if stage == "centroids" and "probe" in plan else ""
            stages.append(f"{count:,}{noun} by {'its' if count == 1 else 'their'} {name}{lists}")
    summary = ", ".join(stages) or "no document scored"
    if filtered:
        verb = "passes" if stats.documents == 1 else "pass"
        summary = f"{plural(stats.documents, 'document')} {verb} the filter: {summary}"
    elif plan == ["flat"] and stats.documents > 1:
        summary = f"all {summary}"
    summary = f"{summary[0].upper()}{summary[1:]} in {stats.milliseconds['search']:,.1f} ms"
    if plan == ["bm25"]:
        return summary
    return f"{summary}; query encoded in {stats.milliseconds['encode']:,.0f} ms (including loading the encoder)"


def _indent(excerpt: str) -> str:
    if not sys.stdout.isatty():
        return f"     {_highlight(excerpt, bold=False)}"
    width = min(shutil.get_terminal_size().columns, 120)
    return _highlight(textwrap.fill(excerpt, width, initial_indent=" " * 5, subsequent_indent=" " * 5), bold=True)


def _highlight(text: str, *, bold: bool) -> str:
    return text.replace(MARK, _BOLD if bold else "").replace(UNMARK, _NOT_BOLD if bold else "")


def _result(hits: Hits, spans: list[list[Span]], offset: int) -> dict[str, Any]:
    result = hits.to_dict()
    result["hits"] = [
        {"rank": rank, **hit, "spans": matched}
        for rank, (hit, matched) in enumerate(zip(result["hits"], spans, strict=True), offset + 1)
    ]
    return result
