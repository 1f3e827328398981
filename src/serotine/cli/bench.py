"""``serotine bench``: measure kernels, indexes and compression on this machine, beside their peers."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.command_group import CommandGroup
from serotine.cli.encoder_options import ENCODER_NAMES, load_encoder
from serotine.cli.output import STANDARD_OUTPUT, json_option, write_json

if TYPE_CHECKING:
    from serotine.bench import KernelTiming, OperatingPoint


_FLAT, _DEFAULT = "flat", "default"


@click.group(cls=CommandGroup)
def bench() -> None:
    """Measure Serotine beside its peers on this machine."""


@bench.command()
@click.option("--dim", "dims", type=click.IntRange(min=1), multiple=True, help="Dimension; repeatable.  [default: 128]")
@click.option(
    "--threads", type=click.IntRange(1, 1024), multiple=True, help="Threads allowed; repeatable.  [default: 1]"
)
@click.option("--shape", "shapes", multiple=True, help="First letters of a workload; repeatable.  [default: all]")
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True, help="Interleaved rounds.")
@json_option
@click.option("--chart", type=click.Path(dir_okay=False, path_type=Path), help="Draw the result as SVG.")
def kernels(
    dims: tuple[int, ...],
    threads: tuple[int, ...],
    shapes: tuple[str, ...],
    rounds: int,
    json_file: str | None,
    chart: Path | None,
) -> None:
    """Time MaxSim kernels side by side, in one interleaved run, with their error against float64.

    Peers that are installed take part: torch, maxsim-cpu, numkong (pip install 'serotine[bench]').
    """
    # OpenBLAS's threads spin long after a product, on cores that the next contender needs. Read when NumPy is loaded:
    # 2^22 cycles are still long enough for one contender's run.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "22")

    from serotine.bench import describe_machine, draw_kernels, measure_kernels

    rows: list[KernelTiming] = []
    for workload_rows in measure_kernels(dims or (128,), threads or (1,), rounds, shapes):
        rows += workload_rows
        show_kernels(workload_rows, to_stderr=json_file == STANDARD_OUTPUT)
    if not rows:
        raise click.UsageError(f"--shape: must be a prefix of hot, a, b, c or d, got {', '.join(map(repr, shapes))}")
    result = {
        "machine": describe_machine(["serotine", "numpy", "torch", "maxsim-cpu", "numkong"]),
        "rounds": rounds,
        "rows": [asdict(row) for row in rows],
    }
    if json_file is not None:
        write_json(result, json_file)
    if chart is not None:
        chart.write_text(draw_kernels(rows), encoding="utf-8")


def show_kernels(rows: list[KernelTiming], *, to_stderr: bool) -> None:
    """Print the table of one workload."""
    from rich.console import Console
    from rich.table import Table

    first = rows[0]
    title = f"{first.workload}, {first.dim} dimensions, {first.threads} thread{'s' if first.threads > 1 else ''}"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("")
    for name in ("ms", "k docs/s", "GF/s", "of GEMM", "of read", "max error", "relative", "x best exact peer"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.method,
            f"{row.milliseconds:.3f}",
            f"{row.documents_per_second:.1f}",
            f"{row.gigaflops:.1f}",
            f"{row.of_gemm:.0%}",
            f"{row.of_bandwidth:.0%}",
            f"{row.max_error:.1e}",
            f"{row.relative_error:.1e}",
            f"{row.speedup:.2f}",
        )
    console = Console(stderr=to_stderr, width=None if Console().is_terminal else 120, highlight=False)
    console.print(table)
    console.print()


@bench.command()
@click.argument("passages", type=click.Path(exists=True, path_type=Path))
@click.argument("queries", type=click.Path(exists=True, path_type=Path))
@click.option("--documents", type=click.IntRange(min=1), default=20_000, show_default=True, help="Passages to index.")
@click.option("--dim", type=click.IntRange(min=1), default=128, show_default=True, help="Dimensions to project on.")
@click.option("--encoder", metavar="NAME", help=f"Encoder: {ENCODER_NAMES}.  [default: serotine-mini]")
@click.option("--profile", "profiles", multiple=True, help="Profile, such as '4 bits'; repeatable.  [default: all]")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Interleaved rounds.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path("bench-index"),
    show_default=True,
    metavar="FOLDER",
    help="Cache of encoded passages and indexes.",
)
@json_option
@click.option("--chart", type=click.Path(dir_okay=False, path_type=Path), help="Draw speed against recall as SVG.")
def index(
    passages: Path,
    queries: Path,
    documents: int,
    dim: int,
    encoder: str | None,
    profiles: tuple[str, ...],
    rounds: int,
    cache: Path,
    json_file: str | None,
    chart: Path | None,
) -> None:
    """Build and search indexes over PASSAGES with QUERIES, beside brute force, with recall against exact MaxSim.

    The encoder runs once, its vectors are cached. Searches are timed on one thread.
    """
    from serotine.bench import INDEX_PROFILES, describe_machine, draw_index, measure_index, prepare_vectors

    for profile in profiles:
        if profile not in INDEX_PROFILES:
            raise click.UsageError(f"--profile: must be one of {', '.join(map(repr, INDEX_PROFILES))}, got {profile!r}")
    collection = prepare_vectors(cache, passages, queries, documents=documents, dim=dim, encoder=encoder)
    result = {
        "machine": describe_machine(["serotine", "numpy", "onnxruntime"]),
        "rounds": rounds,
        **measure_index(
            collection,
            cache,
            rounds=rounds,
            engines=profiles or tuple(INDEX_PROFILES),
            log=lambda message: click.echo(message, err=True),
        ),
    }
    show_index(result, to_stderr=json_file == STANDARD_OUTPUT)
    if json_file is not None:
        write_json(result, json_file)
    if chart is not None:
        chart.write_text(draw_index(result["searched"], 10, "Speed and recall, ten hits"), encoding="utf-8")


def show_index(result: dict[str, Any], *, to_stderr: bool) -> None:
    """Print the time, memory and recall of building and searching."""
    from rich.console import Console
    from rich.table import Table

    building = Table(title="Building", title_justify="left", box=None)
    for name in ("", "seconds", "MB above input", "MB on disk", "code bytes/token"):
        building.add_column(name, justify="left" if not name else "right")
    for row in result["built"]:
        building.add_row(
            row["engine"],
            f"{row['build_seconds']:.1f}",
            f"{row['build_peak_bytes'] / 1e6:,.0f}",
            f"{row['disk_bytes'] / 1e6:,.0f}",
            f"{row['bytes_per_token']:.1f}",
        )
    searching = Table(title="Searching, one thread", title_justify="left", box=None)
    for name in ("", "", "p50 ms", "p95 ms", "recall@10", "recall@100", "min hits", "plan"):
        searching.add_column(name, justify="left" if name in ("", "plan") else "right")
    for row in result["searched"]:
        recall_at_100 = row["recall_at_100"]
        searching.add_row(
            row["engine"],
            row["setting"],
            f"{row['p50_ms']:.2f}",
            f"{row['p95_ms']:.2f}",
            f"{row['recall_at_10']:.4f}",
            "" if recall_at_100 is None else f"{recall_at_100:.4f}",
            str(row["min_hits"]),
            row["plan"],
        )
    console = Console(stderr=to_stderr, width=None if Console().is_terminal else 130, highlight=False)
    console.print(building)
    console.print(searching)


def _candidates(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[int | None, ...]:
    candidates: list[int | None] = []
    for value in values or (_DEFAULT,):
        if value == _DEFAULT:
            candidates.append(None)
        elif value.isascii() and value.isdigit() and int(value) >= 1:
            candidates.append(int(value))
        else:
            raise click.BadParameter(f"must be at least 1, or {_DEFAULT}, got {value!r}", ctx, parameter)
    return tuple(dict.fromkeys(candidates))


@bench.command()
@click.argument("folder")
@click.option("--model", metavar="NAME", help=f"Encoder: {ENCODER_NAMES}.  [default: serotine-mini]")
@click.option(
    "--nbits",
    type=click.Choice(["2", "4", "8", _FLAT]),
    multiple=True,
    help="Bits per dimension, or flat: float16, every document scored; repeatable.  [default: all]",
)
@click.option(
    "--dim", "dims", type=click.IntRange(min=1), multiple=True, help="Dimensions; repeatable.  [default: the encoder's]"
)
@click.option(
    "--pool-factor",
    "pool_factors",
    type=click.FloatRange(min=1),
    multiple=True,
    help="Document tokens merged into one; repeatable.  [default: 1]",
)
@click.option(
    "--candidates",
    multiple=True,
    callback=_candidates,
    metavar="NUMBER",
    help="Documents scored over their codes, or default; repeatable.  [default: default]",
)
@click.option(
    "--reduction",
    type=click.Choice(["pca", "truncate"]),
    default="pca",
    show_default=True,
    help="How vectors get fewer dimensions: principal directions, or the first ones (Matryoshka).",
)
@click.option(
    "--keep-vectors/--no-keep-vectors",
    default=False,
    show_default=True,
    help="Rescore over float16 vectors stored beside the codes.",
)
@click.option("--split", metavar="NAME", help="Split of the judgements.  [default: the split of published figures]")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Interleaved rounds of timing."
)
@click.option(
    "--timed",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Queries that are timed; all are evaluated.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path("bench-compression"),
    show_default=True,
    metavar="FOLDER",
    help="Cache of encoded texts, and of indexes while they are measured.",
)
@json_option
@click.option("--chart", type=click.Path(dir_okay=False, path_type=Path), help="Draw the result as SVG.")
def compression(
    folder: str,
    model: str | None,
    nbits: tuple[str, ...],
    dims: tuple[int, ...],
    pool_factors: tuple[float, ...],
    candidates: tuple[int | None, ...],
    reduction: Any,
    keep_vectors: bool,
    split: str | None,
    rounds: int,
    timed: int,
    cache: Path,
    json_file: str | None,
    chart: Path | None,
) -> None:
    """Evaluate every combination of compression settings: nDCG@10, recall of exact MaxSim, bytes and time.

    FOLDER is a judged collection, as `serotine eval` takes it.

    Texts are encoded once and cached. Searches are timed on one thread, query by query. A small collection
    represents a larger one: it gets codes even below 131,072 tokens, where an index would still store every vector.
    """
    from serotine.bench import (
        Grid,
        compression_result,
        describe_machine,
        draw_compression,
        encode_collection,
        measure_compression,
    )
    from serotine.evaluation import find_sources

    sources = find_sources(folder, split)
    if len(sources) != 1:
        raise click.UsageError(
            f"FOLDER: must be one collection, got {folder} with {len(sources)}; name one of them",
            click.get_current_context(),
        )
    collection = sources[0].load()
    encoder = load_encoder(model)
    for dim in dims:
        if dim > encoder.dim:
            raise click.UsageError(
                f"--dim: must be at most {encoder.dim}, the dimensions of {encoder.name}, got {dim}",
                click.get_current_context(),
            )
    grid = Grid(
        nbits=tuple(None if value == _FLAT else int(value) for value in dict.fromkeys(nbits or ("2", "4", "8", _FLAT))),
        dims=tuple(dict.fromkeys(dims or (encoder.dim,))),
        pool_factors=tuple(dict.fromkeys(pool_factors or (1.0,))),
        candidates=candidates,
        reduction=reduction,
        keep_vectors=keep_vectors,
    )
    encoded = encode_collection(collection, encoder, cache, show_progress=True)
    points = measure_compression(
        encoded,
        grid,
        cache / "indexes",
        pooling=encoder.spec.pooling,
        rounds=rounds,
        timed=timed,
        log=lambda message: click.echo(message, err=True),
    )
    result = {
        "machine": describe_machine(["serotine", "numpy", "onnxruntime", "scipy"]),
        "rounds": rounds,
        "timed": min(timed, len(encoded.queries)),
        **compression_result(encoded, grid, encoder, points),
    }
    show_compression(points, collection.name, to_stderr=json_file == STANDARD_OUTPUT)
    if json_file is not None:
        write_json(result, json_file)
    if chart is not None:
        chart.write_text(
            draw_compression(result["searched"], f"{collection.name}: quality against compression"), encoding="utf-8"
        )


def show_compression(points: list[OperatingPoint], name: str, *, to_stderr: bool) -> None:
    """Print the quality, size and time of every combination."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=name, title_justify="left", box=None)
    for heading in ("", "candidates", "nDCG@10", "recall@10", "bytes/token", "p50 ms", "p95 ms", "build s"):
        table.add_column(heading, justify="right" if heading else "left")
    for point in points:
        table.add_row(
            point.engine,
            "all" if point.nbits is None else _DEFAULT if point.candidates is None else f"{point.candidates:,}",
            f"{point.ndcg_at_10 * 100:.2f}",
            f"{point.recall_at_10:.4f}",
            f"{point.bytes_per_token:.1f}",
            f"{point.p50_ms:.2f}",
            f"{point.p95_ms:.2f}",
            f"{point.build_seconds:.1f}" if point.nbits else "",
        )
    Console(stderr=to_stderr, width=None if Console().is_terminal else 120, highlight=False).print(table)
