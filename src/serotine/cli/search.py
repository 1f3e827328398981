"""``serotine search``: a question to an index."""

from __future__ import annotations

import shutil
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.output import STANDARD_OUTPUT, check_text, json_option, plural, printable, report
from serotine.cli.passage import MARK, UNMARK, passage

if TYPE_CHECKING:
    from serotine.index import Hit, Hits, Index

_BOLD, _NOT_BOLD = "\x1b[1m", "\x1b[22m"


def _question(ctx: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> str:
    question = " ".join(words)
    if not question.strip():
        raise click.BadParameter("is empty; ask something", ctx, parameter)
    return check_text(ctx, parameter, question)


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("query", nargs=-1, required=True, callback=_question, metavar="QUERY...")
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="How many documents.")
@click.option("--exact", is_flag=True, help="Prove that no other document scores higher, and say so.")
@json_option
def search(index: Path, query: str, k: int, exact: bool, json_file: str | None) -> None:
    """Find the documents that answer QUERY: rank, score, id, and the passage with the matched words marked."""
    from serotine.index import Index

    with Index.open(index, read_only=True) as opened:
        hits = opened.search(query, k=k, exact=exact)
        spans = [_spans(opened, query, hit) for hit in hits]
    lines = "" if json_file == STANDARD_OUTPUT else _lines(hits, spans)
    report(lines, _result(query, k, hits, spans), json_file)


def _spans(index: Index, query: str, hit: Hit) -> list[tuple[int, int, float]]:
    from serotine.errors import UnknownIdError

    if not hit.text:
        return []
    try:
        return index.explain(query, hit.id).spans()
    except UnknownIdError:
        # Deleted by another process since the search: the answer stands, unmarked.
        return []


def _lines(hits: Hits, spans: list[list[tuple[int, int, float]]]) -> str:
    if not hits:
        return "The index holds no documents; add some with: serotine add"
    blocks = []
    for rank, (hit, matched) in enumerate(zip(hits, spans, strict=True), 1):
        if hit.text is None:
            shown = "(added as vectors, without a text)"
        else:
            shown = passage(hit.text, matched) or "(a text without words)"
        blocks.append(f"{rank:>3}  {hit.score:7.3f}  {printable(hit.id)}\n{_indented(shown)}")
    stats = hits.stats
    blocks.append(
        f"{plural(stats.documents, 'document')} scored in {stats.milliseconds['score']:,.1f} ms, "
        f"the question encoded in {stats.milliseconds['encode']:,.0f} ms (loading the encoder included)"
    )
    if hits.certificate is not None:
        blocks.append(hits.certificate.statement)
    return "\n".join(blocks)


def _indented(shown: str) -> str:
    if not sys.stdout.isatty():
        return f"     {_marked(shown, bold=False)}"
    width = min(shutil.get_terminal_size().columns, 120)
    return _marked(textwrap.fill(shown, width, initial_indent=" " * 5, subsequent_indent=" " * 5), bold=True)


def _marked(text: str, *, bold: bool) -> str:
    return text.replace(MARK, _BOLD if bold else "**").replace(UNMARK, _NOT_BOLD if bold else "**")


def _result(query: str, k: int, hits: Hits, spans: list[list[tuple[int, int, float]]]) -> dict[str, Any]:
    return {
        "query": query,
        "k": k,
        "hits": [
            {"rank": rank, **asdict(hit), "spans": matched}
            for rank, (hit, matched) in enumerate(zip(hits, spans, strict=True), 1)
        ],
        "stats": asdict(hits.stats),
        "certificate": None if hits.certificate is None else asdict(hits.certificate),
    }
