"""The native model file: 8-bit weights as safetensors; the word vectors are mapped into memory, not read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from serotine.encoders.bert_names import MATRICES, NORMS
from serotine.encoders.native.bert import BertLayer, BertWeights, Matrix, Norm
from serotine.encoders.projection import Layer
from serotine.encoders.weights import tensor_locations
from serotine.errors import EncoderError, reason

NATIVE_SUFFIX = ".safetensors"
_FORMAT = "serotine-bert-1"
_WORDS = "words.levels"
_SETTINGS = ("heads", "epsilon", "tanh", "first_position", "activations")


def write_weights(file: Path, weights: BertWeights) -> None:
    """Write a native model file. Projections are stored in float16, everything else as it is."""
    tensors: dict[str, NDArray[Any]] = {
        _WORDS: weights.words,
        "words.scales": weights.word_scales,
        "positions": weights.positions,
        "norm.gain": weights.norm.gain,
        "norm.bias": weights.norm.bias,
    }
    for number, layer in enumerate(weights.layers):
        for name, matrix in zip(MATRICES, layer.matrices, strict=True):
            prefix = f"layers.{number}.{name}"
            tensors |= {
                f"{prefix}.levels": matrix.levels,
                f"{prefix}.scales": matrix.scales,
                f"{prefix}.bias": matrix.bias,
            }
        for name, norm in zip(NORMS, layer.norms, strict=True):
            tensors |= {f"layers.{number}.{name}.gain": norm.gain, f"layers.{number}.{name}.bias": norm.bias}
    for number, (weight, bias, residual) in enumerate(weights.projections):
        tensors[f"projections.{number}.weight"] = weight.astype(np.float16)
        if bias is not None:
            tensors[f"projections.{number}.bias"] = bias
        if residual is not None:
            tensors[f"projections.{number}.residual"] = residual.astype(np.float16)
    settings = {name: getattr(weights, name) for name in _SETTINGS}
    save_file(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        file,
        metadata={"format": _FORMAT, "settings": json.dumps(settings)},
    )


def read_weights(file: Path) -> BertWeights:
    """Load a native model file; the word vectors stay in the file, mapped into memory.

    Raises:
        EncoderError: the file is damaged, of another format, or has values that are not finite.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise EncoderError(
                    f"{file}: format must be {_FORMAT!r}, got {metadata.get('format')!r}; it needs another release"
                )
            names = set(opened.keys()) - {_WORDS}
            tensors = _Tensors(file, {name: opened.get_tensor(name) for name in names})
        settings = json.loads(metadata["settings"])
        shape, start = tensor_locations(file)[_WORDS]
        words: NDArray[np.int8] = np.memmap(file, dtype=np.int8, mode="r", offset=start, shape=shape)
        return BertWeights(
            words=words,
            word_scales=tensors.floats("words.scales"),
            positions=tensors.floats("positions"),
            norm=tensors.norm("norm"),
            layers=[tensors.layer(number) for number in range(tensors.count("layers"))],
            projections=[tensors.projection(number) for number in range(tensors.count("projections"))],
            **{name: settings[name] for name in _SETTINGS},
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise EncoderError(f"{file}: not a complete native model file ({reason(error)}); install it again") from None


class _Tensors:
    """The tensors of a file, checked to be finite when they are taken."""

    def __init__(self, file: Path, values: dict[str, NDArray[Any]]) -> None:
        self._file = file
        self._values = values

    def count(self, group: str) -> int:
        numbers = {int(name.split(".")[1]) for name in self._values if name.startswith(f"{group}.")}
        return max(numbers, default=-1) + 1

    def floats(self, name: str) -> NDArray[np.float32]:
        values = np.asarray(self._values[name], dtype=np.float32)
        if not np.isfinite(values).all():
            raise EncoderError(f"{self._file}: tensor {name!r} has values that are not finite; install it again")
        return values

    def optional(self, name: str) -> NDArray[np.float32] | None:
        return self.floats(name) if name in self._values else None

    def norm(self, name: str) -> Norm:
        return Norm(self.floats(f"{name}.gain"), self.floats(f"{name}.bias"))

    def matrix(self, name: str) -> Matrix:
        return Matrix(self._values[f"{name}.levels"], self.floats(f"{name}.scales"), self.floats(f"{name}.bias"))

    def layer(self, number: int) -> BertLayer:
        prefix = f"layers.{number}."
        return BertLayer(
            tuple(self.matrix(prefix + name) for name in MATRICES), tuple(self.norm(prefix + name) for name in NORMS)
        )

    def projection(self, number: int) -> Layer:
        prefix = f"projections.{number}."
        return self.floats(f"{prefix}weight"), self.optional(f"{prefix}bias"), self.optional(f"{prefix}residual")
