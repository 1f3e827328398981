"""``serotine eval``: evaluate models, an index and baselines on judged collections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from serotine.cli.encoder_options import ENCODER_NAMES, encoder_options, load_encoder
from serotine.cli.mode_options import check_mode_options, first_stage_option, weights_option
from serotine.cli.output import STANDARD_OUTPUT, Interrupted, json_option, warn, write_json
from serotine.cli.pooled_model import require_query_model
from serotine.stemmers import without_stemmer
from serotine.texts import printable

if TYPE_CHECKING:
    from serotine.encoders import Encoder
    from serotine.evaluation import IdenticalIds, Result, Row, Source, System
    from serotine.index import FirstStage

_MULTILINGUAL = "multilingual"
_SUITE_OUTPUT = "serotine-eval"


def _parse_metrics(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    # A comma inside parentheses belongs to a metric.
    names = tuple(dict.fromkeys(re.findall(r"(?:\([^()]*+\)|[^\s,])+", value)))
    if not names:
        raise click.BadParameter("must name a metric, such as nDCG@10", ctx, parameter)
    return names


@click.command("eval")
@click.argument("folders", nargs=-1, metavar="[FOLDER...]")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help=f"Late interaction with an encoder: {ENCODER_NAMES}; repeatable.",
)
@click.option(
    "--dense",
    multiple=True,
    metavar="NAME",
    help=f"A dense encoder as it was trained, one vector per text: {ENCODER_NAMES}; repeatable.",
)
@click.option("--bm25", is_flag=True, help="BM25, in the collection's language.")
@click.option("--index", type=click.Path(path_type=Path), metavar="PATH", help="An index of FOLDER.")
@click.option("--exact", is_flag=True, help="With --index: prove every answer.")
@click.option(
    "--mode",
    type=click.Choice(["late", "xtr", "pooled"]),
    help="With --index: rank by late interaction, by the tokens that XTR retrieves, or by late interaction and pooled "
    "vectors.  [default: late]",
)
@weights_option
@first_stage_option
@click.option(
    "--k-token",
    type=click.IntRange(min=1),
    help="With --mode xtr, tokens that every query token retrieves: at least --depth, 1000 unless given.",
)
@click.option(
    "--suite",
    metavar="NAME",
    help="beir15, miracl18, or a folder whose subfolders are collections; or multilingual, with such a FOLDER, for the "
    "mean over languages.",
)
@click.option("--split", metavar="NAME", help="Split of the judgements.  [default: test; MS MARCO and MIRACL: dev]")
@click.option(
    "--metrics",
    default="nDCG@10,R@100",
    show_default=True,
    metavar="NAMES",
    callback=_parse_metrics,
    help="Metrics as ir-measures names them, separated by commas: RR@10,AP@100,P@5.",
)
@click.option("--depth", type=click.IntRange(min=1), default=100, show_default=True, help="Documents per query.")
@click.option(
    "--identical-ids",
    type=click.Choice(["beir", "mteb", "keep"]),
    help="Documents with the query's own id: drop them all, as MTEB does, or none.  [default: beir for BEIR's, else "
    "keep]",
)
@click.option("--language", metavar="CODE", help="Language of the texts, for BM25: en, fr, zh.  [default: detected]")
@encoder_options
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Store results, TREC runs and encodings there, and resume from them.  [default: none; with --suite, "
    f"{_SUITE_OUTPUT}]",
)
@click.option("--no-cache", is_flag=True, help="Store no encodings, only results.")
@json_option
def evaluate(
    folders: tuple[str, ...],
    models: tuple[str, ...],
    dense: tuple[str, ...],
    bm25: bool,
    index: Path | None,
    exact: bool,
    mode: Literal["late", "xtr", "pooled"] | None,
    weights: tuple[float, float] | None,
    first_stage: FirstStage | None,
    k_token: int | None,
    suite: str | None,
    split: str | None,
    metrics: tuple[str, ...],
    depth: int,
    identical_ids: IdenticalIds | None,
    language: str | None,
    encoder_settings: dict[str, Any],
    output: Path | None,
    no_cache: bool,
    json_file: str | None,
) -> None:
    """Evaluate models, an index and baselines on judged collections, side by side.

    FOLDER is in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/test.tsv, plain or .gz) or MIRACL's (topics, qrels,
    docs-*.jsonl.gz); or beir/NAME and miracl/LANGUAGE, from the hub; or ir_datasets:ID.

    \b
      serotine eval --model default --dense default --bm25 FOLDER
      serotine eval --index my.serotine FOLDER
      serotine eval --index my.serotine --mode xtr --k-token 1000 FOLDER
      serotine eval --index my.serotine --mode pooled --weights 1 0.1 FOLDER
      serotine eval --model NAME --suite beir15 --output results
      serotine eval --model multilingual --bm25 --suite multilingual FOLDER

    A model's figures are exact: every document is scored. Figures are in percent. To resume an interrupted
    evaluation, run the same command with the same --output.
    """  # noqa: D301 - click needs the character itself
    context = click.get_current_context()
    if not (models or dense or bm25 or index):
        raise click.UsageError("nothing to evaluate; pass --model NAME, --index PATH, --dense NAME or --bm25", context)
    if not folders and suite is None:
        raise click.UsageError("no collection; pass a FOLDER, or a --suite", context)
    if index is not None and (len(folders) != 1 or suite is not None):
        raise click.UsageError("--index: an index contains one collection; pass its FOLDER", context)
    if exact and index is None:
        raise click.UsageError("--exact: requires --index; the figures of a model are always exact", context)
    if mode is not None and index is None:
        raise click.UsageError("--mode: requires --index; a model is evaluated by late interaction", context)
    if exact and mode == "xtr":
        raise click.UsageError("--exact: needs --mode late, got --mode xtr; drop one of the two", context)
    if weights is not None and mode != "pooled":
        raise click.UsageError("--weights: needs --mode pooled; add it, or drop --weights", context)
    check_mode_options(mode or "late", weights, first_stage)
    if k_token is not None and mode != "xtr":
        raise click.UsageError("--k-token: needs --mode xtr; add it, or drop --k-token", context)
    if k_token is not None and k_token < depth:
        raise click.UsageError(f"--k-token: must be at least --depth ({depth}), got {k_token}; raise it", context)
    search = {"exact": exact, "mode": mode or "late", "k_token": k_token} | (
        {"weights": weights, "first_stage": first_stage} if mode == "pooled" else {}
    )
    from serotine.evaluation import (
        CACHE_FOLDER,
        BM25Baseline,
        EvaluationOptions,
        evaluate_systems,
        find_multilingual,
        find_sources,
        find_suite,
        summarize,
        validate_unique_names,
    )

    if output is None and suite is not None:
        output = Path(_SUITE_OUTPUT)
    try:
        settings = EvaluationOptions(metrics, depth, identical_ids, output)
    except ValueError as error:
        raise click.UsageError(f"--{error}", context) from None
    is_multilingual = suite == _MULTILINGUAL and not Path(_MULTILINGUAL).is_dir()
    if is_multilingual and len(folders) != 1:
        raise click.UsageError(
            f"--suite multilingual: needs one FOLDER whose subfolders are collections, got {len(folders)}", context
        )
    sources = [] if is_multilingual else [source for folder in folders for source in find_sources(folder, split)]
    if suite is not None:
        members, skipped = find_multilingual(folders[0], split) if is_multilingual else find_suite(suite, split)
        sources += members
        if skipped:
            warn(f"{suite}: skipped {', '.join(skipped)}: not collections")
    validate_unique_names(sources)
    cache = output / CACHE_FOLDER if output is not None and not no_cache else None
    results: list[Result] = []
    encoder_systems = _open(models, dense, index, search, encoder_settings, cache)
    try:
        if bm25 and language is not None and (consequence := without_stemmer(language)) is not None:
            warn(f"--language {language}: {consequence}")
        systems: list[System] = [*encoder_systems, *([BM25Baseline(language)] if bm25 else [])]
        for result in evaluate_systems(systems, sources, settings, show_progress=True, on_note=warn):
            results.append(result)
            if len(sources) > 1:
                click.echo(_line(result), err=True)
    except KeyboardInterrupt:
        raise Interrupted(_interrupted_message(len(results), len(sources) * len(systems), output)) from None
    rows = summarize(results, sources)
    names = [system.name for system in systems]
    if json_file != STANDARD_OUTPUT:
        _print(rows, names, settings.metrics)
    if json_file is not None:
        write_json(_results_json(results, rows, sources), json_file)


def _open(
    models: Sequence[str],
    dense: Sequence[str],
    index: Path | None,
    search: dict[str, Any],
    encoder_settings: dict[str, Any],
    cache: Path | None,
) -> list[System]:
    """Return the systems of the options, loading every encoder once."""
    from serotine.evaluation import LateInteraction, Pooled

    loaded: dict[tuple[str, bool], Encoder] = {}
    dense_settings = {
        key: value for key, value in encoder_settings.items() if key in ("revision", "device", "dim", "query_length")
    }

    def encoder(name: str, *, late: bool) -> Encoder:
        settings = encoder_settings if late else dense_settings
        key = (name, settings != dense_settings)
        if key not in loaded:
            # --dense already says that the encoder is dense: no warning.
            loaded[key] = load_encoder(name, quiet=not late, **settings)
        return loaded[key]

    systems: list[System] = []
    if index is not None:
        systems.append(_open_index(index, search, encoder_settings, alone=not models and not dense))
    systems += [LateInteraction(encoder(name, late=True), cache) for name in dict.fromkeys(models)]
    systems += [Pooled(encoder(name, late=False), cache) for name in dict.fromkeys(dense)]
    return systems


def _open_index(path: Path, search: dict[str, Any], encoder_settings: dict[str, Any], *, alone: bool) -> System:
    from serotine.errors import EncoderError
    from serotine.evaluation import IndexSearch
    from serotine.index import Index

    unused = [f"--{key.replace('_', '-')}" for key in encoder_settings if key != "query_length"]
    if alone and unused:
        raise click.UsageError(f"{', '.join(unused)}: an index has its encoder's settings; leave it out")
    # Closed by the end of the process: a command evaluates one index.
    index = Index.open(path, read_only=True)
    if index.stats().encoder is None:
        raise EncoderError(f"{path}: contains vectors and has no encoder for queries; evaluate it from Python")
    if search["mode"] == "pooled":
        require_query_model(index, path, "evaluate another mode, or an index created with --pooled")
    encoder = index.encoder
    length = encoder_settings.get("query_length")
    if length is None:
        return IndexSearch(index, encoder, **search)
    if not hasattr(encoder, "with_query_length"):
        raise click.UsageError(f"--query-length: {encoder.name} has no such setting; leave it out")
    try:
        return IndexSearch(index, encoder.with_query_length(length), **search)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None


def _interrupted_message(done: int, total: int, output: Path | None) -> str:
    if output is None:
        return "interrupted; pass --output FOLDER to store results"
    return f"interrupted; {done} of {total} results stored in {output}; run the same command again to continue"


def _line(result: Result) -> str:
    figures = "  ".join(f"{metric} {value * 100:.2f}" for metric, value in result.metrics.items())
    return printable(f"{result.collection}  {result.system}  {figures}")


def _print(rows: list[Row], systems: list[str], metrics: Sequence[str]) -> None:
    """Print one collection as a table of systems, or several as a table of collections per metric."""
    from rich.console import Console

    console = Console(width=None if Console().is_terminal else 120, highlight=False, markup=False)
    shown = [printable(_short(system)) for system in systems]
    if len(rows) == 1:
        lines = [
            [name, *(_cell(rows[0], system, metric) for metric in metrics)]
            for name, system in zip(shown, systems, strict=True)
        ]
        _table(console, _row_title(rows[0]), list(metrics), lines)
        return
    for metric in metrics:
        lines = [[printable(_row_title(row)), *(_cell(row, system, metric) for system in systems)] for row in rows]
        _table(console, metric, shown, lines)


def _table(console: Any, title: str, columns: Sequence[str], lines: list[list[str]]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None)
    table.add_column("", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    for line in lines:
        table.add_row(*line)
    console.print(table)


def _cell(row: Row, system: str, metric: str) -> str:
    value = row.values.get((system, metric))
    return "" if value is None else f"{value * 100:.2f}"


def _row_title(row: Row) -> str:
    if row.mean_of == 1:
        return row.name
    return f"mean of {row.mean_of}" if row.name == "mean" else f"{row.name} (mean of {row.mean_of})"


def _short(system: str) -> str:
    """Return a system's name with its path cut to the last part and its commit to 7 characters."""
    name, space, rest = system.partition(" (")
    name = Path(name).name if Path(name).is_absolute() else name
    name, at, commit = name.partition("@")
    return f"{name}{at}{commit[:7]}{space}{rest}"


def _results_json(results: list[Result], rows: list[Row], sources: list[Source]) -> dict[str, Any]:
    groups = {source.name: source.group for source in sources}
    return {
        "results": [
            {
                "system": result.system,
                "collection": result.collection,
                "group": groups[result.collection],
                "split": result.split,
                "metrics": result.metrics,
                "record": result.record,
            }
            for result in results
        ],
        "rows": [
            {
                "name": row.name,
                "mean_of": row.mean_of,
                "figures": [
                    {"system": system, "metric": metric, "value": value}
                    for (system, metric), value in row.values.items()
                ],
            }
            for row in rows
        ],
    }
