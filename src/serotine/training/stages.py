"""One stage of training: sentence-transformers' trainer, with our batches, our MaxSim, our log and our judge."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from numpy.typing import NDArray
from sentence_transformers import (
    MultiVectorEncoder,
    MultiVectorEncoderTrainer,
    MultiVectorEncoderTrainingArguments,
)
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from serotine.encoders.location import locate
from serotine.errors import TrainingError
from serotine.evaluation import VectorLookup
from serotine.training.batches import LengthGroupedBatches, MixedSources
from serotine.training.examples import Example
from serotine.training.judging import METRIC
from serotine.training.objectives import chosen, columns, loss, needs_scores
from serotine.training.processes import main_first
from serotine.training.recipe import Recipe, Stage
from serotine.training.teachers import load_encoder, teacher_vectors
from serotine.training.topics import topics
from serotine.training.watching import JsonlLog, LiveView

if TYPE_CHECKING:
    from serotine.training.judging import JudgedCollection

_STATE = "trainer_state.json"
_HEAD = r"\d+\.(linear|residual)\."


class _Trainer(MultiVectorEncoderTrainer):
    """Without the model card that would be written into every checkpoint."""

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Adds none."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if output_dir is not None:
            save(self.model, Path(output_dir))


def run_stage(
    recipe: Recipe,
    stage: Stage,
    before: Path,
    folder: Path,
    examples: dict[str, list[Example]],
    judge: JudgedCollection | None,
    *,
    show_progress: bool,
) -> tuple[int, list[Path]]:
    """Runs one stage, or the rest of it; a stage that is done is left as it is.

    Args:
        recipe: the whole of it.
        stage: what to do now.
        before: the model to begin with.
        folder: the stage's own; its result is `model` in it.
        examples: by source, cleaned.
        judge: what watches, if anything.
        show_progress: draw a bar on standard error.

    Returns:
        Steps taken, and the checkpoints there are, oldest first.

    Raises:
        TrainingError: a source has nothing for this stage.
    """
    done = folder / "model"
    if not done.is_dir():
        with main_first():
            resumed = _last_checkpoint(folder)
        model = load(before)
        if recipe.dropout is not None:
            _set_dropout(model, recipe.dropout)
        dataset, rows = _dataset(stage, examples)
        with main_first():
            taught = None if stage.teacher is None else _taught(stage, rows, folder, show_progress=show_progress)
        view = LiveView(stage.name)
        trainer = _Trainer(
            model=model,
            args=_arguments(recipe, stage, folder, judge, _topics(recipe, stage, rows, taught)),
            train_dataset=dataset,
            loss=_loss(stage, model, rows, taught),
            evaluator=judge,
            callbacks=_callbacks(recipe, stage) + ([view] if show_progress else []),
        )
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
        finally:
            view.close()
        if trainer.is_world_process_zero():
            (folder / "steps.json").write_text(json.dumps({"steps": trainer.state.global_step}), "utf-8")
            # Last: with it the stage is done.
            save(model, done)
        trainer.accelerator.wait_for_everyone()
    steps: int = json.loads((folder / "steps.json").read_text("utf-8"))["steps"]
    return steps, _checkpoints(folder)


def check_stages(recipe: Recipe, start: Path) -> None:
    """What the model's files tell of the stages to come, before the first begins.

    Raises:
        TrainingError: a stage asks for what the model cannot do.
        EncoderError: a teacher is not to be found.
    """
    model = load(start)
    for stage in recipe.stages:
        for key in ("query_length", "document_length"):
            wanted, own = getattr(stage, key), getattr(model[0], key, None)
            if wanted is not None and own is not None and wanted > own:
                raise TrainingError(f"stage {stage.name!r}: {key} is at most the model's {own:,}, got {wanted:,}")
        if stage.head_learning_rate is not None and not any(
            re.search(_HEAD, name) for name, _ in model.named_parameters()
        ):
            raise TrainingError(f"stage {stage.name!r}: head_learning_rate: the model has no head; leave it out")
        if stage.teacher is not None:
            with main_first():
                locate(stage.teacher)


def load(folder: Path) -> MultiVectorEncoder:
    """A model that `save` wrote."""
    return MultiVectorEncoder(str(folder), local_files_only=True)


def _set_dropout(model: MultiVectorEncoder, rate: float) -> None:
    """In the modules alone: the configuration that is saved with the model stays the backbone's own."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        # Of attention where it has no module (Qwen3).
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = rate  # type: ignore[assignment]


def save(model: MultiVectorEncoder, folder: Path) -> None:
    """Writes a model in sentence-transformers' format, safetensors; whole or not at all where nothing is there yet."""
    if folder.is_dir():
        model.save_pretrained(str(folder), create_model_card=False)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
        made = Path(place) / "made"
        model.save_pretrained(str(made), create_model_card=False)
        made.replace(folder)


def _taught(
    stage: Stage, rows: list[Example], folder: Path, *, show_progress: bool
) -> tuple[VectorLookup, VectorLookup]:
    """The teacher's vectors of queries and of documents."""
    teacher = load_encoder(stage.teacher)
    kept, texts = folder / "teacher", [text for row in rows for text in row.documents]
    return (
        teacher_vectors(teacher, [row.query for row in rows], kept, query=True, show_progress=show_progress),
        teacher_vectors(teacher, texts, kept, query=False, show_progress=show_progress),
    )


def _topics(
    recipe: Recipe, stage: Stage, rows: list[Example], taught: tuple[VectorLookup, VectorLookup] | None
) -> NDArray[np.int32] | None:
    if taught is None or not stage.topics:
        return None
    if len(rows) < stage.topics * stage.batch_size:
        raise TrainingError(
            f"stage {stage.name!r}: {len(rows):,} examples are too few for {stage.topics:,} topics with a batch of "
            f"{stage.batch_size} each; lower topics"
        )
    return topics(rows, taught[1], stage.topics, recipe.seed)


def _loss(
    stage: Stage,
    model: MultiVectorEncoder,
    rows: list[Example],
    taught: tuple[VectorLookup, VectorLookup] | None,
) -> torch.nn.Module:
    if taught is None:
        return loss(stage, model)
    from serotine.training.in_batch import InBatchDistillation

    return InBatchDistillation(model, rows, *taught, stage.temperature, stage.lexical)


def _dataset(stage: Stage, examples: dict[str, list[Example]]) -> tuple[DatasetDict, list[Example]]:
    """The columns of every source, and, where a teacher is at hand, the examples that their labels number."""
    parts: dict[str, Dataset] = {}
    rows: list[Example] = []
    for name in stage.sources:
        found = columns(stage, examples[name])
        count = len(found["query"]) if found else 0
        if found is None or count < stage.batch_size:
            wanted = f"{stage.documents} documents" + (" and scores" if needs_scores(stage) else "")
            raise TrainingError(
                f"stage {stage.name!r}: source {name!r} has {count:,} examples with {wanted}, fewer than a batch of "
                f"{stage.batch_size}"
            )
        if stage.teacher is not None:
            found["label"] = list(range(len(rows), len(rows) + count))
            rows += chosen(stage, examples[name])
        parts[name] = Dataset.from_dict(found)
    return DatasetDict(parts), rows


def _arguments(
    recipe: Recipe,
    stage: Stage,
    folder: Path,
    judge: JudgedCollection | None,
    topics_of_rows: NDArray[np.int32] | None,
) -> MultiVectorEncoderTrainingArguments:
    lengths = {
        side: length
        for side, length in (("query", stage.query_length), ("document", stage.document_length))
        if length is not None
    }
    watched: dict[str, Any] = {"eval_strategy": "no"}
    if recipe.checkpointing:
        # transformers is giving it this name.
        known = MultiVectorEncoderTrainingArguments.__dataclass_fields__
        watched["activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"] = True
    every = stage.checkpoint_every
    if judge is not None and recipe.judge is not None:
        watched |= {"eval_strategy": "steps", "eval_steps": recipe.judge.every}
        if recipe.judge.patience:
            # The best model is one that was judged: checkpoints are taken where it is judged.
            every = recipe.judge.every
            watched |= {
                "load_best_model_at_end": True,
                "metric_for_best_model": METRIC,
                "greater_is_better": True,
                # How long nothing has risen: or a stage that was killed would go on for longer.
                "restore_callback_states_from_checkpoint": True,
            }
    heads = {_HEAD: stage.head_learning_rate} if stage.head_learning_rate is not None else {}
    # Processes take turns at the batches of one sampler.
    batches = stage.steps * int(os.environ.get("WORLD_SIZE", "1"))
    return MultiVectorEncoderTrainingArguments(
        output_dir=str(folder),
        seed=recipe.seed,
        data_seed=recipe.seed,
        full_determinism=False,
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size,
        learning_rate=stage.learning_rate,
        learning_rate_mapping=heads,
        weight_decay=stage.weight_decay,
        warmup_steps=round(stage.warmup * stage.steps),
        lr_scheduler_type="linear",
        max_length=lengths or None,
        bf16=_bfloat16(recipe),
        # Asked for where there is nothing else, or the trainer refuses bfloat16.
        use_cpu=not _accelerated(),
        batch_sampler=functools.partial(
            LengthGroupedBatches, apart=stage.objective == "contrastive", topics=topics_of_rows
        ),
        multi_dataset_batch_sampler=functools.partial(MixedSources, steps=batches, power=stage.mixing),
        save_strategy="steps",
        save_steps=every,
        save_total_limit=max(recipe.average.checkpoints, 1) + bool(watched.get("load_best_model_at_end")),
        logging_strategy="steps",
        # The trainer's figures are means since the last: of every step, a resumed run's are those of one left alone.
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=["tensorboard"] if find_spec("tensorboard") is not None else [],
        dataloader_pin_memory=False,
        **watched,
    )


def _bfloat16(recipe: Recipe) -> bool:
    if recipe.precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return recipe.precision == "bfloat16"


def _accelerated() -> bool:
    return torch.accelerator.is_available()


def _callbacks(recipe: Recipe, stage: Stage) -> list[TrainerCallback]:
    made: list[TrainerCallback] = [JsonlLog(recipe.output / "log.jsonl", stage.name)]
    if recipe.judge is not None and recipe.judge.patience:
        made.append(EarlyStoppingCallback(recipe.judge.patience))
    return made


def _checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a stage, oldest first; its trainer writes the state last."""
    found = [(int(path.name.rpartition("-")[2]), path) for path in folder.glob("checkpoint-*") if _whole(path)]
    return [path for _, path in sorted(found)]


def _whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / _STATE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return checkpoint.name.rpartition("-")[2].isdigit()


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; those that a kill left half written are swept."""
    whole = _checkpoints(folder)
    for path in folder.glob("checkpoint-*"):
        if path not in whole:
            shutil.rmtree(path)
    return whole[-1] if whole else None
