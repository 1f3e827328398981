"""The native backend: the forward pass of transformer encoders in int8, by the compiled core."""

from __future__ import annotations

from serotine.encoders.native.architecture import Architecture
from serotine.encoders.native.backend import NativeBackend
from serotine.encoders.native.checkpoint import read_checkpoint_weights, reason_not_covered
from serotine.encoders.native.file import NATIVE_SUFFIX, read_weights, write_weights
from serotine.encoders.native.graph import read_graph_weights, read_native_graph
from serotine.encoders.native.weights import TransformerWeights

__all__ = [
    "NATIVE_SUFFIX",
    "Architecture",
    "NativeBackend",
    "TransformerWeights",
    "read_checkpoint_weights",
    "read_graph_weights",
    "read_native_graph",
    "read_weights",
    "reason_not_covered",
    "write_weights",
]
