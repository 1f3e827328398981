"""The native model file: safetensors with the weights as the core computes with them, mapped into memory.

Processes that load one file share its memory: the matrices are stored in the core's panels and aligned to its loads.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError, safe_open

from serotine.encoders.native.architecture import PANEL, Architecture
from serotine.encoders.native.weights import QUAD, Matrix, Norm, TransformerLayer, TransformerWeights, Words
from serotine.encoders.projection import Layer
from serotine.encoders.weights import dimensions, tensor_locations
from serotine.errors import EncoderError, reason
from serotine.wording import local_fix

NATIVE_SUFFIX = ".safetensors"
_FORMAT = "serotine-transformer-1"
# BERT only, with settings of its own and the tensor names of today; still read.
_BERT_FORMAT = "serotine-bert-1"
# What the core's loads are aligned to.
_ALIGNMENT = 64
_NORMS = ("attention_norm", "feed_norm")
_GAINS = ("query_gain", "key_gain")
_DTYPES = {"I8": np.int8, "U8": np.uint8, "F16": np.float16, "F32": np.float32}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


def write_weights(file: Path, weights: TransformerWeights) -> None:
    """Write a native model file. Projections are stored in float16, everything else as it is."""
    tensors: dict[str, NDArray[Any] | None] = {
        "words.levels": weights.words.levels,
        "words.scales": weights.words.scales,
        "positions": weights.positions,
        **_norm_tensors("norm", weights.embedding_norm),
        **_norm_tensors("final_norm", weights.final_norm),
    }
    for number, layer in enumerate(weights.layers):
        for name in weights.architecture.matrices:
            prefix, matrix = f"layers.{number}.{name}", getattr(layer, name)
            tensors |= {
                f"{prefix}.panels": matrix.panels,
                f"{prefix}.scales": matrix.scales,
                f"{prefix}.bias": matrix.bias,
            }
        for name in _NORMS:
            tensors |= _norm_tensors(f"layers.{number}.{name}", getattr(layer, name))
        tensors |= {f"layers.{number}.{name}": getattr(layer, name) for name in _GAINS}
    for number, (weight, bias, residual) in enumerate(weights.projections):
        tensors[f"projections.{number}.weight"] = weight.astype(np.float16)
        tensors[f"projections.{number}.bias"] = bias
        tensors[f"projections.{number}.residual"] = None if residual is None else residual.astype(np.float16)
    settings = asdict(weights.architecture) | {"activations": weights.activations}
    present = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    _write(file, present, {"format": _FORMAT, "settings": json.dumps(settings)})


def _norm_tensors(name: str, norm: Norm | None) -> dict[str, NDArray[Any] | None]:
    return {} if norm is None else {f"{name}.gain": norm.gain, f"{name}.bias": norm.bias}


def _write(file: Path, tensors: Mapping[str, NDArray[Any]], metadata: dict[str, str]) -> None:
    """Write safetensors with aligned data, which `safetensors.save_file` does not promise."""
    # Whole cache lines first; then by size of number, so that each is aligned to itself.
    ordered = sorted(tensors.items(), key=lambda item: (item[1].nbytes % _ALIGNMENT > 0, -item[1].itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    # The format allows spaces after the header.
    text = text.ljust(math.ceil((8 + len(text)) / _ALIGNMENT) * _ALIGNMENT - 8)
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in ordered:
            opened.write(np.ascontiguousarray(tensor).tobytes())


def read_weights(file: Path) -> TransformerWeights:
    """Load a native model file; its tensors stay in the file, mapped into memory.

    Raises:
        EncoderError: the file is damaged or of another format, or a tensor is missing, of the wrong shape or not
            finite; the message names it.
    """
    try:
        # The library checks that the tensors fill the file.
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("format") not in (_FORMAT, _BERT_FORMAT):
                fix = local_fix("export the model again with `serotine model export --native`")
                raise EncoderError(f"{file}: format must be {_FORMAT!r}, got {metadata.get('format')!r}; {fix}")
            names = list(opened.keys())
            dtypes = {name: _DTYPES[opened.get_slice(name).get_dtype()] for name in names}
        settings = json.loads(metadata["settings"])
        content = np.memmap(file, dtype=np.uint8, mode="r")
        tensors = _Tensors(file)
        for name, (shape, start) in tensor_locations(file).items():
            dtype = np.dtype(dtypes[name])
            end = start + math.prod(shape) * dtype.itemsize
            tensors.values[name] = content[start:end].view(dtype).reshape(shape)
        if metadata["format"] == _BERT_FORMAT:
            return tensors.weights(_bert(settings, tensors.values["positions"].shape), settings["activations"])
        activations = settings.pop("activations")
        settings["local_layers"] = tuple(settings["local_layers"])
        return tensors.weights(Architecture(**settings), activations)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise EncoderError(f"{file}: not a complete native model file ({reason(error)}); install it again") from None


class _Tensors:
    """The tensors of a file, checked when they are taken."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.values: dict[str, NDArray[Any]] = {}

    def weights(self, architecture: Architecture, activations: list[str]) -> TransformerWeights:
        hidden = architecture.hidden
        positions = None
        if architecture.theta is None:
            rows = architecture.first_position + architecture.longest
            positions = self._take("positions", np.float32, (rows, hidden))
        return TransformerWeights(
            architecture=architecture,
            words=self._words(hidden),
            positions=positions,
            embedding_norm=self._norm("norm", architecture) if architecture.embedding_norm else None,
            final_norm=self._norm("final_norm", architecture) if architecture.pre_norm else None,
            layers=[self._layer(i, architecture) for i in range(len(architecture.local_layers))],
            projections=[self._projection(i) for i in range(len(activations))],
            activations=activations,
        )

    def _take(self, name: str, dtype: DTypeLike, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
        if name not in self.values:
            raise EncoderError(f"{self._file}: tensor {name!r} is missing; install the model again")
        values = self.values[name]
        if values.dtype != dtype or (shape is not None and values.shape != shape):
            expected = f"{np.dtype(dtype)} {dimensions(shape or values.shape)}"
            raise EncoderError(
                f"{self._file}: tensor {name!r} must be {expected}, got {values.dtype} {dimensions(values.shape)}; "
                "install the model again"
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise EncoderError(f"{self._file}: tensor {name!r} has values that are not finite; install the model again")
        return values

    def _words(self, hidden: int) -> Words:
        stored = self.values.get("words.levels")
        if stored is not None and stored.dtype == np.uint8:
            levels = self._take("words.levels", np.uint8, (len(stored), hidden // 2))
            return Words(levels, self._take("words.scales", np.float16, (len(stored), hidden // PANEL)))
        rows = 0 if stored is None else len(stored)
        levels = self._take("words.levels", np.int8, (rows, hidden))
        return Words(levels, self._take("words.scales", np.float32, (rows,)))

    def _norm(self, name: str, architecture: Architecture) -> Norm:
        shape = (architecture.hidden,)
        bias = self._take(f"{name}.bias", np.float32, shape) if architecture.norm_bias else None
        return Norm(self._take(f"{name}.gain", np.float32, shape), bias)

    def _matrix(self, name: str, outputs: int, inputs: int, has_bias: bool) -> Matrix:
        panels = self._take(f"{name}.panels", np.int8, (outputs // PANEL, inputs // QUAD, PANEL, QUAD))
        bias = self._take(f"{name}.bias", np.float32, (outputs,)) if has_bias else None
        return Matrix(panels, self._take(f"{name}.scales", np.float32, (outputs,)), bias)

    def _layer(self, number: int, architecture: Architecture) -> TransformerLayer:
        prefix = f"layers.{number}"
        parts: dict[str, Any] = {
            name: self._matrix(f"{prefix}.{name}", *shape) for name, shape in architecture.matrices.items()
        }
        for name in _NORMS:
            has_norm = architecture.has_norm(name, number)
            parts[name] = self._norm(f"{prefix}.{name}", architecture) if has_norm else None
        if architecture.query_key_norm:
            parts |= {name: self._take(f"{prefix}.{name}", np.float32, (architecture.head_dim,)) for name in _GAINS}
        return TransformerLayer(**parts)

    def _projection(self, number: int) -> Layer:
        prefix = f"projections.{number}"
        weight = self._take(f"{prefix}.weight", np.float16)
        bias = self._take(f"{prefix}.bias", np.float32) if f"{prefix}.bias" in self.values else None
        residual = self._take(f"{prefix}.residual", np.float16) if f"{prefix}.residual" in self.values else None
        return weight.astype(np.float32), bias, None if residual is None else residual.astype(np.float32)


def _bert(settings: dict[str, Any], positions: tuple[int, ...]) -> Architecture:
    """Return the architecture of a file in the format of BERT only."""
    return Architecture.bert(
        hidden=positions[-1],
        heads=settings["heads"],
        intermediate=settings["intermediate"],
        layers=settings["layers"],
        positions=positions[0],
        epsilon=settings["epsilon"],
        tanh=settings["tanh"],
        first_position=settings["first_position"],
    )
