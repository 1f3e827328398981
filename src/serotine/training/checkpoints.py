"""Checkpoints: saving and loading models, the checkpoints of a stage, averages of weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serotine.errors import TrainingError, reason
from serotine.files import replace_folder

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

# The trainer writes it last: a checkpoint that has it is complete.
_STATE = "trainer_state.json"
# The trainer's files beside a model, from which it resumes.
_TRAINER_FILES = ("*.pt", "*.pth", _STATE, "training_args.bin")


def save(model: MultiVectorEncoder, folder: Path) -> None:
    """Save a model in sentence-transformers' format as safetensors; atomically if the folder does not exist."""
    if folder.is_dir():
        model.save_pretrained(str(folder), create_model_card=False)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder(folder) as temporary:
        model.save_pretrained(str(temporary), create_model_card=False)


def load(folder: Path) -> MultiVectorEncoder:
    """Load a model that `save` wrote."""
    from sentence_transformers import MultiVectorEncoder

    return MultiVectorEncoder(str(folder), local_files_only=True)


def complete(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a stage, oldest first."""
    return sorted((path for path in folder.glob("checkpoint-*") if _is_complete(path)), key=step)


def step(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def newest(folder: Path) -> Path | None:
    """Return the newest complete checkpoint of a stage, if any, and delete those that a killed run left incomplete."""
    checkpoints = complete(folder)
    for path in folder.glob("checkpoint-*"):
        if path not in checkpoints:
            shutil.rmtree(path)
    return checkpoints[-1] if checkpoints else None


def average(folders: list[Path], weights: list[float], target: Path) -> None:
    """Write the weighted average of models that differ only in their weights.

    Sums are float64 and rounded once. Files other than safetensors are copied from the first model.

    Args:
        folders: models in sentence-transformers' format.
        weights: one per model; scaled to sum to 1.
        target: the folder to write; replaced if it exists.

    Raises:
        TrainingError: the models do not have the same tensors, or one cannot be read.
    """
    shares = [weight / sum(weights) for weight in weights]
    target.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder(target) as temporary:
        # One model is its own average.
        weights_too = () if len(folders) == 1 else ("*.safetensors",)
        ignore = shutil.ignore_patterns(*weights_too, *_TRAINER_FILES)
        shutil.copytree(folders[0], temporary, ignore=ignore, dirs_exist_ok=True)
        if len(folders) == 1:
            return
        for file in sorted(folders[0].rglob("*.safetensors")):
            name = file.relative_to(folders[0])
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            _average_file([folder / name for folder in folders], shares, temporary / name)


def _average_file(files: list[Path], shares: list[float], target: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    sums: dict[str, Any] = {}
    dtypes: dict[str, Any] = {}
    for file, share in zip(files, shares, strict=True):
        try:
            tensors = load_file(file)
        except (OSError, SafetensorError) as error:
            raise TrainingError(f"{file}: cannot be read ({reason(error)})") from None
        if sums and (tensors.keys() != sums.keys() or any(tensors[key].shape != sums[key].shape for key in tensors)):
            raise TrainingError(f"{file}: tensors differ from those of {files[0]}; average models of one architecture")
        for key, tensor in tensors.items():
            dtypes[key] = tensor.dtype
            sums[key] = sums.get(key, 0) + tensor.to(torch.float64) * share
    averaged = {key: tensor.to(dtypes[key]).contiguous() for key, tensor in sums.items()}
    save_file(averaged, target, metadata={"format": "pt"})


def _is_complete(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / _STATE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return checkpoint.name.rpartition("-")[2].isdigit()
