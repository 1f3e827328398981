"""``serotine model``: describe an encoder, verify it against published scores, convert it to other formats."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from serotine.cli.command_group import CommandGroup
from serotine.cli.encoder_options import encoder_options, load_encoder, warning_lines
from serotine.cli.output import json_option, report, size
from serotine.errors import EncoderError

if TYPE_CHECKING:
    from serotine.encoders import Encoder, Side


@click.group(cls=CommandGroup)
def model() -> None:
    """Describe an encoder, verify it, export it, save it in another format."""


@model.command("info")
@click.argument("name")
@encoder_options
@json_option
def info(name: str, encoder_settings: dict[str, Any], json_file: str | None) -> None:
    """Describe an encoder and how it encodes texts: NAME is a hub id, a folder or serotine-mini."""
    encoder = load_encoder(name, **encoder_settings)
    spec = encoder.spec
    result = {"name": spec.name, "fingerprint": encoder.fingerprint, "origin": spec.origin, **spec.settings()}
    runs_on: dict[str, Any] = {
        "instruction_set": _instruction_set(encoder),
        "dtype": _dtype(encoder),
        "device": _device(encoder),
    }
    if encoder.backend_choice is not None:
        runs_on |= asdict(encoder.backend_choice)
    details = {"backbone": spec.backbone, "dim": encoder.dim, "runs_on": runs_on}
    report(_describe(encoder), {**result, **details}, json_file)


def _describe(encoder: Encoder) -> str:
    spec = encoder.spec
    kinds = {"dense": "a dense encoder, its token states used as they are"}
    layers = " -> ".join(str(layer.outputs) for layer in spec.projections)
    lines = [
        f"{spec.name}: {kinds.get(spec.origin, f'late interaction, {spec.origin} format')}",
        f"  Model     {spec.backbone}{f', projected to {layers}' if layers else ''}; {encoder.dim} dimensions",
        f"  Queries   {_side(spec.query)}",
        f"  Documents {_side(spec.document)}",
    ]
    if spec.pooling.factor > 1:
        lines.append(f"  Pooling   about {spec.pooling.factor:g} document vectors are merged into one")
    if spec.similarity == "meanmaxsim":
        lines.append("  Scores    MaxSim over the number of query tokens; ranked by MaxSim, in the same order")
    lines.append(f"  Runs on   {_runs_on(encoder)}")
    if spec.source_cosine is not None:
        lines.append(f"  Source    mean cosine per token {spec.source_cosine:.4f} with what it was exported from")
    lines.append(f"  Identity  fingerprint {encoder.fingerprint}")
    return "\n".join(lines)


def _runs_on(encoder: Encoder) -> str:
    choice = encoder.backend_choice
    if choice is None:
        return type(encoder.backend).__name__
    names = {"native": "the compiled core in 8 bits", "onnx": "ONNX Runtime", "torch": "torch"}
    used = _instruction_set(encoder)
    dtype = _dtype(encoder)
    where = f" with {used}" if used is not None else f" in {dtype}" if dtype is not None else ""
    return f"{names[choice.backend]}{where}, on {_device(encoder)}: {choice.reason}"


def _dtype(encoder: Encoder) -> str | None:
    return getattr(encoder.backend, "dtype", None)


def _instruction_set(encoder: Encoder) -> str | None:
    return getattr(encoder.backend, "instruction_set", None)


def _device(encoder: Encoder) -> str:
    return str(getattr(encoder.backend, "device", "cpu"))


def _side(side: Side) -> str:
    settings = [f"at most {side.length:,} tokens"]
    if side.prompt:
        settings.append(f"after {side.prompt!r}")
    if side.marker:
        settings.append(f"{side.marker!r} after the first token")
    if side.expansion:
        attention = "attended to" if side.expansion.attend else "not attended to"
        settings.append(
            f"expanded to {side.expansion.length} with token {side.expansion.token}, {attention} by the others"
        )
    if side.skip:
        settings.append(f"without the vectors of {len(side.skip)} token types")
    return ", ".join(settings)


@model.command()
@click.argument("name")
@encoder_options
@json_option
def verify(name: str, encoder_settings: dict[str, Any], json_file: str | None) -> None:
    """Compare an encoder with its published scores.

    NAME is the model's hub id, or a folder with the model's name. Exit status 1 when a score is not reproduced.
    """
    from serotine.encoders import check_published, is_exported, locate, published_for

    published = published_for(name)
    # The published scores were computed in floating point, with markers first.
    location = locate(name, revision=encoder_settings.get("revision"))
    defaults = {"marker_position": "prepend"} | ({} if is_exported(location.folder) else {"backend": "torch"})
    encoder = load_encoder(name, **(defaults | encoder_settings))
    checks = check_published(encoder, published)
    lines = [
        f"{'pass' if check.passed else 'FAIL'}  {check.label}: published {check.published}, computed {check.computed}"
        for check in checks
    ]
    failed = sum(not check.passed for check in checks)
    lines.append(f"{name}: {len(checks) - failed} of {len(checks)} published values reproduced")
    report("\n".join(lines), {"name": name, "checks": [asdict(check) for check in checks], "failed": failed}, json_file)
    if failed:
        raise EncoderError(f"{name}: {failed} of {len(checks)} published values are not reproduced")


@model.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--int8", is_flag=True, help="8-bit matrices: faster on a CPU, smaller, slightly less accurate.")
@click.option("--native", is_flag=True, help="8 bits as the compiled core computes: BERT, ModernBERT, pplx.")
@click.option(
    "--texts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Real texts to compare on, one per line.",
)
@encoder_options
@json_option
def export(
    name: str,
    folder: Path,
    int8: bool,
    native: bool,
    texts: Path | None,
    encoder_settings: dict[str, Any],
    json_file: str | None,
) -> None:
    """Write an encoder as ONNX, or natively, to run without torch, and print how close its vectors are.

    NAME is a checkpoint; with --native also an ONNX export of a BERT.
    """
    from serotine.encoders import export_encoder

    try:
        lines = None if texts is None else [line for line in texts.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise click.UsageError(f"--texts: must be UTF-8, got {str(texts)!r}; convert it to UTF-8") from None
    precision: Literal["int8"] | None = "int8" if int8 else None
    kind: Literal["onnx", "native"] = "native" if native else "onnx"
    try:
        with warning_lines():
            result = export_encoder(name, folder, precision=precision, format=kind, texts=lines, **encoder_settings)
    except FileExistsError as error:
        raise EncoderError(str(error)) from None
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    summary = (
        f"{folder}: {result.format}, {result.precision}, {size(result.bytes)}; mean cosine with the source's vectors "
        f"{result.mean_cosine:.5f}, minimum {result.min_cosine:.5f}, over {result.tokens:,} tokens of "
        f"{result.texts} texts"
    )
    report(summary, {**asdict(result), "folder": str(result.folder)}, json_file)


@model.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["sentence-transformers", "pylate"]),
    default="sentence-transformers",
    show_default=True,
    help="The format to write.",
)
@encoder_options
@json_option
def save(name: str, folder: Path, kind: Any, encoder_settings: dict[str, Any], json_file: str | None) -> None:
    """Write a checkpoint in the format of sentence-transformers 6 or PyLate."""
    from serotine.encoders import save_checkpoint

    try:
        save_checkpoint(load_encoder(name, **encoder_settings), folder, format=kind)
    except FileExistsError as error:
        raise EncoderError(str(error)) from None
    report(f"{folder}: {kind} format", {"folder": str(folder), "format": kind}, json_file)
