"""One stage of training, on sentence-transformers' trainer."""

from __future__ import annotations

import functools
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import (
    MultiVectorEncoder,
    MultiVectorEncoderTrainer,
    MultiVectorEncoderTrainingArguments,
)
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from serotine.encoders import locate
from serotine.errors import TrainingError
from serotine.files import write_atomically
from serotine.training import checkpoints
from serotine.training.batches import LengthGroupedBatches, MixedSources
from serotine.training.callbacks import JsonlLogger, ProgressDisplay
from serotine.training.dataset import LabeledExamples, build_dataset
from serotine.training.distributed import main_process_first, world_size
from serotine.training.evaluator import METRIC
from serotine.training.examples import Example
from serotine.training.losses import build_loss
from serotine.training.precision import in_bfloat16
from serotine.training.recipe import Recipe, Stage
from serotine.training.teacher_vectors import TeacherVectors, teacher_vectors
from serotine.training.teachers import load_encoder
from serotine.training.topics import assign_topics

if TYPE_CHECKING:
    from serotine.training.adapters import Adapters
    from serotine.training.evaluator import NdcgEvaluator

# Parameters of the projection head.
_HEAD = r"\d+\.(linear|residual)\."


class _Trainer(MultiVectorEncoderTrainer):
    """sentence-transformers' trainer without model cards in checkpoints, which hold adapters alone if there are any."""

    adapters: Adapters | None = None

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add no callback."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if output_dir is None:
            return
        if self.adapters is None:
            checkpoints.save(self.model, Path(output_dir))
        else:
            self.adapters.save(Path(output_dir))

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        if self.adapters is None:
            super()._load_from_checkpoint(checkpoint_path)
        else:
            self.adapters.load(Path(checkpoint_path))


def run_stage(
    recipe: Recipe,
    stage: Stage,
    initial: Path,
    folder: Path,
    examples: dict[str, list[Example]],
    evaluator: NdcgEvaluator | None,
    *,
    show_progress: bool,
) -> int:
    """Run a stage, or resume it from its newest checkpoint; a finished stage is left unchanged.

    Args:
        recipe: the recipe of the whole run.
        stage: the stage to run.
        initial: folder of the model to start from.
        folder: the stage's own; its result is `model` in it.
        examples: by source, cleaned.
        evaluator: evaluates the model during training, if given.
        show_progress: draw a bar on standard error.

    Returns:
        The number of steps taken.

    Raises:
        TrainingError: a source has too few usable examples for this stage, or the adapters of the newest checkpoint do
            not belong to the model.
    """
    result = folder / "model"
    if not result.is_dir():
        with main_process_first():
            resumed = checkpoints.newest(folder)
        model = checkpoints.load(initial)
        if recipe.dropout is not None:
            _set_dropout(model, recipe.dropout)
        if recipe.freeze_embeddings:
            transformer: Any = model[0]
            transformer.auto_model.get_input_embeddings().requires_grad_(False)
        adapters = None
        if recipe.lora is not None:
            from serotine.training.adapters import Adapters

            adapters = Adapters(model, recipe.lora, initial, recipe.seed)
        dataset, labeled = build_dataset(stage, examples)
        teachers = _load_teachers(recipe, stage, folder)
        display = ProgressDisplay(stage.name)
        trainer = _Trainer(
            model=model,
            args=_training_arguments(recipe, stage, folder, _topics(recipe, stage, labeled, model)),
            train_dataset=dataset,
            loss=build_loss(stage, model, labeled, teachers),
            evaluator=evaluator,
            callbacks=_callbacks(recipe, stage) + ([display] if show_progress else []),
        )
        trainer.adapters = adapters
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
        finally:
            display.close()
        if adapters is not None:
            adapters.merge()
        if trainer.is_world_process_zero():
            write_atomically(folder / "steps.json", json.dumps({"steps": trainer.state.global_step}))
            # Last: the model's folder marks the stage as finished.
            checkpoints.save(model, result)
        trainer.accelerator.wait_for_everyone()
    steps: int = json.loads((folder / "steps.json").read_text("utf-8"))["steps"]
    return steps


def validate_stages(recipe: Recipe, initial: Path) -> None:
    """Check every stage against the model before the first one runs.

    Raises:
        TrainingError: a stage does not fit the model.
        EncoderError: a teacher does not exist.
    """
    model = checkpoints.load(initial)
    if recipe.lora is not None:
        from serotine.training.adapters import target_modules

        transformer: Any = model[0]
        target_modules(transformer.auto_model, recipe.lora.target_modules)
    for stage in recipe.stages:
        for key in ("query_length", "document_length"):
            length, limit = getattr(stage, key), getattr(model[0], key, None)
            if length is not None and limit is not None and length > limit:
                raise TrainingError(
                    f"stage {stage.name!r}: {key}: must be at most the model's {limit:,}, got {length:,}"
                )
        has_head = any(re.search(_HEAD, name) for name, _ in model.named_parameters())
        if stage.head_learning_rate is not None and not has_head:
            raise TrainingError(f"stage {stage.name!r}: head_learning_rate: the model has no head; remove the key")
        for dim in stage.matryoshka_dims:
            if not 1 <= dim < (whole := model.get_embedding_dimension() or 0):
                raise TrainingError(
                    f"stage {stage.name!r}: matryoshka_dims: must be between 1 and {whole - 1:,}, below the model's "
                    f"dimension, got {dim:,}"
                )
        with main_process_first():
            for teacher in stage.teachers:
                locate(teacher.encoder)


def _set_dropout(model: MultiVectorEncoder, rate: float) -> None:
    """Set the dropout of the modules only; the saved configuration keeps the backbone's own."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        # Attention without a dropout module (Qwen3).
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = rate  # type: ignore[assignment]


def _load_teachers(recipe: Recipe, stage: Stage, folder: Path) -> list[TeacherVectors]:
    cache, bfloat16 = folder / "teacher", in_bfloat16(recipe)
    teachers = []
    for share in stage.teachers:
        encoder = load_encoder(share.encoder, num_threads=recipe.threads)
        queries, documents = (
            teacher_vectors(encoder, cache, query=query, bfloat16=bfloat16) for query in (True, False)
        )
        teachers.append(TeacherVectors(queries, documents, share.weight))
    return teachers


def _topics(
    recipe: Recipe, stage: Stage, examples: LabeledExamples, model: MultiVectorEncoder
) -> NDArray[np.int32] | None:
    """Return the topic of every label: sources with the same first teacher share their topics."""
    if not stage.topics:
        return None
    count = sum(map(len, examples.values()))
    if count < stage.topics * stage.batch_size:
        raise TrainingError(
            f"stage {stage.name!r}: topics: {count:,} examples are too few for {stage.topics:,} topics "
            f"with a batch of {stage.batch_size} each; lower topics"
        )
    transformer: Any = model[0]
    embeddings = transformer.auto_model.get_input_embeddings().weight.detach().float().cpu().numpy()
    topics = np.zeros(count, dtype=np.int32)
    first = {
        source: next(number for number, share in enumerate(stage.teachers) if share.scores(source))
        for source in examples
    }
    for number in sorted(set(first.values())):
        labeled = {
            label: example
            for source, of_source in examples.items()
            if first[source] == number
            for label, example in of_source.items()
        }
        topics_here = max(1, round(stage.topics * len(labeled) / count))
        topics[list(labeled)] = assign_topics(
            list(labeled.values()), model.tokenizer, embeddings, topics_here, recipe.seed
        )
    return topics


def _training_arguments(
    recipe: Recipe, stage: Stage, folder: Path, topics: NDArray[np.int32] | None
) -> MultiVectorEncoderTrainingArguments:
    lengths = {
        side: length
        for side, length in (("query", stage.query_length), ("document", stage.document_length))
        if length is not None
    }
    head_rate = {_HEAD: stage.head_learning_rate} if stage.head_learning_rate is not None else {}
    return MultiVectorEncoderTrainingArguments(
        output_dir=str(folder),
        seed=recipe.seed,
        data_seed=recipe.seed,
        full_determinism=False,
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size,
        learning_rate=stage.learning_rate,
        learning_rate_mapping=head_rate,
        weight_decay=stage.weight_decay,
        warmup_steps=round(stage.warmup_ratio * stage.steps),
        lr_scheduler_type="linear",
        max_length=lengths or None,
        bf16=in_bfloat16(recipe),
        # Required on a CPU, or the trainer refuses bfloat16.
        use_cpu=not torch.accelerator.is_available(),
        batch_sampler=functools.partial(
            LengthGroupedBatches, unique_texts=stage.objective == "contrastive", topics=topics
        ),
        # Processes take turns at the batches of one sampler.
        multi_dataset_batch_sampler=functools.partial(
            MixedSources,
            steps=stage.steps * world_size(),
            exponent=stage.sampling_exponent,
            weights=[source.weight for name in stage.sources for source in recipe.sources if source.name == name],
        ),
        logging_strategy="steps",
        # The trainer logs means since its last log: at every step, a resumed run logs what an uninterrupted one does.
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=["tensorboard"] if find_spec("tensorboard") is not None else [],
        dataloader_pin_memory=False,
        **_checkpointing_arguments(recipe, stage),
    )


def _checkpointing_arguments(recipe: Recipe, stage: Stage) -> dict[str, Any]:
    """Return the arguments about evaluation, checkpoints and the memory of activations."""
    evaluation = recipe.evaluation
    stops_early = evaluation is not None and evaluation.patience > 0
    arguments: dict[str, Any] = {
        "eval_strategy": "no",
        "save_strategy": "steps",
        "save_steps": stage.checkpoint_every,
        "save_total_limit": recipe.averaging.checkpoints + stops_early,
    }
    if evaluation is not None:
        arguments |= {"eval_strategy": "steps", "eval_steps": evaluation.every}
        if stops_early:
            arguments |= {
                # The best model is one that was evaluated: a checkpoint is saved at every evaluation.
                "save_steps": evaluation.every,
                "load_best_model_at_end": True,
                "metric_for_best_model": METRIC,
                "greater_is_better": True,
                # The count of evaluations without an improvement survives a kill.
                "restore_callback_states_from_checkpoint": True,
            }
    if recipe.gradient_checkpointing:
        # Newer releases of transformers rename the argument.
        names = MultiVectorEncoderTrainingArguments.__dataclass_fields__
        arguments["activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"] = (
            True
        )
    return arguments


def _callbacks(recipe: Recipe, stage: Stage) -> list[TrainerCallback]:
    callbacks: list[TrainerCallback] = [JsonlLogger(recipe.output / "log.jsonl", stage.name)]
    if recipe.evaluation is not None and recipe.evaluation.patience:
        callbacks.append(EarlyStoppingCallback(recipe.evaluation.patience))
    return callbacks
