"""A training run: data, initial model, stages in order, average. A killed run resumes.

A run's folder:

    recipe.json         the recipe and the hashes of its files; another recipe is refused
    data.json           what was removed from each source, and why
    checkpoint/         the recipe's model as a checkpoint, if it is an exported one
    states/             token states on which the head is fitted, until `initial/` is complete
    initial/            the model before training
    1-NAME/             a stage: checkpoint-STEP/ while it runs, model/ when it is finished
    merged/             models of the last checkpoints of adapters, while they are averaged
    log.jsonl           one line of figures per step
    model/              the result, in sentence-transformers' format
    report.json         what `train` returns; written last
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serotine.errors import TrainingError, missing_extra, shown
from serotine.files import sha256, write_atomically
from serotine.progress import progress_bar
from serotine.training import checkpoints
from serotine.training.averaging import average
from serotine.training.cleaning import clean
from serotine.training.distributed import is_main_process, main_process_first, wait_for_all
from serotine.training.examples import Example, read_source
from serotine.training.recipe import Lora, Recipe, Stage

if TYPE_CHECKING:
    from serotine.training.evaluator import NdcgEvaluator

# oneDNN caches compiled kernels and buffers for the newest 1,024 shapes of a product, and hardly two batches have the
# same length: memory grew by 40 MB per step. torch reads these variables when it is imported.
_SMALL_CACHES = {"LRU_CACHE_CAPACITY": "16", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}

_STAGE = re.compile(r"\d+-")


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """The outcome of a run.

    Attributes:
        model: folder of the result.
        sources: by source: examples in total, remaining after cleaning, and dropped by reason.
        ndcg_at_10: on the recipe's evaluation split, of "initial", of every stage's model, and of the result, "model";
            empty without evaluation.
        steps: optimizer steps of every stage.
    """

    model: Path
    sources: dict[str, dict[str, Any]]
    ndcg_at_10: dict[str, float]
    steps: dict[str, int]


def train(recipe: Recipe, *, show_progress: bool = False) -> TrainingReport:
    """Run a recipe, or resume a stopped run of it.

    Args:
        recipe: see `load_recipe`.
        show_progress: draw bars on standard error.

    Raises:
        TrainingError: a library is not installed, the recipe does not fit its model or data, or the output folder holds
            another run.
        InputFileError: a source or a collection cannot be read.
        EncoderError: the recipe's model does not exist or is damaged.
    """
    _require_libraries(adapters=recipe.lora is not None)
    with main_process_first():
        _claim_output(recipe)
    report_file = recipe.output / "report.json"
    if report_file.is_file():
        return TrainingReport(recipe.output / "model", **json.loads(report_file.read_text("utf-8")))
    import torch

    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    with _quiet_libraries():
        with main_process_first():
            examples, sources = _clean_sources(recipe, show_progress=show_progress and is_main_process())
        report = _run_stages(recipe, examples, sources, show_progress=show_progress)
    if is_main_process():
        values = asdict(report)
        del values["model"]
        _write_json(report_file, values)
    wait_for_all()
    return report


def saved_steps(recipe: Recipe) -> tuple[int, int]:
    """Return how many steps a stopped run does not repeat, and all steps of the recipe."""
    saved = 0
    for stage, folder in _stage_folders(recipe):
        written = checkpoints.complete(folder)
        saved += stage.steps if (folder / "model").is_dir() else checkpoints.step(written[-1]) if written else 0
    return saved, sum(stage.steps for stage in recipe.stages)


def _stage_folders(recipe: Recipe) -> list[tuple[Stage, Path]]:
    return [(stage, recipe.output / f"{number}-{stage.name}") for number, stage in enumerate(recipe.stages, start=1)]


def _run_stages(
    recipe: Recipe, examples: dict[str, list[Example]], sources: dict[str, dict[str, Any]], *, show_progress: bool
) -> TrainingReport:
    from serotine.training.evaluator import NdcgEvaluator
    from serotine.training.stages import run_stage, validate_stages

    evaluator = NdcgEvaluator(recipe.evaluation, recipe.seed) if recipe.evaluation else None
    ndcg: dict[str, float] = {}
    steps: dict[str, int] = {}
    initial = recipe.output / "initial"
    with main_process_first():
        _create_initial_model(recipe, examples, initial, show_progress=show_progress and is_main_process())
    validate_stages(recipe, initial)
    if evaluator is not None:
        ndcg["initial"] = _evaluate(evaluator, initial)
    model = model_before = folder = initial
    for stage, folder in _stage_folders(recipe):
        model_before = model
        steps[stage.name] = run_stage(recipe, stage, model, folder, examples, evaluator, show_progress=show_progress)
        model = folder / "model"
        if evaluator is not None:
            ndcg[stage.name] = _evaluate(evaluator, model)
    result = recipe.output / "model"
    if is_main_process():
        _average(recipe, initial, model_before, folder, result)
    wait_for_all()
    if evaluator is not None:
        ndcg["model"] = _evaluate(evaluator, result)
    return TrainingReport(result, sources, ndcg, steps)


def _evaluate(evaluator: NdcgEvaluator, model: Path) -> float:
    """Return a model's nDCG@10, from the file beside it if it was evaluated before."""
    file = model.with_name(f"{model.name}.evaluation.json")
    with main_process_first():
        if not file.is_file():
            _write_json(file, evaluator(checkpoints.load(model)))
    ndcg: float = json.loads(file.read_text("utf-8"))[evaluator.primary_metric]
    return ndcg


def _require_libraries(*, adapters: bool) -> None:
    for name, value in _SMALL_CACHES.items():
        os.environ.setdefault(name, value)
    try:
        import accelerate  # noqa: F401
        import datasets  # noqa: F401
        import sentence_transformers
        import torch  # noqa: F401
    except ImportError:
        raise TrainingError(missing_extra("training", "train")) from None
    if int(sentence_transformers.__version__.split(".")[0]) < 6:
        raise TrainingError(
            f"sentence-transformers: must be version 6 or newer, got {sentence_transformers.__version__}; "
            f"{missing_extra('training', 'train')}"
        )
    if adapters and find_spec("peft") is None:
        raise TrainingError(missing_extra("lora in a recipe", "lora"))


def _claim_output(recipe: Recipe) -> None:
    """Record the recipe in its output folder, or check that the run there is of the same recipe and files."""
    file = recipe.output / "recipe.json"
    # A missing file has no hash; reading the source reports it.
    hashes = {source.name: sha256(source.path) if source.path.is_file() else None for source in recipe.sources}
    record = {"fingerprint": recipe.fingerprint(), "data": hashes, "recipe": asdict(recipe)}
    if file.is_file() and _has_trained(recipe.output):
        started = json.loads(file.read_text("utf-8"))
        if started["fingerprint"] != record["fingerprint"]:
            change = _first_difference(started["recipe"], json.loads(_as_json(record["recipe"])))
            raise TrainingError(
                f"{recipe.output}: holds a run of another recipe ({change}); choose another output, or delete it to "
                "start over"
            )
        for source in recipe.sources:
            if started["data"][source.name] != hashes[source.name]:
                raise TrainingError(
                    f"{source.path}: changed since the run in {recipe.output} started; restore the file, choose "
                    "another output, or delete it to start over"
                )
    elif not file.is_file() and recipe.output.exists() and any(recipe.output.iterdir()):
        raise TrainingError(f"{recipe.output}: not empty, and not a training run; choose another output")
    else:
        recipe.output.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or json.loads(file.read_text("utf-8")) != json.loads(_as_json(record)):
            _discard_preparation(recipe.output)
            _write_json(file, record)


def _first_difference(old: Any, new: Any, key: str = "") -> str:
    """Return the first key that two recipes differ in, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name) and name not in ("output", "threads"):
                return _first_difference(old.get(name), new.get(name), f"{key}.{name}".lstrip("."))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            if one != other:
                return _first_difference(one, other, f"{key}[{number}]")
    return f"{key} was {shown(old)}, is {shown(new)}" if key else "of an earlier version"


def _has_trained(output: Path) -> bool:
    """Return whether a run has a checkpoint or a finished stage: something to resume, or to protect."""
    stages = [folder for folder in output.iterdir() if _STAGE.match(folder.name) and folder.is_dir()]
    return any((folder / "model").is_dir() or checkpoints.complete(folder) for folder in stages)


def _discard_preparation(output: Path) -> None:
    """Delete what a run that failed before its first checkpoint wrote: it was prepared for another recipe or data.

    Token states and teachers' vectors stay: they are stored under the hashes of encoder and texts.
    """
    for name in ("initial", "checkpoint"):
        shutil.rmtree(output / name, ignore_errors=True)
    for name in ("recipe.json", "data.json", "log.jsonl", "initial.evaluation.json"):
        (output / name).unlink(missing_ok=True)


def _clean_sources(
    recipe: Recipe, *, show_progress: bool
) -> tuple[dict[str, list[Example]], dict[str, dict[str, Any]]]:
    names = {name for stage in recipe.stages for name in stage.sources}
    sources = [source for source in recipe.sources if source.name in names]
    examples = {source.name: read_source(source, recipe.seed) for source in sources}
    with progress_bar(sum(map(len, examples.values())), "Cleaning", enabled=show_progress) as advance:
        cleaned, reports = clean(examples, recipe.cleaning, advance)
    records = {source.name: {**asdict(reports[source.name]), "license": source.license} for source in sources}
    _write_json(recipe.output / "data.json", records)
    return cleaned, records


def _create_initial_model(
    recipe: Recipe, examples: dict[str, list[Example]], folder: Path, *, show_progress: bool
) -> None:
    if not folder.is_dir():
        from serotine.training.initialize import initial_model

        states = recipe.output / "states"
        checkpoints.save(initial_model(recipe, examples, states, show_progress=show_progress), folder)
        # Only a killed run needs them again.
        shutil.rmtree(states, ignore_errors=True)


def _average(recipe: Recipe, initial: Path, before: Path, last_stage: Path, target: Path) -> None:
    """Write the result: the average of the last stage's newest checkpoints and of the initial model.

    Args:
        recipe: the recipe.
        initial: folder of the model before training.
        before: of the model that the last stage started from.
        last_stage: the stage's folder.
        target: the folder to write.
    """
    averaging = recipe.averaging
    folders, merged = [last_stage / "model"], recipe.output / "merged"
    if averaging.checkpoints > 1:
        folders = checkpoints.complete(last_stage)[-averaging.checkpoints :]
        if recipe.lora is not None:
            folders = _merge(recipe.lora, before, folders, merged)
    weights = [(1 - averaging.initial_weight) / len(folders)] * len(folders)
    if averaging.initial_weight:
        folders.append(initial)
        weights.append(averaging.initial_weight)
    average(folders, weights, target)
    shutil.rmtree(merged, ignore_errors=True)


def _merge(lora: Lora, before: Path, folders: list[Path], target: Path) -> list[Path]:
    """Return folders with the models of checkpoints of adapters: the mean of products is not the product of means."""
    from serotine.training.adapters import merge_checkpoint

    # Of a killed run.
    shutil.rmtree(target, ignore_errors=True)
    for folder in folders:
        merge_checkpoint(folder, lora, before, target / folder.name)
    return [target / folder.name for folder in folders]


def _write_json(path: Path, values: Any) -> None:
    write_atomically(path, _as_json(values))


def _as_json(values: Any) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False, default=str) + "\n"


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Silence the libraries' logging below errors, and their progress bars."""
    import datasets
    import transformers

    verbosity, had_bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    loggers = [logging.getLogger(name) for name in ("sentence_transformers", "accelerate")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if had_bars:
            transformers.logging.enable_progress_bar()
        datasets.enable_progress_bars()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
