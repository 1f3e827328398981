"""``serotine train``: run a recipe, mine hard negatives for one, average trained models."""

from __future__ import annotations

import difflib
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from serotine.cli.command_group import CommandGroup
from serotine.cli.encoder_options import ENCODER_NAMES
from serotine.cli.output import Interrupted, json_option, plural, report, run_again
from serotine.errors import RecipeError, TrainingError


class _Train(CommandGroup):
    """A group whose default command runs a recipe: `serotine train recipe.yaml`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0] if args else "-"
        mistyped = difflib.get_close_matches(word, self.commands, n=1) and not Path(word).exists()
        if word not in self.commands and not word.startswith("-") and not mistyped:
            return "RECIPE", run, args
        return super().resolve_command(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "RECIPE.yaml [--json FILE]")
        formatter.write_usage(ctx.command_path, "mine PAIRS... -o FILE [OPTIONS]")
        formatter.write_usage(ctx.command_path, "average MODELS... -o FOLDER [OPTIONS]")


@click.group(cls=_Train)
def train() -> None:
    """Train a late-interaction model with a recipe, mine hard negatives for one, average trained models."""


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def run(recipe: Path, json_file: str | None) -> None:
    """Run RECIPE, or resume an interrupted run of it.

    The trained model is the folder model/ in the recipe's output, in sentence-transformers' format, for
    `serotine model export` and every --encoder option.
    """
    from serotine.training import is_main_process, load_recipe, saved_steps
    from serotine.training import train as run_recipe

    try:
        loaded = load_recipe(recipe)
    except RecipeError as error:
        raise click.UsageError(str(error)) from None
    try:
        result = run_recipe(loaded, show_progress=True)
    except KeyboardInterrupt:
        if not loaded.output.exists():
            raise Interrupted(f"interrupted before anything was stored; {run_again()}") from None
        saved, total = saved_steps(loaded)
        stored = f"{saved:,} of {plural(total, 'step')} saved in {loaded.output}"
        raise Interrupted(f"interrupted; {stored}; {run_again()}") from None
    if not is_main_process():
        return
    lines = []
    for name, source in result.sources.items():
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in source["dropped"].items())
        examples = f"{source['remaining']:,} of {plural(source['total'], 'example')}"
        lines.append(f"{name}: {examples}{f' ({reasons})' if reasons else ''}")
    lines += [f"{name}: {plural(count, 'step')}" for name, count in result.steps.items()]
    if result.ndcg_at_10:
        lines.append("nDCG@10: " + ", ".join(f"{name} {value:.4f}" for name, value in result.ndcg_at_10.items()))
    lines.append(f"{result.model}: done")
    lines += _next_steps(result.model)
    report("\n".join(lines), {**asdict(result), "model": str(result.model)}, json_file)


def _next_steps(model: Path) -> list[str]:
    """Return the commands that use a trained model; the exported form needs no torch and is faster on a CPU."""
    folder = shlex.quote(str(model))
    return [
        "Next:",
        f"  serotine model export {folder} my-encoder --native",
        "  serotine index FOLDER -o my.serotine --encoder my-encoder",
        "  serotine search my.serotine QUERY",
    ]


@train.command()
@click.argument("pairs", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    "file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A .jsonl file.",
)
@click.option("--encoder", "name", help=f"Encoder that retrieves passages: {ENCODER_NAMES}.  [default: serotine-mini]")
@click.option("--teacher", help=f"Teacher for MaxSim scores, late interaction or dense: {ENCODER_NAMES}.")
@click.option("--cross-encoder", help="Teacher for scores: a cross-encoder.")
@click.option("--scored", is_flag=True, help="Write the scores of --encoder, without a teacher.")
@click.option("--negatives", type=click.IntRange(min=1), default=7, show_default=True, help="Negatives per example.")
@click.option("--depth", type=click.IntRange(min=1), default=50, show_default=True, help="Passages retrieved.")
@click.option(
    "--ratio",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="Use only passages that score below this share of the positive's score.",
)
@click.option("--mode", type=click.Choice(["late", "bm25", "hybrid"]), default="late", show_default=True)
@click.option(
    "--bm25-weight",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Weight of BM25 in the written scores.",
)
@click.option("--index", "index_folder", type=click.Path(path_type=Path), help="Store the index in this folder.")
@json_option
def mine(
    pairs: tuple[Path, ...],
    file: Path,
    name: str | None,
    teacher: str | None,
    cross_encoder: str | None,
    scored: bool,
    negatives: int,
    depth: int,
    ratio: float,
    mode: Any,
    bm25_weight: float,
    index_folder: Path | None,
    json_file: str | None,
) -> None:
    """Mine hard negatives for the examples in PAIRS among all their passages.

    Writes n-tuples or, with a teacher, scored lists for distillation. Examples with too few negatives are dropped and
    counted.
    """
    from serotine.training import (
        CrossEncoderTeacher,
        LateInteractionTeacher,
        MiningOptions,
        Teacher,
        load_encoder,
        read_examples,
    )
    from serotine.training import mine as run_mining

    if teacher is not None and cross_encoder is not None:
        raise click.UsageError("--teacher and --cross-encoder: mutually exclusive; use one of them")
    if bm25_weight and not (scored or teacher or cross_encoder):
        raise click.UsageError("--bm25-weight: needs scores to mix with; add --teacher, --cross-encoder or --scored")
    if file.suffix != ".jsonl":
        raise click.UsageError(f"--output: must be a .jsonl file, got {str(file)!r}")
    if not file.parent.is_dir():
        raise click.UsageError(f"--output: the folder of {str(file)!r} does not exist; create it first")
    if depth < negatives:
        raise click.UsageError(f"--depth: {depth} passages cannot give {negatives} negatives; raise it")
    scorer: Teacher | None = None
    if teacher is not None:
        scorer = LateInteractionTeacher(load_encoder(teacher))
    elif cross_encoder is not None:
        scorer = CrossEncoderTeacher(cross_encoder)
    try:
        result = run_mining(
            [example for path in pairs for example in read_examples(path)],
            file,
            encoder=load_encoder(name),
            teacher=scorer,
            options=MiningOptions(negatives, depth, ratio, mode, scored, bm25_weight),
            index_folder=index_folder,
            show_progress=True,
        )
    except KeyboardInterrupt:
        raise Interrupted("interrupted; nothing was written") from None
    lines = [f"{result.written:,} of {plural(result.examples, 'example')} from {plural(result.passages, 'passage')}"]
    lines += [f"  {reason}: {count:,}" for reason, count in result.dropped.items()]
    report("\n".join([*lines, f"{file}: written"]), {**asdict(result), "file": str(file)}, json_file)


@train.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", "folder", required=True, type=click.Path(path_type=Path), help="Folder to create.")
@click.option(
    "--weight",
    "weights",
    multiple=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Weight of a model; give one per model, in their order.  [default: equal]",
)
@json_option
def average(models: tuple[Path, ...], folder: Path, weights: tuple[float, ...], json_file: str | None) -> None:
    """Average the weights of MODELS, runs of one recipe with different seeds.

    Each is the folder model/ of a run. The average has the size and the speed of one model and often ranks better.
    """
    from serotine.training import average_models

    if weights and len(weights) != len(models):
        given = plural(len(weights), "weight")
        raise click.UsageError(f"--weight: give one per model, {len(models)} in all, got {given}")
    try:
        shares = average_models(models, folder, weights=weights or None)
    except (FileExistsError, NotADirectoryError) as error:
        raise TrainingError(str(error)) from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    lines = [f"{share:.3f}  {path}" for share, path in zip(shares, models, strict=True)]
    report("\n".join([*lines, f"{folder}: written"]), {"folder": str(folder), "shares": shares}, json_file)
