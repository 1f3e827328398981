"""``serotine search``: rank the documents of one index or several by a query."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.index_options import check_where, where_option
from serotine.cli.missing_index import mistyped_index
from serotine.cli.mode_options import check_mode_options, first_stage_option, weights_option
from serotine.cli.output import STANDARD_OUTPUT, as_option, check_text, json_option, report, warn
from serotine.cli.search_results import Found, as_json, lines
from serotine.errors import EncoderError, NotAnIndexError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from serotine.errors import SerotineWarning
    from serotine.index import FirstStage, GroupBy, Index, Mode

_SUFFIX = ".serotine"


def _query(ctx: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> tuple[str, ...]:
    if not " ".join(words).strip():
        raise click.BadParameter("must not be empty", ctx, parameter)
    return tuple(check_text(ctx, parameter, word) for word in words)


@click.command()
@click.argument("index", type=click.Path(path_type=Path), metavar="INDEX...")
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
    type=click.Choice(["late", "bm25", "hybrid", "xtr", "pooled"]),
    default="late",
    show_default=True,
    help="Rank by late interaction, by BM25, by both, by the tokens that XTR retrieves, or by late interaction and the "
    "pooled vectors of an index with --pooled.",
)
@weights_option
@first_stage_option
@click.option(
    "--min-score",
    type=float,
    help="Print only documents with at least this MaxSim per query token, at most 1; see docs/indexes.md.",
)
@click.option(
    "--group-by",
    type=click.Choice(["document"]),
    help="Print one passage per document, the best, where long texts were cut into passages.",
)
@where_option
@click.option(
    "--recall",
    type=float,
    help="Share of the exact best documents to find, such as 0.9 or 0.999; 0.99 unless given. More takes longer.",
)
@click.option(
    "--k-token",
    type=click.IntRange(min=1),
    help="With --mode xtr, tokens that every query token retrieves: at least -k, 1000 unless given.",
)
@click.option("--exact", is_flag=True, help="Prove that no other document scores higher, and print the proof.")
@click.option("--verbose", is_flag=True, help="Also print the stages of the search, with counts and times.")
@json_option
def search(
    index: Path,
    query: tuple[str, ...],
    k: int,
    offset: int,
    mode: Mode,
    weights: tuple[float, float] | None,
    first_stage: FirstStage | None,
    min_score: float | None,
    group_by: GroupBy | None,
    where: dict[str, Any] | None,
    recall: float | None,
    k_token: int | None,
    exact: bool,
    verbose: bool,
    json_file: str | None,
) -> None:
    """Print the documents that best match QUERY: rank, score, id, and the passage with the matched words marked.

    The score is MaxSim per query token, the scale of --min-score: for one query comparable among documents, and between
    queries. With --mode hybrid it is the fused score, with --mode pooled the sum with the pooled vectors, and that per
    query token is beside it; with --mode bm25 that by words. --verbose and --json have the sum over the query tokens
    too.

    Several indexes are searched as one: the words after the first that are indexes, or end in .serotine, are no part
    of the query. They must have the same encoder, except with --mode bm25. A word before the query that looks like
    an index but is none is an error: quote a query of several words.
    """
    context = click.get_current_context()
    if exact and mode not in ("late", "pooled"):
        raise click.UsageError(f"--exact: needs --mode late or pooled, got --mode {mode}", context)
    if min_score is not None and mode == "bm25":
        raise click.UsageError("--min-score: needs --mode late or hybrid, got --mode bm25", context)
    check_mode_options(mode, weights, first_stage)
    from serotine.index import SearchOptions, search_several

    paths, text = _split(index, query)
    with ExitStack() as stack:
        opened = _open(paths, stack, mode)
        for one in opened:
            check_where(where, one.stats().filterable)
        try:
            options = SearchOptions(
                k,
                where,
                mode,
                exact,
                offset=offset,
                min_score=min_score,
                group_by=group_by,
                recall=recall,
                k_token=k_token,
                weights=weights,
                first_stage=first_stage,
            )
            answer = search_several(opened, text, options)
        except ValueError as error:
            message = str(error)
            fault = message if message.startswith("query:") else as_option(message)
            raise click.UsageError(fault, context) from None
        results = answer.results
        _warn(answer.warnings)
        found = [
            Found(paths[hit.result], results[hit.result], hit, results[hit.result].spans(hit.position))
            for hit in answer.merged
        ]
        sizes = [len(one) for one in opened]
    request = {
        "query": text,
        "k": k,
        "offset": offset,
        "mode": mode,
        "min_score": min_score,
        "group_by": group_by,
        "recall": recall,
        "k_token": k_token,
        "weights": weights,
        "first_stage": first_stage,
        "where": where,
    }
    searched = dict(zip(paths, results, strict=True))
    shown = ""
    if json_file != STANDARD_OUTPUT:
        shown = lines(found, searched, options, empty=not any(sizes), verbose=verbose)
    report(shown, {**request, **as_json(found, searched, offset, answer.warnings)}, json_file)


def _split(index: Path, words: Sequence[str]) -> tuple[list[Path], str]:
    """Return the indexes, and the query; the last word is always of the query.

    Raises:
        NotAnIndexError: the first word that is no index looks like one.
        UsageError: an index comes after a word of the query, or there is no other word.
    """
    from serotine.index import CATALOG_FILE

    count = 0
    while count < len(words) - 1 and (words[count].endswith(_SUFFIX) or (Path(words[count]) / CATALOG_FILE).is_file()):
        count += 1
    paths = list(dict.fromkeys([index, *map(Path, words[:count])]))
    if count < len(words) - 1 and (message := mistyped_index(words[count], paths, CATALOG_FILE)):
        raise NotAnIndexError(message)
    context = click.get_current_context()
    last = words[-1]
    if count == len(words) - 1 and _is_index_name(last, CATALOG_FILE):
        raise click.UsageError(f"QUERY: missing after the index {last}; add the words to search for", context)
    for word in words[count + 1 :]:
        if word.endswith(_SUFFIX) and (Path(word) / CATALOG_FILE).is_file():
            raise click.UsageError(
                f"{word}: an index after the query is not searched; put indexes before the query", context
            )
    return paths, " ".join(words[count:])


def _is_index_name(word: str, catalog: str) -> bool:
    """Return whether a word can only mean an index: by its suffix, or as the path of one."""
    is_one_word = len(word.split()) == 1
    return is_one_word and (word.rstrip("/").endswith(_SUFFIX) or ("/" in word and (Path(word) / catalog).is_file()))


def _open(paths: Sequence[Path], stack: ExitStack, mode: Mode) -> list[Index]:
    """Open the indexes, which share one encoder, so that it is loaded once.

    Raises:
        EncoderError: they were built with different encoders, and `mode` needs one.
    """
    from serotine.index import Index, read_settings

    settings = [read_settings(path) for path in paths]
    first = stack.enter_context(Index.open(paths[0], read_only=True))
    if len(paths) == 1 or mode == "bm25":
        return [first, *(stack.enter_context(Index.open(path, read_only=True)) for path in paths[1:])]
    for path, setting in zip(paths, settings, strict=True):
        if (setting.encoder, setting.fingerprint) != (settings[0].encoder, settings[0].fingerprint):
            raise EncoderError(
                f"{paths[0]}, {path}: have different encoders ({settings[0].encoder}, {setting.encoder}), whose scores "
                "cannot be compared; search them one at a time, or by words with --mode bm25"
            )
    encoder = first.encoder
    return [first, *(stack.enter_context(Index.open(path, read_only=True, encoder=encoder)) for path in paths[1:])]


def _warn(warnings: Iterable[SerotineWarning]) -> None:
    for message in map(str, warnings):
        warn(f"--{message}" if message.startswith("where") else message)
