"""Means of weights, tensor by tensor, over whole model folders."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from serotine.errors import TrainingError


def average(folders: list[Path], weights: list[float], target: Path) -> None:
    """Writes the weighted mean of models that differ in their weights only.

    Sums are taken in float64 and rounded once. Everything that is no safetensors file is the first model's.

    Args:
        folders: models, as sentence-transformers saves them.
        weights: one a model; scaled to sum to 1.
        target: the folder to write; replaced where it is there.

    Raises:
        TrainingError: the models do not have the same tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    shares = [weight / sum(weights) for weight in weights]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as place:
        made = Path(place) / "made"
        made.mkdir()
        _copy_settings(folders[0], made)
        for file in sorted(folders[0].rglob("*.safetensors")):
            inside = file.relative_to(folders[0])
            total: dict[str, Any] = {}
            kinds: dict[str, Any] = {}
            for folder, share in zip(folders, shares, strict=True):
                try:
                    tensors = load_file(folder / inside)
                except (OSError, SafetensorError) as error:
                    raise TrainingError(f"{folder / inside}: cannot be averaged ({error})") from None
                if total and (
                    tensors.keys() != total.keys() or any(tensors[key].shape != total[key].shape for key in tensors)
                ):
                    raise TrainingError(f"{folder / inside}: has other tensors than {folders[0] / inside}")
                for key, tensor in tensors.items():
                    kinds[key] = tensor.dtype
                    total[key] = total.get(key, 0) + tensor.to(torch.float64) * share
            result = {key: tensor.to(kinds[key]).contiguous() for key, tensor in total.items()}
            (made / inside).parent.mkdir(parents=True, exist_ok=True)
            save_file(result, made / inside, metadata={"format": "pt"})
        if target.exists():
            shutil.rmtree(target)
        made.replace(target)


# What the trainer keeps beside a model to go on from it.
_TRAINER_FILES = ("*.pt", "*.pth", "trainer_state.json", "training_args.bin")


def _copy_settings(source: Path, target: Path) -> None:
    ignore = shutil.ignore_patterns("*.safetensors", *_TRAINER_FILES)
    shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
