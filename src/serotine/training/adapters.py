"""Low-rank adapters of a backbone, with PEFT: added, stored in checkpoints, and merged into the weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from serotine.errors import TrainingError, reason
from serotine.files import sha256
from serotine.training import checkpoints
from serotine.training.recipe import Lora

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

_ADAPTERS, _HEAD = "adapter_model.safetensors", "head.safetensors"
# In the metadata of the adapters: which weights they belong to.
_BACKBONE = "backbone"


class Adapters:
    """The adapters of a model in training; they alone and its head learn.

    Args:
        model: gets the adapters.
        settings: what the recipe says of them.
        folder: the model's, whose weights the adapters belong to.
        seed: of their initial values.

    Raises:
        TrainingError: a target module is not a linear layer of the backbone.
    """

    def __init__(self, model: MultiVectorEncoder, settings: Lora, folder: Path, seed: int) -> None:
        transformer: Any = model[0]
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=target_modules(transformer.auto_model, settings.target_modules),
        )
        torch.manual_seed(seed)
        self._model = model
        self._folder = folder
        self._backbone = hashlib.sha256("".join(map(sha256, sorted(folder.glob("*.safetensors")))).encode()).hexdigest()
        self._config = config
        self._adapted = get_peft_model(transformer.auto_model, config)

    def save(self, folder: Path) -> None:
        """Write the adapters in PEFT's format, and the head beside them."""
        folder.mkdir(parents=True, exist_ok=True)
        self._config.save_pretrained(str(folder))
        adapters = {name: tensor.contiguous() for name, tensor in self._adapters().items()}
        save_file(adapters, folder / _ADAPTERS, metadata={"format": "pt", _BACKBONE: self._backbone})
        save_file(self._head(), folder / _HEAD, metadata={"format": "pt"})

    def load(self, folder: Path) -> None:
        """Read the adapters and the head that `save` wrote.

        Raises:
            TrainingError: they belong to another backbone, or are of another rank or of other layers.
        """
        file = folder / _ADAPTERS
        try:
            with safe_open(file, framework="pt") as opened:
                backbone = (opened.metadata() or {}).get(_BACKBONE)
            adapters, head = load_file(file), load_file(folder / _HEAD)
        except (OSError, SafetensorError) as error:
            raise TrainingError(f"{folder}: its adapters cannot be read ({reason(error)})") from None
        fix = f"delete {folder.parent} to start the stage over"
        if backbone != self._backbone:
            raise TrainingError(f"{file}: adapters of another backbone than that in {self._folder}; {fix}")
        for stored, expected, path in ((adapters, self._adapters(), file), (head, self._head(), folder / _HEAD)):
            if _shapes(stored) != _shapes(expected):
                raise TrainingError(f"{path}: tensors of another rank, or of other layers, than the recipe's; {fix}")
        set_peft_model_state_dict(self._adapted, adapters)
        self._model.load_state_dict(head, strict=False)

    def merge(self) -> None:
        """Add the adapters to the backbone's weights, and remove them."""
        self._adapted.merge_and_unload()

    def _adapters(self) -> dict[str, torch.Tensor]:
        states: dict[str, torch.Tensor] = get_peft_model_state_dict(self._adapted)
        return states

    def _head(self) -> dict[str, torch.Tensor]:
        """Return the weights of the modules after the transformer."""
        return {name: tensor for name, tensor in self._model.state_dict().items() if not name.startswith("0.")}


def target_modules(backbone: torch.nn.Module, names: tuple[str, ...] | None) -> list[str]:
    """Return the full names of the linear layers that get adapters.

    Args:
        backbone: the transformers model.
        names: the last parts of their names; None: all but the pooler's, which is not used.

    Raises:
        TrainingError: a name is of no linear layer.
    """
    linear = [name for name, module in backbone.named_modules() if isinstance(module, torch.nn.Linear)]
    if names is None:
        return [name for name in linear if "pooler" not in name.split(".")]
    for name in names:
        if not any(_ends_with(layer, name) for layer in linear):
            known = ", ".join(sorted({layer.rpartition(".")[2] for layer in linear}))
            raise TrainingError(
                f"lora.target_modules: {name!r} is not a linear layer of the backbone; valid names: {known}"
            )
    return [layer for layer in linear if any(_ends_with(layer, name) for name in names)]


def merge_checkpoint(checkpoint: Path, settings: Lora, folder: Path, target: Path) -> None:
    """Write the model of a checkpoint of adapters.

    Args:
        checkpoint: its folder.
        settings: what the recipe says of the adapters.
        folder: of the model that they were added to.
        target: the folder to write.

    Raises:
        TrainingError: as `Adapters.load`.
    """
    model = checkpoints.load(folder)
    adapters = Adapters(model, settings, folder, seed=0)
    adapters.load(checkpoint)
    adapters.merge()
    checkpoints.save(model, target)


def _ends_with(layer: str, name: str) -> bool:
    return f".{layer}".endswith(f".{name}")


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
