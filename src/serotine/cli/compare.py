"""``serotine compare``: compare evaluated systems."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.encoder_options import ENCODER_NAMES, load_encoder
from serotine.cli.output import STANDARD_OUTPUT, json_option, warn, write_json
from serotine.errors import reason
from serotine.texts import printable

if TYPE_CHECKING:
    from serotine.evaluation import Collection, Comparison, Source

# Changes printed; the report and the JSON have all of them.
_MAX_SHOWN = 5


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULTS...")
@click.option(
    "--collection",
    "folders",
    multiple=True,
    metavar="FOLDER",
    help="An evaluated collection, named as for `serotine eval`, to show its passages; repeatable.",
)
@click.option(
    "--model",
    metavar="NAME",
    help=f"A late-interaction encoder to show which words matched: {ENCODER_NAMES}; needs --collection.",
)
@click.option("--metric", default="nDCG@10", show_default=True, help="Metric to compare.")
@click.option(
    "--changed",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Number of most changed queries to list.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=100_000,
    show_default=True,
    help="Rounds of the randomization test.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of that test.")
@click.option(
    "--bench",
    "benches",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="JSON of `serotine bench index` or `bench compression`, for speed against recall in the report; repeatable.",
)
@click.option("--report", "report_file", type=click.Path(dir_okay=False, path_type=Path), help="Write an HTML report.")
@json_option
def compare(
    results: tuple[Path, ...],
    folders: tuple[str, ...],
    model: str | None,
    metric: str,
    changed: int,
    rounds: int,
    seed: int,
    benches: tuple[Path, ...],
    report_file: Path | None,
    json_file: str | None,
) -> None:
    """Compare systems that `serotine eval` evaluated, query by query, with the first of them.

    RESULTS are two or more folders of results, one per system.
    """
    if len(results) < 2:
        raise click.UsageError("RESULTS: must be at least two folders, got 1", click.get_current_context())
    if model is not None and not folders:
        raise click.UsageError("--model: requires --collection, whose texts it encodes", click.get_current_context())
    if benches and report_file is None:
        raise click.UsageError(
            "--bench: requires --report FILE, the only place where it is drawn", click.get_current_context()
        )
    if report_file is not None and not report_file.parent.is_dir():
        raise click.UsageError(f"--report: the folder of {str(report_file)!r} does not exist; create it first")
    from serotine.evaluation import compare as compare_systems
    from serotine.evaluation import write_report

    bench_results = {file.name: _bench(file) for file in benches}
    collections = _collections(results, folders)
    encoder = None if model is None else load_encoder(model)
    try:
        comparison = compare_systems(
            results,
            metric=metric,
            collections=collections,
            encoder=encoder,
            changed=changed,
            rounds=rounds,
            seed=seed,
            show_progress=True,
        )
        if report_file is not None:
            write_report(comparison, report_file, benches=bench_results)
    except ValueError as error:
        raise click.UsageError(str(error), click.get_current_context()) from None
    if comparison.excluded:
        warn(f"not every system was evaluated on {', '.join(comparison.excluded)}; excluded")
    _show(comparison, to_stderr=json_file == STANDARD_OUTPUT)
    if json_file is not None:
        write_json(asdict(comparison), json_file)


def _collections(results: tuple[Path, ...], folders: tuple[str, ...]) -> list[Collection]:
    """Load the collections, in the split that was evaluated."""
    from serotine.errors import InputFileError
    from serotine.evaluation import find_sources, load_results

    if not folders:
        return []
    splits = {result.collection: result.split for result in load_results(results[0])}
    loaded = []
    for folder in folders:
        sources: list[tuple[str, Source]] = []
        missing: InputFileError | None = None
        # A folder may lack judgements of a split that another collection has.
        for split in dict.fromkeys(splits.values()):
            try:
                sources += [(split, source) for source in find_sources(folder, split)]
            except InputFileError as error:
                missing = error
        if not sources and missing is not None:
            raise missing
        unknown = next((source.name for _, source in sources if source.name not in splits), None)
        if unknown is not None:
            raise click.UsageError(f"--collection: {unknown!r} was not evaluated; {results[0]} has {', '.join(splits)}")
        loaded += [source.load() for split, source in sources if splits[source.name] == split]
    return loaded


def _bench(file: Path) -> dict[str, Any]:
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise click.UsageError(f"--bench: {file}: no such file", click.get_current_context()) from None
    except ValueError as error:
        raise click.UsageError(
            f"--bench: {file}: not valid JSON ({reason(error)})", click.get_current_context()
        ) from None
    if not isinstance(result, dict):
        raise click.UsageError(f"--bench: {file}: must contain a JSON object", click.get_current_context())
    return result


def _probability(p: float) -> str:
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _show(comparison: Comparison, *, to_stderr: bool) -> None:
    """Print means, tests and the largest changes."""
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=to_stderr, width=None if Console().is_terminal else 120, highlight=False, markup=False)
    means = Table(box=None)
    means.add_column("")
    several = len(comparison.collections) > 1
    for name in (*comparison.collections, *(["mean"] if several else [])):
        means.add_column(printable(name), justify="right")
    for system in comparison.systems:
        row = [comparison.means[system][name] for name in comparison.collections] + [
            comparison.averages[system]
        ] * several
        means.add_row(printable(system), *(f"{value * 100:.2f}" for value in row))
    tests = Table(box=None)
    for name in ("", "", "difference", "wins", "ties", "losses", "p", "p, corrected"):
        tests.add_column(name, justify="right" if name else "left")
    for pair in comparison.pairs:
        tests.add_row(
            printable(pair.system),
            printable(pair.collection),
            f"{pair.difference * 100:+.2f}",
            str(pair.wins),
            str(pair.ties),
            str(pair.losses),
            _probability(pair.p),
            _probability(pair.p_corrected),
        )
    console.print(f"Mean {comparison.metric}, in percent")
    console.print(means)
    console.print()
    console.print(f"Against {printable(comparison.systems[0])}; p by paired randomization, corrected by Holm's method")
    console.print(tests)
    changes = comparison.changes[:_MAX_SHOWN]
    if changes:
        console.print()
        console.print("Largest changes")
    for change in changes:
        values = f"{change.baseline_value * 100:.0f} -> {change.system_value * 100:.0f}"
        system = f", {change.system}" if len(comparison.systems) > 2 else ""
        text = f"  {change.text}" if change.text is not None else ""
        console.print(printable(f"  {values:>10}  {change.collection} {change.query}{system}{text}"), soft_wrap=True)
