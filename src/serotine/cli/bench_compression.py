"""``serotine bench compression``: quality against bits, dimensions, pooled tokens and candidates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.encoder_options import load_encoder
from serotine.cli.output import STANDARD_OUTPUT, json_option, watched, write_json

if TYPE_CHECKING:
    from serotine.bench import OperatingPoint

_FLAT, _DEFAULT = "flat", "default"


def _candidates(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[int | None, ...]:
    found: list[int | None] = []
    for value in values or (_DEFAULT,):
        if value == _DEFAULT:
            found.append(None)
        elif value.isascii() and value.isdigit() and int(value) >= 1:
            found.append(int(value))
        else:
            raise click.BadParameter(f"want a number of at least 1, or {_DEFAULT}, got {value!r}", ctx, parameter)
    return tuple(dict.fromkeys(found))


@click.command()
@click.argument("folder")
@click.option("--model", metavar="NAME", help="Encoder: hub id or folder.  [default: serotine-mini]")
@click.option(
    "--nbits",
    type=click.Choice(["2", "4", "8", _FLAT]),
    multiple=True,
    help="Bits a dimension, or flat: float16, every document scored; repeatable.  [default: all]",
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
    help="Rescore over float16 vectors kept beside the codes.",
)
@click.option("--split", metavar="NAME", help="Which judgements.  [default: those published figures are of]")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Interleaved rounds of timing."
)
@click.option(
    "--timed",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Questions that are timed; all are judged.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path("bench-compression"),
    show_default=True,
    metavar="FOLDER",
    help="Where encoded texts are kept, and indexes while they are measured.",
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
    """Judge every combination of compression settings: nDCG@10, recall of exact MaxSim, bytes and time.

    FOLDER is a judged collection, as `serotine eval` takes it.

    Texts are encoded once and kept. Searches are timed on one thread, query by query in turn. A small collection stands
    for a larger one: it gets codes even where an index would still keep every vector (below 131,072 tokens).
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

    found = find_sources(folder, split)
    if len(found) != 1:
        raise click.UsageError(
            f"FOLDER: {folder} holds {len(found)} collections; name one", click.get_current_context()
        )
    collection = found[0].load()
    encoder = load_encoder(model)
    for dim in dims:
        if dim > encoder.dim:
            raise click.UsageError(f"--dim {dim}: {encoder.name} has {encoder.dim}", click.get_current_context())
    grid = Grid(
        nbits=tuple(None if value == _FLAT else int(value) for value in dict.fromkeys(nbits or ("2", "4", "8", _FLAT))),
        dims=tuple(dict.fromkeys(dims or (encoder.dim,))),
        pool_factors=tuple(dict.fromkeys(pool_factors or (1.0,))),
        candidates=candidates,
        reduction=reduction,
        keep_vectors=keep_vectors,
    )
    encoded = encode_collection(collection, encoder, cache, show_progress=watched())
    points = measure_compression(
        encoded,
        grid,
        cache / "indexes",
        pooling=encoder.spec.pooling,
        rounds=rounds,
        timed=timed,
        say=lambda words: click.echo(words, err=True),
    )
    result = {
        "machine": describe_machine(["serotine", "numpy", "onnxruntime", "scipy"]),
        "rounds": rounds,
        "timed": min(timed, len(encoded.queries)),
        **compression_result(encoded, grid, encoder, points),
    }
    _show(points, collection.name, to_stderr=json_file == STANDARD_OUTPUT)
    if json_file is not None:
        write_json(result, json_file)
    if chart is not None:
        chart.write_text(
            draw_compression(result["searched"], f"{collection.name}: quality against compression"), encoding="utf-8"
        )


def _show(points: list[OperatingPoint], name: str, *, to_stderr: bool) -> None:
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
