"""Averages of models: of one run's checkpoints, or of runs of the same recipe with other seeds."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from serotine.errors import TrainingError, missing_extra, reason
from serotine.files import replace_folder
from serotine.training.checkpoints import TRAINER_FILES

# Keys under which libraries record their versions.
_VERSION_KEYS = {"__version__", "transformers_version"}
# Weights in formats that are not averaged: copied from one model, they would not fit the others.
_OTHER_WEIGHTS = ("*.bin", "*.ckpt", "*.h5", "*.onnx", "*.pt", "*.pth")
_CARD = "README.md"
# Keys of tokenizer.json that say how the last batch was padded and cut, not what the model is.
_BATCH_KEYS = {"padding", "truncation"}


def average_models(
    folders: Sequence[str | Path], target: str | Path, *, weights: Sequence[float] | None = None
) -> list[float]:
    """Write the average of trained models, such as of runs that differ in their seed (Wortsman et al. 2022).

    Runs must have started from the same weights, which is not checked: the average of unrelated models is useless. A
    model card is not copied.

    Args:
        folders: at least two models in sentence-transformers' format, such as the folder `model` of each run.
        target: the new folder; must not exist.
        weights: one positive number per model; None: the same for all.

    Returns:
        Each model's share; they sum to 1.

    Raises:
        TrainingError: the models differ in tensors, settings or tokenizer, or a folder holds no whole model.
        FileExistsError: `target` exists.
        NotADirectoryError: `target` would be in a file.
        ValueError: fewer than two folders, one given twice, a target within one, or `weights` is not one positive
            number per model.

    >>> average_models(["seed-1/model", "seed-2/model"], "average")  # doctest: +SKIP
    [0.5, 0.5]
    """
    paths, target = [Path(folder) for folder in folders], Path(target)
    if len(paths) < 2:
        raise ValueError(f"folders: must be at least 2 models, got {len(paths)}; add one")
    if weights is None:
        weights = [1.0] * len(paths)
    if len(weights) != len(paths) or not all(weight > 0 for weight in weights) or not math.isfinite(sum(weights)):
        raise ValueError(f"weights: must be {len(paths)} positive numbers, one per model, got {list(weights)}")
    places = [path.resolve() for path in paths]
    for path, place in zip(paths, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"{path}: given twice; give every model once")
        if target.resolve().is_relative_to(place):
            raise ValueError(f"{target}: lies within {path}; give another folder")
    if os.path.lexists(target):
        raise FileExistsError(f"{target}: already exists; give a new folder")
    if files := [parent for parent in target.parents if parent.exists() and not parent.is_dir()]:
        raise NotADirectoryError(f"{files[0]}: is a file; give a folder")
    for path in paths:
        _check(path, paths[0])
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
        averaged = () if len(folders) == 1 else ("*.safetensors",)
        ignore = shutil.ignore_patterns(*averaged, *TRAINER_FILES, _CARD)
        shutil.copytree(folders[0], temporary, ignore=ignore, dirs_exist_ok=True)
        if len(folders) == 1:
            return
        for file in sorted(folders[0].rglob("*.safetensors")):
            name = file.relative_to(folders[0])
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            _average_file([folder / name for folder in folders], shares, temporary / name)


def _check(folder: Path, first: Path) -> None:
    """Raise TrainingError for a folder without a whole model, and for one that differs in more than its weights."""
    files = _files(folder)
    if not any(name.suffix == ".safetensors" for name in files):
        raise TrainingError(f"{folder}: holds no *.safetensors file; give the folder model/ of a run")
    if any(name.name == "adapter_config.json" for name in files):
        raise TrainingError(f"{folder}: holds adapters, not a whole model; give the folder model/ of the run")
    for name in files:
        if any(fnmatch(name.name, pattern) for pattern in _OTHER_WEIGHTS):
            raise TrainingError(f"{folder / name}: weights must be safetensors; save the model again")
    for name in sorted({*files, *_files(first)}):
        for has, lacks in ((folder, first), (first, folder)):
            if not (lacks / name).exists():
                raise TrainingError(
                    f"{lacks / name}: is missing, but {has} has it; average models of the same settings"
                )
        if name.suffix != ".safetensors" and _content(folder / name) != _content(first / name):
            raise TrainingError(f"{folder / name}: differs from that of {first}; average models of the same settings")


def _files(folder: Path) -> list[Path]:
    """Return the paths of a model's files within its folder, without its card and what a trainer resumes from."""
    left_out = (*TRAINER_FILES, _CARD)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [name for name in names if not any(fnmatch(name.name, pattern) for pattern in left_out)]


def _content(file: Path) -> Any:
    try:
        data = file.read_bytes()
        values = json.loads(data) if file.suffix == ".json" else data
    except (OSError, ValueError) as error:
        raise TrainingError(f"{file}: cannot be read ({reason(error)})") from None
    ignored = _VERSION_KEYS | _BATCH_KEYS if file.name == "tokenizer.json" else _VERSION_KEYS
    return {key: value for key, value in values.items() if key not in ignored} if isinstance(values, dict) else values


def _average_file(files: list[Path], shares: list[float], target: Path) -> None:
    try:
        import torch
    except ImportError:
        raise TrainingError(missing_extra("an average of models", "train")) from None
    from safetensors.torch import save_file

    averaged: dict[str, Any] = {}
    opened = [_opened(file) for file in files]
    for file, tensors in zip(files, opened, strict=True):
        if set(tensors.keys()) != set(opened[0].keys()):
            raise _other_architecture(file, files[0])
    for name in opened[0].keys():  # noqa: SIM118 - it has no iterator
        values = [tensors.get_tensor(name) for tensors in opened]
        for file, value in zip(files, values, strict=True):
            if value.shape != values[0].shape or value.dtype != values[0].dtype:
                raise _other_architecture(file, files[0])
            if not value.is_floating_point() and not torch.equal(value, values[0]):
                raise TrainingError(f"{file}: the integers {name!r} differ from those of {files[0]}")
        if values[0].is_floating_point():
            total = sum(value.to(torch.float64) * share for value, share in zip(values, shares, strict=True))
            averaged[name] = torch.as_tensor(total).to(values[0].dtype).contiguous()
        else:
            averaged[name] = values[0]
    save_file(averaged, target, metadata={"format": "pt"})


def _opened(file: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(file, framework="pt")
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{file}: cannot be read ({reason(error)})") from None


def _other_architecture(file: Path, first: Path) -> TrainingError:
    return TrainingError(f"{file}: tensors differ from those of {first}; average models of one architecture")
