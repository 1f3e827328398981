"""A recipe, run: data, starting model, stages one after the other, average. Killed at any point, it goes on from there.

A run's folder:

    recipe.json         what it was asked and of which files, by which another recipe is refused
    data.json           what was dropped from each source, and why
    start/              the model before training
    1-NAME/             a stage: checkpoint-STEP/ while it runs, model/ when it is done
    log.jsonl           a line of numbers a few steps
    model/              the result, in sentence-transformers' format
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serotine.errors import TrainingError
from serotine.progress import progress_bar
from serotine.training.averaging import average
from serotine.training.cleaning import clean
from serotine.training.examples import Example, read_source
from serotine.training.processes import is_main, main_first, wait
from serotine.training.recipe import Recipe

# On a CPU, oneDNN keeps what it compiled and set aside for the newest 1,024 shapes of a product, and hardly two batches
# are of one length: without these, memory grew by 40 MB a step. torch reads them when it is imported.
_FEW_SHAPES = {"LRU_CACHE_CAPACITY": "16", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a run came to.

    Attributes:
        model: folder of the result.
        sources: by source: examples read, kept, and dropped by reason.
        judged: nDCG@10 on the judge's split: of "start", of every stage's model, of the result; empty without a judge.
        steps: optimiser steps of every stage.
    """

    model: Path
    sources: dict[str, dict[str, Any]]
    judged: dict[str, float]
    steps: dict[str, int]


def train(recipe: Recipe, *, show_progress: bool = False) -> TrainingReport:
    """Runs a recipe, or goes on with a run of it that was stopped.

    Args:
        recipe: see `load_recipe`.
        show_progress: draw bars on standard error.

    Raises:
        TrainingError: it cannot start: something is not installed, or the output folder holds another run.
        InputFileError: a source or a collection is not what it should be.
        EncoderError: the model to start from is not there or damaged.
    """
    _require()
    with main_first():
        _claim(recipe)
    done = recipe.output / "report.json"
    if done.is_file():
        values = json.loads(done.read_text("utf-8"))
        return TrainingReport(Path(recipe.output / "model"), values["sources"], values["judged"], values["steps"])
    import torch

    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    with _quietly():
        with main_first():
            examples, sources = _data(recipe, show_progress=show_progress and is_main())
        report = _run(recipe, examples, sources, show_progress=show_progress)
    if is_main():
        _write_json(done, {"sources": report.sources, "judged": report.judged, "steps": report.steps})
    wait()
    return report


def _run(
    recipe: Recipe, examples: dict[str, list[Example]], sources: dict[str, dict[str, Any]], *, show_progress: bool
) -> TrainingReport:
    from serotine.training.judging import METRIC, JudgedCollection
    from serotine.training.stages import check_stages, load, run_stage

    judge = JudgedCollection(recipe.judge, recipe.seed) if recipe.judge else None
    judged: dict[str, float] = {}
    steps: dict[str, int] = {}

    def judge_it(name: str, folder: Path) -> None:
        known = folder.with_name(f"{folder.name}.judged.json")
        if judge is None:
            return
        with main_first():
            if not known.is_file():
                _write_json(known, judge(load(folder)))
        judged[name] = json.loads(known.read_text("utf-8"))[METRIC]

    with main_first():
        newest = _start(recipe, examples)
    check_stages(recipe, newest)
    judge_it("start", newest)
    checkpoints: list[Path] = []
    for number, stage in enumerate(recipe.stages, start=1):
        folder = recipe.output / f"{number}-{stage.name}"
        steps[stage.name], checkpoints = run_stage(
            recipe, stage, newest, folder, examples, judge, show_progress=show_progress
        )
        newest = folder / "model"
        judge_it(stage.name, newest)
    if is_main():
        _finish(recipe, checkpoints)
    wait()
    judge_it("model", recipe.output / "model")
    return TrainingReport(recipe.output / "model", sources, judged, steps)


def _require() -> None:
    for name, value in _FEW_SHAPES.items():
        os.environ.setdefault(name, value)
    try:
        import accelerate  # noqa: F401
        import datasets  # noqa: F401
        import sentence_transformers
        import torch  # noqa: F401
    except ImportError as error:
        raise TrainingError(f"training needs {error.name}; run: pip install 'serotine[train]'") from None
    if int(sentence_transformers.__version__.split(".")[0]) < 6:
        raise TrainingError(
            f"training needs sentence-transformers 6, here is {sentence_transformers.__version__}; "
            "run: pip install 'serotine[train]'"
        )


def _claim(recipe: Recipe) -> None:
    """The output folder is this run's, or nobody's yet."""
    file = recipe.output / "recipe.json"
    data = {source.name: _digest(source.path) for source in recipe.sources}
    wanted = {"fingerprint": recipe.fingerprint(), "data": data, "recipe": asdict(recipe)}
    if file.is_file():
        begun = json.loads(file.read_text("utf-8"))
        if begun["fingerprint"] != wanted["fingerprint"]:
            raise TrainingError(
                f"{recipe.output}: holds a run of another recipe; give a new output, or delete it to start anew"
            )
        for source in recipe.sources:
            if begun.get("data", data)[source.name] != data[source.name]:
                raise TrainingError(
                    f"{source.path}: is not what the run in {recipe.output} began with; put the file back, give a new "
                    "output, or delete it to start anew"
                )
    elif recipe.output.exists() and any(recipe.output.iterdir()):
        raise TrainingError(f"{recipe.output}: is not empty, and holds no training run; give a new output")
    else:
        recipe.output.mkdir(parents=True, exist_ok=True)
        _write_json(file, wanted)


def _digest(path: Path) -> str | None:
    """Of a source's bytes; None where there is no file, which reading it tells."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _data(recipe: Recipe, *, show_progress: bool) -> tuple[dict[str, list[Example]], dict[str, dict[str, Any]]]:
    wanted = {name for stage in recipe.stages for name in stage.sources}
    read = {source.name: read_source(source, recipe.seed) for source in recipe.sources if source.name in wanted}
    licences = {source.name: source.licence for source in recipe.sources}
    with progress_bar(sum(map(len, read.values())), "Cleaning", enabled=show_progress) as advance:
        kept, dropped = clean(read, recipe.clean, advance)
    report = {name: {**asdict(told), "licence": licences[name]} for name, told in dropped.items()}
    _write_json(recipe.output / "data.json", report)
    return kept, report


def _start(recipe: Recipe, examples: dict[str, list[Example]]) -> Path:
    folder = recipe.output / "start"
    if not folder.is_dir():
        from serotine.training.stages import save
        from serotine.training.start import starting_model

        save(starting_model(recipe, _sample(examples, recipe.head.sample, recipe.seed)), folder)
    return folder


def _sample(examples: dict[str, list[Example]], count: int, seed: int) -> list[str]:
    """Positives, as many of each source as of any other."""
    shuffled = []
    for name, rows in examples.items():
        texts = [one.documents[0] for one in rows]
        random.Random(f"{seed} {name}").shuffle(texts)  # noqa: S311
        shuffled.append(texts)
    found: list[str] = []
    place = 0
    while len(found) < count and any(place < len(texts) for texts in shuffled):
        found += [texts[place] for texts in shuffled if place < len(texts)]
        place += 1
    return found[:count]


def _finish(recipe: Recipe, checkpoints: list[Path]) -> None:
    """The average that the recipe asks for, of whole models."""
    rule = recipe.average
    newest = recipe.output / f"{len(recipe.stages)}-{recipe.stages[-1].name}" / "model"
    trained = checkpoints[-rule.checkpoints :] if rule.checkpoints > 1 else [newest]
    folders, weights = list(trained), [(1 - rule.start) / len(trained)] * len(trained)
    if rule.start:
        folders.append(recipe.output / "start")
        weights.append(rule.start)
    average(folders, weights, recipe.output / "model")


def _write_json(path: Path, values: Any) -> None:
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_text(json.dumps(values, indent=1, ensure_ascii=False, default=str) + "\n", "utf-8")
    scratch.replace(path)


@contextmanager
def _quietly() -> Iterator[None]:
    """What the libraries tell of their own workings is no business of who trains; warnings and errors are."""
    import datasets
    import transformers

    before, shown = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    names = ("sentence_transformers", "accelerate")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
        if shown:
            transformers.logging.enable_progress_bar()
        datasets.enable_progress_bars()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
