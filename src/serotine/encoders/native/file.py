"""The native model file: safetensors with the weights as the core computes with them, mapped into memory.

Processes that load one file share its memory: the matrices are stored in the core's panels and aligned to its loads.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError, safe_open

from serotine.encoders.native.weights import PANEL, QUAD, BertLayer, BertWeights, Matrix, Norm, Words
from serotine.encoders.projection import Layer
from serotine.encoders.weights import dimensions, tensor_locations
from serotine.errors import EncoderError, reason

NATIVE_SUFFIX = ".safetensors"
_FORMAT = "serotine-bert-1"
# What the core's loads are aligned to.
_ALIGNMENT = 64
_SETTINGS = ("heads", "intermediate", "epsilon", "tanh", "first_position", "activations")
_MATRICES = ("attention_in", "attention_out", "feed_in", "feed_out")
_NORMS = ("attention_norm", "feed_norm")
_DTYPES = {"I8": np.int8, "U8": np.uint8, "F16": np.float16, "F32": np.float32}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


def write_weights(file: Path, weights: BertWeights) -> None:
    """Write a native model file. Projections are stored in float16, everything else as it is."""
    tensors: dict[str, NDArray[Any]] = {
        "words.levels": weights.words.levels,
        "words.scales": weights.words.scales,
        "positions": weights.positions,
        **_norm_tensors("norm", weights.norm),
    }
    for number, layer in enumerate(weights.layers):
        for name in _MATRICES:
            prefix, matrix = f"layers.{number}.{name}", getattr(layer, name)
            tensors |= {
                f"{prefix}.panels": matrix.panels,
                f"{prefix}.scales": matrix.scales,
                f"{prefix}.bias": matrix.bias,
            }
        for name in _NORMS:
            tensors |= _norm_tensors(f"layers.{number}.{name}", getattr(layer, name))
    for number, (weight, bias, residual) in enumerate(weights.projections):
        tensors[f"projections.{number}.weight"] = weight.astype(np.float16)
        if bias is not None:
            tensors[f"projections.{number}.bias"] = bias
        if residual is not None:
            tensors[f"projections.{number}.residual"] = residual.astype(np.float16)
    settings = {name: getattr(weights, name) for name in _SETTINGS} | {"layers": len(weights.layers)}
    _write(file, tensors, {"format": _FORMAT, "settings": json.dumps(settings)})


def _norm_tensors(name: str, norm: Norm) -> dict[str, NDArray[Any]]:
    return {f"{name}.gain": norm.gain, f"{name}.bias": norm.bias}


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


def read_weights(file: Path) -> BertWeights:
    """Load a native model file; its tensors stay in the file, mapped into memory.

    Raises:
        EncoderError: the file is damaged or of another format, or a tensor is missing, of the wrong shape or not
            finite; the message names it.
    """
    try:
        # The library checks that the tensors fill the file.
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise EncoderError(
                    f"{file}: format must be {_FORMAT!r}, got {metadata.get('format')!r}; export the model again with "
                    "`serotine model export --native`"
                )
            names = list(opened.keys())
            dtypes = {name: _DTYPES[opened.get_slice(name).get_dtype()] for name in names}
        settings = json.loads(metadata["settings"])
        content = np.memmap(file, dtype=np.uint8, mode="r")
        tensors = _Tensors(file)
        for name, (shape, start) in tensor_locations(file).items():
            dtype = np.dtype(dtypes[name])
            end = start + math.prod(shape) * dtype.itemsize
            tensors.values[name] = content[start:end].view(dtype).reshape(shape)
        return tensors.weights(settings)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise EncoderError(f"{file}: not a complete native model file ({reason(error)}); install it again") from None


class _Tensors:
    """The tensors of a file, checked when they are taken."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.values: dict[str, NDArray[Any]] = {}

    def weights(self, settings: dict[str, Any]) -> BertWeights:
        positions = self._take("positions", np.float32)
        hidden, intermediate = positions.shape[-1], int(settings["intermediate"])
        return BertWeights(
            words=self._words(hidden),
            positions=self._take("positions", np.float32, (len(positions), hidden)),
            norm=self._norm("norm", hidden),
            layers=[self._layer(f"layers.{i}", hidden, intermediate) for i in range(int(settings["layers"]))],
            projections=[self._projection(i) for i in range(len(settings["activations"]))],
            **{name: settings[name] for name in _SETTINGS},
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

    def _norm(self, name: str, hidden: int) -> Norm:
        return Norm(*(self._take(f"{name}.{part}", np.float32, (hidden,)) for part in ("gain", "bias")))

    def _matrix(self, name: str, outputs: int, inputs: int) -> Matrix:
        panels = self._take(f"{name}.panels", np.int8, (outputs // PANEL, inputs // QUAD, PANEL, QUAD))
        return Matrix(panels, *(self._take(f"{name}.{part}", np.float32, (outputs,)) for part in ("scales", "bias")))

    def _layer(self, prefix: str, hidden: int, intermediate: int) -> BertLayer:
        return BertLayer(
            self._matrix(f"{prefix}.attention_in", 3 * hidden, hidden),
            self._matrix(f"{prefix}.attention_out", hidden, hidden),
            self._matrix(f"{prefix}.feed_in", intermediate, hidden),
            self._matrix(f"{prefix}.feed_out", hidden, intermediate),
            self._norm(f"{prefix}.attention_norm", hidden),
            self._norm(f"{prefix}.feed_norm", hidden),
        )

    def _projection(self, number: int) -> Layer:
        prefix = f"projections.{number}"
        weight = self._take(f"{prefix}.weight", np.float16)
        bias = self._take(f"{prefix}.bias", np.float32) if f"{prefix}.bias" in self.values else None
        residual = self._take(f"{prefix}.residual", np.float16) if f"{prefix}.residual" in self.values else None
        return weight.astype(np.float32), bias, None if residual is None else residual.astype(np.float32)
