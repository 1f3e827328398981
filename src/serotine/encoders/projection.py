"""The projection layers between a backbone's states and the token vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.spec import EncoderSpec, Projection
from serotine.encoders.weights import WEIGHTS_FILE, read_tensors, weight_files
from serotine.errors import EncoderError

# Supported activations, by torch's names.
ACTIVATIONS = ("Identity", "Tanh", "GELU", "ReLU", "SiLU")

# weight (outputs, inputs), bias (outputs,) or None, residual (outputs, inputs) or None; all float32.
Layer = tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32] | None]


def read_layers(spec: EncoderSpec) -> list[Layer]:
    """Load and check the weights of every projection.

    Raises:
        EncoderError: a tensor is missing, unexpected or of the wrong shape.
    """
    return [_read(spec, layer) for layer in spec.projections]


def _read(spec: EncoderSpec, layer: Projection) -> Layer:
    folder: Path = spec.folder / layer.folder
    shape = (layer.outputs, layer.inputs)
    expected: dict[str, tuple[int, ...]] = {"linear.weight": shape}
    if layer.bias:
        expected["linear.bias"] = (layer.outputs,)
    if layer.residual and layer.inputs != layer.outputs:
        expected["residual.weight"] = shape
    # A Stanford checkpoint stores the projection among the backbone's tensors.
    shared = layer.folder == spec.backbone_folder
    files = weight_files(folder)
    if shared:
        for file in files:
            try:
                tensors = read_tensors(file, expected, others=True)
            except EncoderError:
                if file == files[-1]:
                    raise
                continue
            break
    else:
        tensors = read_tensors(folder / WEIGHTS_FILE, expected)
    residual = tensors.get("residual.weight")
    if layer.residual and residual is None:
        residual = np.eye(layer.outputs, dtype=np.float32)
    return tensors["linear.weight"], tensors.get("linear.bias"), residual


def folded_layers(spec: EncoderSpec) -> tuple[list[Layer], list[str]]:
    """Load the projections and fold them; return the layers and the activation after each."""
    return fold(read_layers(spec), [layer.activation for layer in spec.projections])


def fold(layers: list[Layer], activations: list[str]) -> tuple[list[Layer], list[str]]:
    """Merge neighboring layers without an activation between them: the same function in fewer layers.

    Sums and products are computed in float64 and rounded once.
    """
    folded: list[Layer] = []
    remaining: list[str] = []
    for (weight, bias, residual), activation in zip(layers, activations, strict=True):
        if activation == "Identity" and residual is not None:
            weight, residual = weight + residual, None
        if folded and remaining[-1] == "Identity" and folded[-1][2] is None and residual is None:
            previous, previous_bias, _ = folded[-1]
            exact = weight.astype(np.float64)
            product = (exact @ previous.astype(np.float64)).astype(np.float32)
            shift = None if previous_bias is None else exact @ previous_bias.astype(np.float64)
            if bias is not None:
                shift = bias.astype(np.float64) + (0.0 if shift is None else shift)
            folded[-1] = (product, None if shift is None else shift.astype(np.float32), None)
            remaining[-1] = activation
        else:
            folded.append((weight, bias, residual))
            remaining.append(activation)
    return folded, remaining
