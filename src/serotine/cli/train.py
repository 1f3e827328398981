"""``serotine train``: a recipe, run; and the mining of hard negatives for one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from serotine.cli.output import Interrupted, json_option, plural, report, watched
from serotine.errors import RecipeError


class _Train(click.Group):
    """A group whose unnamed command runs a recipe: `serotine train recipe.yaml`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            return "RECIPE", run, args
        return super().resolve_command(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "RECIPE.yaml [--json FILE]")
        formatter.write_usage(ctx.command_path, "mine PAIRS... -o FILE [OPTIONS]")


@click.group(cls=_Train)
def train() -> None:
    """Train a late-interaction model by a recipe, or mine hard negatives for one."""


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def run(recipe: Path, json_file: str | None) -> None:
    """Run RECIPE, or go on with a run of it that was stopped.

    The result is the folder model/ in the recipe's output: sentence-transformers' format, for `serotine model export`
    and every --encoder option.
    """
    from serotine.training import load_recipe
    from serotine.training import train as run_recipe
    from serotine.training.processes import is_main

    try:
        wanted = load_recipe(recipe)
    except RecipeError as error:
        raise click.UsageError(str(error)) from None
    try:
        made = run_recipe(wanted, show_progress=watched())
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; run the same command to go on from {wanted.output}") from None
    if not is_main():
        return
    lines = []
    for name, told in made.sources.items():
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in told["reasons"].items())
        lines.append(
            f"{name}: {told['kept']:,} of {plural(told['read'], 'example')}{f' ({reasons})' if reasons else ''}"
        )
    lines += [f"{name}: {plural(count, 'step')}" for name, count in made.steps.items()]
    if made.judged:
        lines.append("nDCG@10: " + ", ".join(f"{name} {value:.4f}" for name, value in made.judged.items()))
    lines.append(f"{made.model}: done")
    report("\n".join(lines), {**asdict(made), "model": str(made.model)}, json_file)


@train.command()
@click.argument("pairs", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", "file", required=True, type=click.Path(dir_okay=False, path_type=Path), help=".jsonl.")
@click.option("--encoder", "name", help="What finds the passages: hub id or folder.  [default: the default encoder]")
@click.option("--teacher", help="Its MaxSim is written as scores: a stronger encoder, late interaction or dense.")
@click.option("--cross-encoder", help="Its scores are written: a cross-encoder.")
@click.option("--scored", is_flag=True, help="Write the encoder's own scores, where there is no teacher.")
@click.option("--negatives", type=click.IntRange(min=1), default=7, show_default=True, help="An example gets so many.")
@click.option("--depth", type=click.IntRange(min=1), default=50, show_default=True, help="Passages looked at.")
@click.option(
    "--ratio",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="A passage with this share of the positive's score, or more, is no negative.",
)
@click.option("--mode", type=click.Choice(["late", "bm25", "hybrid"]), default="late", show_default=True)
@click.option(
    "--lexical",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of BM25 in the scores written: it teaches the words' own weight.",
)
@click.option("--index", "scratch", type=click.Path(path_type=Path), help="Build the index here, and keep it.")
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
    lexical: float,
    scratch: Path | None,
    json_file: str | None,
) -> None:
    """Find hard negatives for the examples in PAIRS among all their passages.

    Writes n-tuples, or, with a teacher, scored lists to distil from. Examples that do not get all their negatives are
    left out, and counted.
    """
    from serotine.training.examples import read_examples
    from serotine.training.mining import Mining
    from serotine.training.mining import mine as run_mining
    from serotine.training.teachers import CrossTeacher, LateTeacher, Teacher, load_encoder

    if teacher is not None and cross_encoder is not None:
        raise click.UsageError("--teacher and --cross-encoder: one of the two scores, not both")
    if lexical and not (scored or teacher or cross_encoder):
        raise click.UsageError("--lexical: is mixed with scores; give --teacher, --cross-encoder or --scored")
    if file.suffix != ".jsonl":
        raise click.UsageError(f"--output: want a .jsonl file, got {str(file)!r}")
    if not file.parent.is_dir():
        raise click.UsageError(f"--output: the folder of {str(file)!r} does not exist; create it first")
    if depth < negatives:
        raise click.UsageError(f"--depth: {depth} passages cannot give {negatives} negatives; raise it")
    scorer: Teacher | None = None
    if teacher is not None:
        scorer = LateTeacher(load_encoder(teacher))
    elif cross_encoder is not None:
        scorer = CrossTeacher(cross_encoder)
    try:
        made = run_mining(
            [example for path in pairs for example in read_examples(path)],
            file,
            encoder=load_encoder(name),
            teacher=scorer,
            rules=Mining(negatives, depth, ratio, mode, scored, lexical),
            scratch=scratch,
            show_progress=watched(),
        )
    except KeyboardInterrupt:
        raise Interrupted("interrupted; nothing was written") from None
    lines = [f"{made.written:,} of {plural(made.examples, 'example')} from {plural(made.passages, 'passage')}"]
    lines += [f"  {reason}: {count:,}" for reason, count in made.dropped.items()]
    report("\n".join([*lines, f"{file}: written"]), {**asdict(made), "file": str(file)}, json_file)
