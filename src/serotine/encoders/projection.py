"""The layers between a backbone's states and the token vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.spec import EncoderSpec, Projection
from serotine.encoders.weights import WEIGHTS_FILE, read_tensors, weight_files
from serotine.errors import EncoderError

# The activations a projection may have, by torch's names.
ACTIVATIONS = ("Identity", "Tanh", "GELU", "ReLU", "SiLU")

# weight (outputs, inputs), bias (outputs,) or None, residual (outputs, inputs) or None; all float32.
Layer = tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32] | None]


def read_layers(spec: EncoderSpec) -> list[Layer]:
    """The weights of every projection, checked.

    Raises:
        EncoderError: a tensor is missing, misshapen or left over.
    """
    return [_read(spec, layer) for layer in spec.projections]


def _read(spec: EncoderSpec, layer: Projection) -> Layer:
    folder: Path = spec.folder / layer.folder
    shape = (layer.outputs, layer.inputs)
    wanted: dict[str, tuple[int, ...]] = {"linear.weight": shape}
    if layer.bias:
        wanted["linear.bias"] = (layer.outputs,)
    if layer.residual and layer.inputs != layer.outputs:
        wanted["residual.weight"] = shape
    # A Stanford checkpoint keeps the projection among the backbone's tensors.
    shared = layer.folder == spec.backbone_folder
    files = weight_files(folder)
    if shared:
        for file in files:
            try:
                found = read_tensors(file, wanted, others=True)
            except EncoderError:
                if file == files[-1]:
                    raise
                continue
            break
    else:
        found = read_tensors(folder / WEIGHTS_FILE, wanted)
    residual = found.get("residual.weight")
    if layer.residual and residual is None:
        residual = np.eye(layer.outputs, dtype=np.float32)
    return found["linear.weight"], found.get("linear.bias"), residual


def folded_layers(spec: EncoderSpec) -> tuple[list[Layer], list[str]]:
    """The projections as few layers, and the activation after each, as `fold` makes them."""
    return fold(read_layers(spec), [layer.activation for layer in spec.projections])


def fold(layers: list[Layer], activations: list[str]) -> tuple[list[Layer], list[str]]:
    """The same function in as few layers as there are: neighbours without an activation between them become one.

    Sums and products are taken in float64 and rounded once.
    """
    folded: list[Layer] = []
    kept: list[str] = []
    for (weight, bias, residual), activation in zip(layers, activations, strict=True):
        if activation == "Identity" and residual is not None:
            weight, residual = weight + residual, None
        if folded and kept[-1] == "Identity" and folded[-1][2] is None and residual is None:
            before, before_bias, _ = folded[-1]
            wide = weight.astype(np.float64)
            both = (wide @ before.astype(np.float64)).astype(np.float32)
            shift = None if before_bias is None else wide @ before_bias.astype(np.float64)
            if bias is not None:
                shift = bias.astype(np.float64) + (0.0 if shift is None else shift)
            folded[-1] = (both, None if shift is None else shift.astype(np.float32), None)
            kept[-1] = activation
        else:
            folded.append((weight, bias, residual))
            kept.append(activation)
    return folded, kept
