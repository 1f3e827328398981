"""The native backend: BERT's forward pass in int8, by the compiled core."""

from __future__ import annotations

from serotine.encoders.native.backend import NativeBackend
from serotine.encoders.native.bert import BertWeights, read_checkpoint_weights, reason_not_covered
from serotine.encoders.native.file import NATIVE_SUFFIX, read_weights, write_weights

__all__ = [
    "NATIVE_SUFFIX",
    "BertWeights",
    "NativeBackend",
    "read_checkpoint_weights",
    "read_weights",
    "reason_not_covered",
    "write_weights",
]
