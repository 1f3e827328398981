"""``serotine plan``: the machines that a sharded index needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

import click

from serotine.cli.output import json_option, report, size

if TYPE_CHECKING:
    from serotine.distributed import Assumptions, Plan

Command = TypeVar("Command", bound=Callable[..., Any])
# Of `Assumptions`: the help of each option, and its unit in the output.
_ASSUMPTIONS = {
    "node_cores": ("Processor cores of a node.", "cores per node"),
    "node_memory_gb": ("Memory of a node, in GB.", "GB of memory per node"),
    "node_disk_gb": ("Local disk of a node, in GB.", "GB of disk per node"),
    "utilization": ("Share of a node's processors, memory and disk to plan for.", "of a node used"),
    "process_memory_gb": ("Memory of a shard's process besides its codes, in GB.", "GB of memory per process"),
    "text_bytes_per_token": (
        "Bytes on disk of a token's text and its word index.",
        "bytes of text and words per token",
    ),
    "call_ms": ("Time of a call to a shard and back, in milliseconds.", "ms per call of a shard"),
}


def _amount(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return a number above 0, as people write large ones: ``1e9``."""
    return None if value is None else _parsed(ctx, parameter, value, "a number")


def _whole(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a whole number above 0."""
    if value is None:
        return None
    number = _parsed(ctx, parameter, value, "a whole number")
    if number % 1:
        raise click.BadParameter(f"must be a whole number, got {value!r}", ctx, parameter)
    return int(number)


def _parsed(ctx: click.Context, parameter: click.Parameter, value: str, kind: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    # The upper limit also refuses infinity; NaN is not above 0.
    if not 0 < number <= 1e15:
        raise click.BadParameter(f"must be {kind} above 0, up to 1e15, got {value!r}", ctx, parameter)
    return number


def _assumption_options(command: Command) -> Command:
    for name, (text, _) in reversed(_ASSUMPTIONS.items()):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, callback=_amount, metavar="NUMBER", help=f"Assumption: {text}")(command)
    return command


@click.command()
@click.option("--documents", required=True, callback=_whole, metavar="NUMBER", help="Number of documents, such as 1e9.")
@click.option("--tokens", required=True, callback=_amount, metavar="NUMBER", help="Tokens per document, on average.")
@click.option("--qps", required=True, callback=_amount, metavar="NUMBER", help="Queries per second.")
@click.option(
    "--nbits",
    type=click.Choice(["2", "4", "8"]),
    default="4",
    show_default=True,
    help="Bits per dimension of the codes.",
)
@click.option(
    "--dim", callback=_whole, default="128", show_default=True, metavar="N", help="Dimension of the token vectors."
)
@click.option(
    "--keep-vectors/--no-keep-vectors",
    default=True,
    help="Store float16 vectors for exact final scores.  [default: store]",
)
@click.option("--replicas", callback=_whole, default="1", show_default=True, metavar="N", help="Processes per shard.")
@click.option(
    "--shards", callback=_whole, metavar="N", help="Number of shards.  [default: none larger than the largest measured]"
)
@_assumption_options
@json_option
def plan(
    documents: int,
    tokens: float,
    qps: float,
    nbits: str,
    dim: int,
    keep_vectors: bool,
    replicas: int,
    shards: int | None,
    json_file: str | None,
    **assumptions: float | None,
) -> None:
    """Plan the machines of a sharded index, from measured constants and stated assumptions; needs no cluster."""
    from serotine import distributed

    if (utilization := assumptions["utilization"]) is not None and utilization >= 1:
        raise click.BadParameter(f"must be below 1, got {utilization:g}", param_hint="'--utilization'")
    given = {name: value for name, value in assumptions.items() if value is not None}
    assumed = distributed.Assumptions(**given)
    arguments: dict[str, Any] = {
        "documents": documents,
        "tokens": tokens,
        "qps": qps,
        "nbits": int(nbits),
        "dim": dim,
        "keep_vectors": keep_vectors,
        "replicas": replicas,
    }
    planned = distributed.plan(**arguments, shards=shards, assumptions=assumed)
    result = {**arguments, **planned.to_dict(), "assumptions": asdict(assumed), "overridden": sorted(given)}
    report("\n".join(_lines(planned, documents, tokens, qps, assumed, given)), result, json_file)


def _lines(
    planned: Plan, documents: int, tokens: float, qps: float, assumed: Assumptions, given: dict[str, float]
) -> list[str]:
    alone = ", ".join(f"{resource} {nodes:,}" for resource, nodes in planned.nodes_by_resource.items())
    core_hours = planned.encode_core_hours + planned.index_core_hours
    busy_cores = qps * planned.query_processor_ms / 1e3
    lines = [
        f"Documents       {documents:,} of {tokens:g} tokens, in {planned.shards:,} shards "
        f"of {planned.tokens_per_shard / 1e6:,.1f}M tokens",
        f"Nodes           {planned.nodes:,}; needed for {alone}",
        f"Memory          {size(round(planned.memory_bytes))}: codes and processes",
        f"Disk            {size(round(planned.disk_bytes))} on the nodes",
        f"Object storage  {size(round(planned.object_bytes))}: one snapshot of every shard",
        f"Build           {planned.build_hours:,.1f} hours, of {core_hours:,.0f} core hours: encoding "
        f"{planned.encode_core_hours:,.0f}, indexing {planned.index_core_hours:,.0f}; reading the files not included",
        f"Latency         p50 {planned.latency_p50_ms:,.0f} ms, p99 {planned.latency_p99_ms:,.0f} ms, "
        f"of which merging {planned.merge_ms:,.1f} ms",
        f"Cost driver     {planned.cost_driver}: {qps:g} queries/s x {planned.query_processor_ms / 1e3:,.2f} processor "
        f"seconds on {planned.shards:,} shards keep {busy_cores:,.0f} cores busy"
        if planned.cost_driver == "processors"
        else f"Cost driver     {planned.cost_driver}",
        "",
        "Measured: search, bytes, encoding and indexing on small machines, the spread of shards by simulation "
        "(benchmarks/results).",
    ]
    if planned.is_extrapolated:
        lines.append("Extrapolated: shards are larger than the largest index measured; more shards would not be.")
    guesses: list[str] = []
    settings: list[str] = []
    for field in fields(assumed):
        text = f"{getattr(assumed, field.name):g} {_ASSUMPTIONS[field.name][1]}"
        option = f"--{field.name.replace('_', '-')}"
        (settings if field.name in given else guesses).append(f"  {text} ({option})")
    if guesses:
        lines += ["Assumed, not measured:", *guesses]
    if settings:
        lines += ["Given:", *settings]
    return lines
