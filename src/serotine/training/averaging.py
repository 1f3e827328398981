"""Averages of models: of one run's checkpoints, or of runs of the same recipe with other seeds."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serotine.errors import TrainingError, missing_extra, reason
from serotine.files import replace_folder
from serotine.training.checkpoints import TRAINER_FILES

# What libraries write of themselves into a model's settings.
_WRITERS = {"__version__", "transformers_version"}


def average_models(
    folders: Sequence[str | Path], target: str | Path, *, weights: Sequence[float] | None = None
) -> list[float]:
    """Write the average of trained models, such as of runs that differ in their seed (Wortsman et al. 2022).

    Runs must have started from the same weights; an average of unrelated models ranks nothing.

    Args:
        folders: at least two models in sentence-transformers' format, such as the folder `model` of each run.
        target: the new folder; must not exist.
        weights: one positive number per model; None: the same for all.

    Returns:
        Each model's share; they sum to 1.

    Raises:
        TrainingError: models of other tensors, settings or tokenizers, or a folder without a model.
        FileExistsError: `target` exists.
        ValueError: fewer than two folders, or other weights than one positive number per model.

    >>> average_models(["seed-1/model", "seed-2/model"], "average")  # doctest: +SKIP
    [0.5, 0.5]
    """
    paths, target = [Path(folder) for folder in folders], Path(target)
    if len(paths) < 2:
        raise ValueError(f"an average needs at least 2 models, got {len(paths)}")
    if weights is None:
        weights = [1.0] * len(paths)
    if len(weights) != len(paths) or not all(weight > 0 and math.isfinite(weight) for weight in weights):
        raise ValueError(f"weights: must be {len(paths)} positive numbers, one per model, got {list(weights)}")
    if target.exists():
        raise FileExistsError(f"{target}: already exists; give a new folder")
    for path in paths:
        if not any(path.rglob("*.safetensors")):
            raise TrainingError(f"{path}: has no model; give the folder `model` of a run")
        _check_settings(path, paths[0])
    average(paths, list(weights), target)
    return [weight / sum(weights) for weight in weights]


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
        ignore = shutil.ignore_patterns(*weights_too, *TRAINER_FILES)
        shutil.copytree(folders[0], temporary, ignore=ignore, dirs_exist_ok=True)
        if len(folders) == 1:
            return
        for file in sorted(folders[0].rglob("*.safetensors")):
            name = file.relative_to(folders[0])
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            _average_file([folder / name for folder in folders], shares, temporary / name)


def _check_settings(folder: Path, first: Path) -> None:
    """Refuse a model whose settings or tokenizer are not those of the first: weights alone would be averaged."""
    files = {path.relative_to(model) for model in (folder, first) for path in model.rglob("*.json")}
    for name in sorted(file for file in files if file.name not in TRAINER_FILES):
        if _settings(folder / name) != _settings(first / name):
            raise TrainingError(f"{folder / name}: differs from that of {first}; average models of the same settings")


def _settings(file: Path) -> Any:
    try:
        values = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise TrainingError(f"{file}: cannot be read ({reason(error)})") from None
    return {key: value for key, value in values.items() if key not in _WRITERS} if isinstance(values, dict) else values


def _average_file(files: list[Path], shares: list[float], target: Path) -> None:
    try:
        import torch
    except ImportError:
        raise TrainingError(missing_extra("an average of models", "train")) from None
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
